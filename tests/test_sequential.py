"""Confidence sequences: valid however often one looks, by enumeration; their ends, their cuts and their forecast."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from goldpanner.errors import InputError
from goldpanner.measure import intervals, sequential
from goldpanner.measure.groups import shares

SETTLED = np.random.default_rng(0)


def ever_excluded(p, most, interval):
    """P(p ever leaves the interval by n = most), looking after every sample: the exact sum over all paths."""
    alive, lost = np.array([1.0]), 0.0
    for n in range(1, most + 1):
        alive = np.convolve(alive, [1 - p, p])
        low, high = interval(np.arange(n + 1), np.full(n + 1, n))
        out = (p < low) | (p > high)
        lost += alive[out].sum()
        alive[out] = 0.0
    return lost


@pytest.mark.parametrize("p", [0.01, 0.3, 0.98])
def test_looking_after_every_sample_costs_no_more_than_alpha_and_the_exact_interval_breaks(p):
    assert ever_excluded(p, 150, sequential.confidence_sequence) <= 0.05
    if p == 0.3:
        assert ever_excluded(p, 150, intervals.proportion) > 0.15


@pytest.mark.parametrize("p", [0.01, 0.4, 0.9])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_the_martingale_has_expectation_one(p, n):
    c = np.arange(n + 1)
    assert np.sum(binom.pmf(c, n, p) * np.exp(sequential.log_martingale(p, c, n))) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([0.8, 0.95, 0.999]))
def test_the_ends_are_where_the_martingale_reaches_one_over_alpha(c, wrong, level):
    n = c + wrong
    low, high = (float(end) for end in sequential.confidence_sequence(c, n, 0, level))
    assert 0 <= low <= (c / n if n else 0.5) <= high <= 1
    assert (low == 0) == (c == 0)
    assert (high == 1) == (wrong == 0)
    for end in (low, high):
        if 0 < end < 1:
            assert sequential.log_martingale(end, c, n) == pytest.approx(-np.log(1 - level), rel=1e-5)
    if n:
        fixed = intervals.proportion(c, n, 0, level)
        assert low <= fixed[0] + 1e-9, "no free lunch: wider than for one n"
        assert high >= fixed[1] - 1e-9


def test_unjudged_samples_widen_both_ends():
    low, high = sequential.confidence_sequence(30, 100, 20)
    assert low == sequential.confidence_sequence(30, 100)[0]
    assert high == sequential.confidence_sequence(50, 100)[1]


def test_the_cuts_of_a_group_size_are_where_it_is_live_with_one_and_three_quarters():
    for size in (4, 16, 256):
        assert shares(sequential.group_cuts(size), size)[0] == pytest.approx([0.25, 0.75, 0.75, 0.25])
    with pytest.raises(InputError, match="group size is 3"):
        sequential.group_cuts(3)


def test_a_zone_is_named_only_where_it_holds_the_whole_interval():
    cuts = sequential.strata_cuts()
    low = np.array([0.0, 0.04, 0.05, 0.1, 0.9, 0.0, 0.79])
    high = np.array([0.05, 0.06, 0.8, 0.7, 1.0, 1.0, 0.81])
    assert sequential.zone(low, high, cuts).tolist() == [0, -1, 1, 1, 2, -1, -1]


def test_the_chance_to_be_misplaced_against_a_million_draws_of_the_posterior():
    cuts = sequential.group_cuts(16)
    for c, n in ((0, 16), (1, 40), (3, 16), (16, 16)):
        draws = SETTLED.beta(c + 0.5, n - c + 0.5, 400_000)
        shares_ = np.bincount(np.searchsorted(cuts, draws), minlength=5) / len(draws)
        zone, chance = sequential.misplaced(np.array([c]), np.array([n]), cuts)
        assert zone[0] == shares_.argmax()
        assert chance[0] == pytest.approx(1 - shares_.max(), abs=0.004)


def test_the_forecast_of_the_samples_it_takes_is_of_the_right_size():
    cuts, m = sequential.strata_cuts(), 200
    for p in (0.12, 0.3, 0.6, 0.95):
        c = (SETTLED.random((m, 6000)) < p).cumsum(1)
        n = np.unique(np.geomspace(8, 6000, 60).astype(int))
        done = sequential.zone(*sequential.confidence_sequence(c[:, n - 1], np.broadcast_to(n, (m, len(n)))), cuts) >= 0
        took = np.median(n[done.argmax(1)])
        guess = int(sequential.samples_to_settle(1000 * p, 1000.0, cuts, 10**6)) if took > 1000 else None
        early = int(sequential.samples_to_settle(round(8 * p), 8, cuts, 10**6))
        assert early >= 8
        if guess is not None:
            assert took / 2 < guess < took * 2
    assert sequential.samples_to_settle(0, 16, cuts, 50) == 50
