"""Confidence sequences: valid however often one looks, by enumeration; their ends, their cuts and their forecast."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from goldpanner.errors import InputError
from goldpanner.measure import intervals, sequential
from goldpanner.measure.changes import changes
from goldpanner.measure.groups import shares
from goldpanner.types import Counts

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


def log_martingale(p, c, n):
    """log M_n(p) of `confidence_sequence`, from its two parts."""
    hits, misses = np.asarray(c, float), np.asarray(n, float) - np.asarray(c, float)
    return sequential._mixture(hits, misses) - sequential._fitted(np.asarray(p, float), hits, misses)


@pytest.mark.parametrize("p", [0.01, 0.4, 0.9])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_the_martingale_has_expectation_one(p, n):
    c = np.arange(n + 1)
    assert np.sum(binom.pmf(c, n, p) * np.exp(log_martingale(p, c, n))) == pytest.approx(1)


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
            assert log_martingale(end, c, n) == pytest.approx(-np.log(1 - level), rel=1e-5)
    if n:
        fixed = intervals.proportion(c, n, 0, level)
        assert low <= fixed[0] + 1e-9, "no free lunch: wider than for one n"
        assert high >= fixed[1] - 1e-9


# --- the difference of two policies


def ever_said(p, base_p, base_n, most, margin=0.1, by=sequential.change):
    """P(each of `CHANGES` is ever said by n = most), looking after every sample: exact sums over all paths."""
    base_c = np.arange(base_n + 1)
    alive, said = binom.pmf(base_c, base_n, base_p)[:, None], np.zeros(3)
    for n in range(1, most + 1):
        zero = np.zeros((len(alive), 1))
        alive = np.hstack([alive, zero]) * (1 - p) + np.hstack([zero, alive]) * p
        b, c = np.nonzero(alive > 1e-8)
        found = np.full(alive.shape, -1)
        found[b, c] = by(Counts.of(np.full(c.size, n), c), Counts.of(np.full(c.size, base_n), base_c[b]), margin)[0]
        for k in range(3):
            said[k] += alive[found == k].sum()
        alive[found >= 0] = 0.0
    return dict(zip(sequential.CHANGES, said))


def fisher(counts, base, margin):
    """The exact test of `compare` on each look, as if it were the only one."""
    p = changes(base, counts).p_value
    return np.select([(p <= 0.05) & (counts.c > 0), p <= 0.05], [2, 0], -1), None


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_where_nothing_changed_a_change_is_said_with_alpha_at_most_however_often_one_looks(p):
    said = ever_said(p, p, 24, 80)
    assert said["rose"] + said["fell"] <= 0.05
    if p == 0.02:  # a comparison that is not made for it
        broken = ever_said(p, p, 24, 80, by=fisher)
        assert broken["rose"] + broken["fell"] > said["rose"] + said["fell"]


@pytest.mark.parametrize(("p", "base_p"), [(0.2, 0.0), (0.12, 0.0), (0.5, 0.9)])
def test_a_difference_above_the_margin_is_called_immaterial_with_alpha_at_most(p, base_p):
    said = ever_said(p, base_p, 48, 64)
    assert said["no material change"] <= 0.05
    assert said["rose" if p < base_p else "fell"] <= 0.05
    if abs(p - base_p) >= 0.2:
        assert said["rose" if p > base_p else "fell"] > 0.6


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 40), st.integers(0, 40), st.sampled_from([-0.3, 0.0, 0.1])
)
def test_the_evidence_against_a_difference_is_the_least_over_a_grid_of_p(c, wrong, base_c, base_wrong, difference):
    found = float(sequential.log_difference_martingale(difference, c, c + wrong, base_c, base_c + base_wrong))
    p = np.linspace(max(0.0, -difference), min(1.0, 1 - difference), 20_001)
    mine = log_martingale(np.clip(p + difference, 0, 1), c, c + wrong)
    base = log_martingale(p, base_c, base_c + base_wrong)
    kept = [np.logaddexp(np.log(0.2), np.log(0.8) + log) for log in (mine, base)]
    assert found == pytest.approx(float((kept[0] + kept[1]).min()), abs=1e-4)


def test_a_comparison_ends_where_the_base_is_too_little_known():
    base = Counts.of([64, 64, 64], [32, 0, 0])
    found, in_vain = sequential.change(Counts.of([4000, 4000, 4000], [2000, 0, 2000]), base, 0.1)
    assert [sequential.CHANGES[k] if k >= 0 else "open" for k in found] == ["open", "no material change", "rose"]
    assert in_vain.tolist() == [True, False, False]
    # unjudged samples could be either: nothing is said that one of both would refute
    found, _ = sequential.change(Counts.of([64, 64], [40, 0], unjudged=[0, 40]), Counts.of([64, 64], [0, 0]), 0.1)
    assert found.tolist() == [2, -1]
    assert sequential.change(Counts.of([0], [0]), Counts.of([64], [0]), 0.1)[0].tolist() == [-1]


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
