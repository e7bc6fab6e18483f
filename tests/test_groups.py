"""Mixed and one-sided groups: the law against enumeration, forecasts against truth, counts of stored groups."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.measure import groups
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_shares_equal_enumeration(size, p):
    live = wrong = right = 0.0
    for group in product([0, 1], repeat=size):
        chance = np.prod([p if hit else 1 - p for hit in group])
        if sum(group) == 0:
            wrong += chance
        elif sum(group) == size:
            right += chance
        else:
            live += chance
    np.testing.assert_allclose(groups.shares(p, size), (live, wrong, right), atol=1e-15)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(2, 256))
def test_shares_sum_to_one_and_mirror(p, size):
    live, wrong, right = groups.shares(p, size)
    assert live + wrong + right == pytest.approx(1)
    assert min(live, wrong, right) >= 0
    if p > 1e-9:
        np.testing.assert_allclose(groups.shares(1 - p, size), (live, right, wrong), atol=1e-12)


def test_shares_are_exact_for_tiny_p():
    assert groups.shares(1e-15, 16)[0] == pytest.approx(1.6e-14, rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.2, 5), (0.3, 0.3), (1, 1)])
def test_forecast_from_a_pilot_of_16(a, b):
    errors, plug, hits = [], [], 0
    for seed in range(8):
        r = np.random.default_rng(seed)
        p = r.beta(a, b, 200)
        counts = Counts.of(np.full(200, 16), r.binomial(16, p))
        found = groups.expected(counts, [16], 0.95, seed)[16]
        truth = groups.shares(p, 16)[0].mean()
        errors.append(abs(found.mixed.value - truth))
        plug.append(abs(groups.shares(counts.c / 16, 16)[0].mean() - truth))
        hits += found.mixed.low <= truth <= found.mixed.high
    assert np.mean(errors) <= 0.02
    assert np.mean(errors) < np.mean(plug)
    assert hits >= 6


def test_expected_shares_add_up_and_follow_the_group_size():
    counts = Counts.of([16] * 60, [0] * 30 + [4] * 20 + [16] * 10)
    found = groups.expected(counts, rates=RateDistribution.of(counts, 0, 300))
    assert list(found) == list(groups.SIZES)
    for shares in found.values():
        assert shares.mixed.value + shares.all_wrong.value + shares.all_correct.value == pytest.approx(1, abs=0.02)
    live = [found[size].mixed.value for size in groups.SIZES]
    assert live == sorted(live)


def test_zero_of_sixteen_everywhere_has_an_upper_bound():
    found = groups.expected(Counts.of([16] * 50, [0] * 50), [16])[16]
    assert found.mixed.low < 0.001
    assert 0.001 < found.mixed.high < 0.3
    assert found.all_wrong.high <= 1


def test_observed_counts_states_exactly():
    n = np.array([4, 4, 4, 4, 8, 8])
    c = np.array([0, 4, 2, 1, 8, 3])
    found = groups.observed(n, c)
    assert set(found) == {4, 8}
    assert found[4].mixed.value == 0.5
    assert found[4].all_wrong.value == 0.25
    assert found[4].all_correct.value == 0.25
    assert found[8].all_correct.value == 0.5
    assert found[4].mixed.low > 0
    assert found[4].mixed.high < 1


def test_unjudged_in_a_group_widen_only_what_they_can_change():
    # mixed whatever the unjudged is | could be mixed or all wrong | all unknown
    n, c, u = np.array([4, 4, 4]), np.array([1, 0, 0]), np.array([1, 1, 4])
    found = groups.observed(n, c, u)[4]
    assert found.mixed.value == 1.0
    assert found.mixed.low <= 1 / 3
    assert np.isnan(groups.observed(n[1:], c[1:], u[1:])[4].mixed.value)
    assert found.all_correct.value == 0.0
    assert found.all_wrong.value == 0.0
    assert found.all_wrong.high > found.all_correct.high - 1e-12


@pytest.mark.parametrize("size", [1, 0])
def test_a_group_of_one_is_an_error(size):
    with pytest.raises(InputError, match="at least 2"):
        groups.shares(0.5, size)
    with pytest.raises(InputError, match="at least 2"):
        groups.observed(np.array([size]), np.array([0]))


def test_impossible_inputs_are_named():
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        groups.shares(1.5, 4)
    with pytest.raises(InputError, match="re-count"):
        groups.observed(np.array([4]), np.array([5]))


@pytest.mark.parametrize(
    "counts", [Counts.of([10], [3]), Counts.of([1], [0]), Counts.of([16] * 6, [0, 1, 4, 9, 15, 16])]
)
def test_expected_shares_sum_to_one(counts):
    for shares in groups.expected(counts, (2, 16, 256)).values():
        assert shares.mixed.value + shares.all_wrong.value + shares.all_correct.value == pytest.approx(1, abs=1e-9)
