from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.types import Counts

POPULATIONS = {"rare": (0.2, 5.0), "u-shaped": (0.3, 0.3), "uniform": (1.0, 1.0)}


def truth(name, k):
    a, b = POPULATIONS[name]
    return -np.expm1(betaln(a, b + k) - betaln(a, b))


# the estimator


@pytest.mark.parametrize("n", range(1, 8))
def test_is_the_share_of_subsets_with_a_correct_sample(n):
    for c in range(n + 1):
        right = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(right, k))
            assert passk.pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_agrees_with_exact_integers():
    cases = [(n, c, k) for n in (30, 97, 256) for c in range(0, n + 1, 3) for k in range(1, n + 1, 5)]
    n, c, k = np.array(cases).T
    exact = [float(1 - Fraction(comb(a - b, j), comb(a, j))) for a, b, j in cases]
    np.testing.assert_allclose(passk.pass_at_k(n, c, k), exact, rtol=1e-12, atol=0)


def test_is_stable_at_a_million_samples():
    n, k = 10**6, 10**5
    c = np.array([0, 1, 2, 7, 100, 5000])
    product = np.array([-np.expm1(np.log1p(-k / (n - np.arange(x))).sum()) for x in c])
    np.testing.assert_allclose(passk.pass_at_k(n, c, k), product, rtol=1e-8)
    np.testing.assert_allclose(passk.pass_at_k(n, [1, 3], 1), [1e-6, 3e-6], rtol=1e-8)
    assert passk.pass_at_k(n, n - k + 1, k) == 1


def test_is_unbiased():
    """The mean over all samples of n equals 1 - (1-p)^k: what the plug-in gets wrong."""
    n, p, k = 12, 0.15, np.arange(1, 13)
    chance = np.array([comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])
    mean = chance @ passk.pass_at_k(n, np.arange(n + 1)[:, None], k)
    np.testing.assert_allclose(mean, 1 - (1 - p) ** k, rtol=1e-12)
    assert (chance @ (1 - (1 - np.arange(n + 1) / n) ** 12)) < 0.9 * (1 - (1 - p) ** 12)


def test_beyond_n_is_nan():
    values = passk.pass_at_k([4, 8], [4, 2], [[4], [5], [9]])
    assert np.isnan(values).tolist() == [[False, False], [True, False], [True, True]]


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_lies_in_range_and_grows(case):
    n, c, k = case
    value = passk.pass_at_k(n, c, k)
    assert 0 <= value <= 1
    assert (value == 0) == (c == 0)
    assert value >= passk.pass_at_k(n, c, max(k - 1, 1)) - 1e-12
    assert value >= passk.pass_at_k(n, max(c - 1, 0), k) - 1e-12


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 0), (4, 1, 1.5), (4, float("nan"), 1)])
def test_impossible_numbers_are_refused(n, c, k):
    with pytest.raises(InputError):
        passk.pass_at_k(n, c, k)


# the curve and its band


def random_counts(seed=0, m=25, n=40):
    generator = np.random.default_rng(seed)
    return Counts.of([n] * m, generator.binomial(n, generator.beta(0.5, 1, m)))


def test_curve_is_the_mean_with_every_k_up_to_the_smallest_n():
    counts = Counts.of([10, 20, 12], [1, 0, 12])
    band = passk.curve(counts)
    assert band.k.tolist() == list(range(1, 11))
    np.testing.assert_allclose(band.value, passk.pass_at_k(counts.n, counts.c, band.k[:, None]).mean(1), rtol=1e-10)
    assert band.largest == 10
    assert band.at(1).n == 3
    assert np.isnan(band.at(11).value)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=12), st.randoms())
def test_band_is_monotone_ordered_and_blind_to_order(rows, order):
    counts = Counts.of([12] * len(rows), [c for c, _ in rows], unjudged=[u for _, u in rows])
    band = passk.curve(counts)
    for array in (band.low, band.value, band.high):
        assert (np.diff(array) >= -1e-12).all()
        assert ((array >= 0) & (array <= 1)).all()
    assert (band.low <= band.value).all()
    assert (band.value <= band.high).all()
    shuffled = order.sample(range(len(rows)), len(rows))
    again = passk.curve(counts.select(shuffled))
    np.testing.assert_allclose(again.value, band.value)
    # resamples are drawn by position: another order is another draw of the same bootstrap
    assert np.abs(again.low - band.low).max() < 0.1


def test_band_is_deterministic_and_wider_with_more_asked():
    counts = random_counts()
    band, again = passk.curve(counts), passk.curve(counts)
    np.testing.assert_array_equal(band.low, again.low)
    single = passk.curve(counts, simultaneous=False)
    assert (single.high - single.low)[[0, -1]].mean() < (band.high - band.low)[[0, -1]].mean()
    surer = passk.curve(counts, level=0.99)
    assert (surer.low <= band.low).all()
    assert (surer.high >= band.high).all()


def test_asked_ks_and_beyond_n():
    band = passk.curve(random_counts(), [40, 1, 100, 1])
    assert band.k.tolist() == [1, 40, 100]
    assert np.isnan([band.value[2], band.low[2], band.high[2]]).all()
    assert band.to_json()["100"] == {"value": None, "low": None, "high": None}
    assert set(band.to_json()) == {"1", "40", "100"}
    assert band.largest == 40
    nothing = passk.curve(random_counts(), [50, 60])
    assert np.isnan(nothing.high).all()
    assert nothing.largest == 0


def test_one_problem_says_nothing_of_others():
    band = passk.curve(Counts.of([8], [4]))
    assert band.value[0] == pytest.approx(0.5)
    assert (band.low[0], band.high[0]) == (0, 1)


@pytest.mark.parametrize("m", [2, 15, 200])
def test_all_wrong_and_all_right_are_not_certainties(m):
    """0 of m problems at k = n: pass@n of the population may be up to 1 - (alpha/2)^(1/m), by the exact bound."""
    bound = 1 - 0.025 ** (1 / m)
    wrong, right = (passk.curve(Counts.of([16] * m, [c] * m)) for c in (0, 16))
    assert (wrong.value == 0).all()
    assert (wrong.high >= bound - 1e-12).all()
    assert (right.low <= 1 - bound + 1e-12).all()
    assert (right.high == 1).all()


def test_unjudged_samples_widen_both_ways():
    c, u = np.array([3, 0, 8, 5] * 5), np.array([2, 1, 0, 3] * 5)
    plain, open_ = Counts.of([10] * 20, c), Counts.of([10] * 20, c, unjudged=u)
    best = passk.curve(Counts.of([10] * 20, c + u))
    band, narrow = passk.curve(open_), passk.curve(plain)
    np.testing.assert_allclose(band.low, narrow.low)
    np.testing.assert_allclose(band.high, best.high)
    assert (narrow.value <= band.value).all()
    assert (band.value <= best.value).all()
    np.testing.assert_allclose(band.value[0], (c / (10 - u)).mean())
    nobody = passk.curve(Counts.of([4] * 3, [0] * 3, unjudged=[4] * 3))
    assert np.isnan(nobody.value).all()
    assert (nobody.low == 0).all()
    assert (nobody.high == 1).all()


def test_nothing_to_measure():
    with pytest.raises(InputError, match="no problems"):
        passk.curve(Counts.of([], []))
    assert np.isnan(passk.curve(Counts.of([0, 4], [0, 2])).value).all()


def test_many_samples_give_a_log_grid():
    band = passk.curve(Counts.of([10**6] * 3, [0, 5, 10**6]))
    assert band.k[0] == 1
    assert band.k[-1] == 10**6
    assert len(band.k) <= passk.DENSE
    assert not np.isnan(band.value).any()


def coverage(name, m, n, reps):
    generator = np.random.default_rng([m, n, *name.encode()])
    k = np.arange(1, n + 1)
    target, inside = truth(name, k), 0
    for _ in range(reps):
        band = passk.curve(Counts.of([n] * m, generator.binomial(n, generator.beta(*POPULATIONS[name], m))))
        inside += bool((band.low <= target + 1e-9).all() and (band.high >= target - 1e-9).all())
    return inside / reps


@pytest.mark.parametrize("name", POPULATIONS)
def test_band_covers_on_few_problems(name):
    """150 repetitions: 4 standard errors below 95% is 88%, where a multiplier bootstrap stands."""
    assert coverage(name, 15, 32, 150) > 0.88


@pytest.mark.slow
@pytest.mark.parametrize("m", [15, 30, 100])
@pytest.mark.parametrize("name", POPULATIONS)
def test_band_covers(name, m):
    assert 0.92 < coverage(name, m, 64, 1000) < 0.99


# exact P


def test_exact_curve_is_stable_at_both_ends():
    logp = np.log([1e-60, 1e-6, 0.5, 1.0])
    k = [1, 1000, 10**6]
    rows = passk.exact_rows(logp, k)
    np.testing.assert_allclose(rows[0], [1e-60, 1e-57, 1e-54])
    np.testing.assert_allclose(rows[1], [1e-6, 9.995e-4, 1 - np.exp(-1)], rtol=1e-5)
    np.testing.assert_allclose(rows[2:], [[0.5, 1, 1], [1, 1, 1]])
    np.testing.assert_allclose(passk.exact(logp, k), rows.mean(0))
    assert passk.exact([-np.inf], [10**6]) == 0


@pytest.mark.parametrize("logp", [[0.1], [np.nan], [], [[-1.0]]])
def test_exact_refuses_what_is_no_log_probability(logp):
    with pytest.raises(InputError, match="log P"):
        passk.exact(logp, [1])


def test_sampled_agrees_with_exact():
    """The sampled curve of known P lies in its band around the exact one, far out in k, too."""
    generator = np.random.default_rng(5)
    p = generator.beta(0.3, 3, 300)
    band = passk.curve(Counts.of([128] * 300, generator.binomial(128, p)))
    exact = passk.exact(np.log(p), band.k)
    assert ((band.low <= exact) & (exact <= band.high)).all()
    np.testing.assert_allclose(band.value, exact, atol=0.06)


@pytest.mark.parametrize("simultaneous", [True, False])
def test_rows_that_never_vary_still_have_a_band(simultaneous):
    """Every problem with the same count: the spread is zero by luck, the band is not."""
    band = passk.curve(Counts.of([8] * 20, [4] * 20), simultaneous=simultaneous)
    assert (band.high - band.low > 0.01)[:5].all()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_unjudged_at_random_leaves_pass_at_k_unbiased_up_to_the_judged(k):
    generator = np.random.default_rng(0)
    right = generator.random((20_000, 10)) < 0.2
    counts = Counts.of([10] * 20_000, right[:, :5].sum(1), unjudged=[5] * 20_000)  # five of ten, whichever they are
    assert passk.mean_value(counts, np.array([k]))[0] == pytest.approx(1 - 0.8**k, abs=0.01)
    assert passk.mean_value(counts, np.array([5, 10]))[1] == passk.mean_value(counts, np.array([5]))[0]
