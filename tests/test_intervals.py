import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from goldpanner.errors import InputError
from goldpanner.measure.intervals import proportion, upper_bound


@st.composite
def counted(draw):
    n = draw(st.integers(1, 400))
    c = draw(st.integers(0, n))
    return c, n, draw(st.integers(0, n - c))


def test_known_answers():
    """0 of 256 is not [0, 0]; R's binom.test(7, 20) gives 0.1539, 0.5922."""
    low, high = proportion([0, 7, 256], [256, 20, 256])
    assert low[0] == 0
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 256))
    assert (low[1], high[1]) == pytest.approx((0.15390919, 0.59218885))
    assert (low[2], high[2]) == pytest.approx((0.025 ** (1 / 256), 1))


def test_one_sided_bound_is_three_over_n():
    bound = upper_bound(0, [1, 50, 256, 10**6])
    assert bound == pytest.approx(1 - 0.05 ** (1 / np.array([1, 50, 256, 10**6])))
    assert bound[3] == pytest.approx(3e-6, rel=0.01)
    assert upper_bound(3, 10) == pytest.approx(stats.binomtest(3, 10, alternative="less").proportion_ci(0.95).high)
    assert upper_bound(10, 10) == 1
    assert upper_bound(0, 0) == 1


@given(counted(), st.floats(0.5, 0.999))
def test_agrees_with_scipy_and_contains_what_unjudged_samples_allow(counts, level):
    c, n, u = counts
    low, high = proportion(c, n, u, level)
    assert low <= c / n <= (c + u) / n <= high
    assert low == pytest.approx(stats.binomtest(c, n).proportion_ci(level, "exact").low, abs=1e-9)
    assert high == pytest.approx(stats.binomtest(c + u, n).proportion_ci(level, "exact").high, abs=1e-9)


@pytest.mark.parametrize("n", [5, 32])
def test_covers_every_p(n):
    """Exact: the probability to hold p, summed over c, is at least 95% for every p."""
    p = np.linspace(0.001, 0.999, 300)
    low, high = proportion(np.arange(n + 1), n)
    chance = stats.binom.pmf(np.arange(n + 1)[:, None], n, p)
    held = (low[:, None] <= p) & (p <= high[:, None])
    assert (chance * held).sum(0).min() >= 0.95


def test_no_samples_says_nothing():
    assert proportion(0, 0) == (0, 1)
    assert proportion(0, 8, 8) == (0, 1)


@pytest.mark.parametrize(
    ("c", "n", "u", "said"),
    [
        (5, 4, 0, "c + unjudged is 5, more than n = 4"),
        (3, 4, 2, "c + unjudged is 5"),
        (-1, 4, 0, "c holds"),
        (1.5, 4, 0, "whole numbers"),
        (1, float("nan"), 0, "n holds nan"),
    ],
)
def test_impossible_counts_are_named(c, n, u, said):
    with pytest.raises(InputError) as raised:
        proportion(c, n, u)
    assert said in str(raised.value)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_level_is_checked(level):
    with pytest.raises(InputError, match="level"):
        proportion(1, 2, level=level)
