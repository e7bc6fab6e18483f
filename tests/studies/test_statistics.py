"""Statistics of the studies against known answers."""

import numpy as np
import pytest
from scipy import stats
from scipy.stats import bootstrap as scipy_bootstrap

from goldpanner.errors import InputError
from goldpanner.studies import statistics as s


def test_mean_has_students_interval():
    x = np.random.default_rng(0).normal(3, 1, 40)
    found, known = s.mean(x), stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_change_is_the_paired_difference_of_exact_pass_at_k():
    before, after = np.log([0.1, 0.5, 0.01]), np.log([0.2, 0.5, 0.5])
    found = s.exact_change(before, after, 2)
    gains = [1 - 0.8**2 - (1 - 0.9**2), 0, 1 - 0.5**2 - (1 - 0.99**2)]
    assert found.value == pytest.approx(np.mean(gains))
    assert found.low < found.value < found.high


def test_pass_at_stays_within_zero_and_one():
    found = s.pass_at(np.log([0.999, 0.5, 0.999]), 1000)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_bootstrap_agrees_with_scipy():
    x = np.random.default_rng(1).exponential(1, 200)
    found = s.bootstrap(lambda v: float(v.mean()), x)
    known = scipy_bootstrap((x,), np.mean, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.03)


def test_bootstrap_keeps_columns_together():
    x = np.arange(50.0)
    found = s.bootstrap(lambda a, b: float((a - b).mean()), x, x + 1)
    assert (found.value, found.low, found.high) == (-1, -1, -1)


def test_bootstrap_of_something_undefined_is_undefined():
    found = s.bootstrap(s.auc, np.arange(5.0), np.zeros(5, bool))
    assert np.isnan(found.value)
    with pytest.raises(InputError, match="lengths"):
        s.bootstrap(s.auc, [1.0, 2.0], [True])


def test_auc_by_enumeration_of_pairs():
    rng = np.random.default_rng(3)
    score, outcome = rng.integers(0, 5, 60), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[outcome] for b in score[~outcome]]
    assert s.auc(score, outcome) == pytest.approx(np.mean(pairs))


def test_spearman_is_scipys():
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 9, 40), rng.integers(0, 9, 40)
    assert s.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert np.isnan(s.spearman([1, 1], [1, 2]))


def test_equivalent_k_of_one_problem_is_the_power_that_closes_the_gap():
    before, after = np.log([0.1]), np.log([1 - 0.9**7])
    assert s.exact_equivalent_k(before, after) == pytest.approx(7)
    assert s.exact_equivalent_k(after, before) == 1
    assert s.exact_equivalent_k(np.log([1e-12]), np.log([0.5])) == np.inf


def test_equivalent_k_is_where_the_curves_meet():
    rng = np.random.default_rng(5)
    before, after = np.log(rng.beta(0.2, 2, 100) + 1e-9), np.log(rng.beta(1, 1, 100))
    k = s.exact_equivalent_k(before, after)
    assert np.mean(1 - (1 - np.exp(before)) ** k) == pytest.approx(np.exp(after).mean())
