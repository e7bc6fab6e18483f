"""pass@k beyond n: against truth that is known, and against what not to do."""

import baselines
import numpy as np
import pytest

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.groups import shares
from goldpanner.measure.mixture import Tally
from goldpanner.measure.posterior import METHOD, RateDistribution
from goldpanner.types import Counts

K = 10_000


def population(seed, m, b=0.3, zero=0.0, n=100):
    r = np.random.default_rng(seed)
    p = np.where(r.random(m) < zero, 0.0, r.beta(b, 1, m))
    truth = float(-np.expm1(K * np.log1p(-np.minimum(p, 1 - 1e-15))).mean())
    return p, Counts.of(np.full(m, n), r.binomial(n, p)), truth


def beyond(counts, k=K, level=0.9, seed=0, **options):
    return RateDistribution.of(counts, seed).pass_at_k([k], level, **options)[0]


@pytest.mark.parametrize(("zero", "most"), [(0.0, 0.03), (0.1, 0.05), (0.5, 0.075)])
def test_the_bayesian_average_beats_the_plug_in_and_covers(zero, most):
    errors, plug_in, hits = [], [], 0
    for seed in range(6):
        _, counts, truth = population(seed, 400, zero=zero)
        estimate = beyond(counts, seed=seed)
        errors.append(abs(estimate.value - truth))
        plug_in.append(abs(baselines.predict("plug-in", Tally.judged(counts), np.array([K]))[0] - truth))
        hits += estimate.low <= truth <= estimate.high
    assert np.mean(errors) < most
    assert np.mean(errors) < np.mean(plug_in)
    assert hits >= 3


def test_answers_are_monotone_in_k_and_agree_with_the_unbiased_curve_within_n():
    _, counts, _ = population(3, 200)
    estimates = RateDistribution.of(counts).pass_at_k([1, 10, 100, 1000, 10_000, 1_000_000])
    values = [e.value for e in estimates]
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(values[:3], passk.mean_value(counts, np.array([1, 10, 100])), atol=0.01)
    assert {e.method for e in estimates} == {METHOD}


def test_an_interval_for_problems_like_these_is_wider_than_for_these():
    _, counts, _ = population(3, 40, n=64)
    these, alike = beyond(counts, 64), beyond(counts, 64, population=True)
    assert alike.high - alike.low > 2 * (these.high - these.low)


@pytest.mark.parametrize("n", [100, 10_000])
def test_no_success_at_all_is_not_zero(n):
    estimate = beyond(Counts.of([n] * 40, [0] * 40), 100_000)
    assert estimate.low < 1e-3
    assert estimate.high > 0.05, "0 of n says little of k = 100,000"


def test_all_right_is_one():
    assert beyond(Counts.of([50] * 40, [50] * 40), 1000).low > 0.999


def test_unequal_n_and_unjudged_samples_are_used():
    r = np.random.default_rng(0)
    n = r.integers(8, 200, 150)
    p = r.beta(0.4, 2, 150)
    u = r.binomial(n, 0.1)
    estimate = beyond(Counts.of(n, r.binomial(n - u, p), unjudged=u), 1000, 0.95)
    assert estimate.low <= float(np.mean(1 - (1 - p) ** 1000)) <= estimate.high
    certain = beyond(Counts.of(n, r.binomial(n - u, p)), 1000, 0.95)
    assert estimate.high - estimate.low > certain.high - certain.low


def test_one_sample_a_problem_still_gives_an_estimate():
    assert 0.5 < beyond(Counts.of([1] * 20, [0, 1] * 10), 100).value < 1


def test_same_seed_same_answer_other_seed_close():
    _, counts, _ = population(6, 100)
    one, two, three = (beyond(counts, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one.value == pytest.approx(three.value, abs=0.03)


@pytest.mark.parametrize("k", [[0], [-1], [[1]]])
def test_a_k_below_one_is_refused(k):
    with pytest.raises(InputError, match="integers >= 1"):
        RateDistribution.of(Counts.of([4], [1])).pass_at_k(k)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_problems_that_are_all_alike_are_in_the_family(n):
    hits = 0
    for seed in range(8):
        r = np.random.default_rng([seed, n])
        rates = RateDistribution.of(Counts.of([n] * 150, r.binomial(n, 0.25, 150)), seed)
        estimate = rates.estimate(lambda grid: shares(grid.p, 8)[0][None], 0.9)[0]
        hits += estimate.low <= shares(0.25, 8)[0] <= estimate.high
    assert hits >= 6


def test_one_sample_a_problem_says_nothing_of_the_spread():
    """From every problem at .3 to 30% at 1 and the rest at 0: groups of 8 are mixed always nearly, or never."""
    rates = RateDistribution.of(Counts.of([1] * 1000, [1] * 300 + [0] * 700))
    mixed = rates.estimate(lambda grid: shares(grid.p, 8)[0][None], 0.9)[0]
    assert mixed.low < 1e-6
    assert mixed.high > shares(0.3, 8)[0]


def test_two_kinds_of_problems_are_in_the_family():
    """Half the problems at .5 and half at .01: pass@640 is .999, and the interval says that it may be."""
    p = np.repeat([0.5, 0.01], 100)
    estimate = beyond(Counts.of([64] * 200, np.random.default_rng(0).binomial(64, p)), 640)
    assert estimate.low < float((1 - (1 - p) ** 640).mean()) < estimate.high + 1e-9


def test_an_interval_holds_what_the_wide_prior_says():
    """No success in 30 problems: the benchmarks' prior expects little, the wide one allows for a hard cluster."""
    counts = Counts.of([100] * 30, [0] * 30)
    rates = RateDistribution.of(counts)
    estimate = rates.pass_at_k([10_000])[0]
    value = 1 - rates.judged.grid.failing(np.array([10_000.0]))[0]
    draws = [np.quantile(x.draws(value), 0.975) for x in (rates.judged, rates.bounds[0])]
    assert draws[0] < draws[1] == pytest.approx(estimate.high)
    assert estimate.value == pytest.approx(rates.judged.mean(value))
