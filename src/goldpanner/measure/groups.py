"""Mixed, all-wrong and all-correct groups: how much of an RL step carries a gradient.

A group of G samples of one problem whose rewards are all equal has advantage 0 (GRPO, RLOO).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import intervals
from goldpanner.measure.mixture import Grid
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

SIZES = (2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class GroupShares:
    """Shares of groups of one size."""

    size: int
    mixed: Estimate
    all_wrong: Estimate
    all_correct: Estimate

    def to_json(self) -> dict[str, object]:
        """Return {"mixed", "all_wrong", "all_correct"}."""
        return {
            "mixed": self.mixed.to_json(),
            "all_wrong": self.all_wrong.to_json(),
            "all_correct": self.all_correct.to_json(),
        }


def shares(p: FloatArray | float, size: int | FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the chances that a group of `size` samples is mixed, all wrong, all correct, given P(correct) = p.

    mixed = 1 - p^G - (1-p)^G, all wrong = (1-p)^G, all correct = p^G; stable for p down to 1e-300.
    Raises InputError for a group of fewer than 2 samples (its advantage is undefined) and p outside [0, 1].

        >>> [round(float(share), 4) for share in shares(0.5, 4)]
        [0.875, 0.0625, 0.0625]
    """
    p, group = np.asarray(p, dtype=np.float64), np.asarray(size, dtype=np.float64)
    if (group < 2).any():
        raise InputError(f"group size is {size!r}; a group needs at least 2 samples to have an advantage")
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"P(correct) must lie in [0, 1]; got values in [{np.min(p)!r}, {np.max(p)!r}]")
    with np.errstate(divide="ignore"):
        some_right = -np.expm1(group * np.log1p(-p))  # 1 - (1-p)^G, exact for tiny p
    all_correct = p**group
    return np.maximum(some_right - all_correct, 0.0), 1 - some_right, all_correct


def expected(
    counts: Counts,
    sizes: Sequence[int] = SIZES,
    level: float = 0.95,
    seed: int = 0,
    rates: RateDistribution | None = None,
) -> dict[int, GroupShares]:
    """Estimate the shares of groups over these problems, each drawn equally often, from a pilot's counts.

    The mean over problems of the posterior mean of `shares(P, G)`. The plug-in p = c/n would call all groups of an
    unsolved problem wrong.

    Args:
        counts: the pilot.
        sizes: group sizes G, each at least 2.
        level: coverage of the intervals: they carry the uncertainty of every problem's P and of the distribution of P.
        seed: seed of the draws.
        rates: distribution of P, if it is fitted already.

    Returns:
        G -> shares of mixed, all-wrong and all-correct groups.
    """
    rates = rates or RateDistribution.of(counts, seed)

    def values(grid: Grid) -> FloatArray:
        return np.concatenate([shares(grid.p, size) for size in sizes])

    estimates = rates.estimate(values, level)
    return {size: GroupShares(size, *estimates[3 * i : 3 * i + 3]) for i, size in enumerate(sizes)}


def observed(n: IntArray, c: IntArray, unjudged: IntArray | None = None, level: float = 0.95) -> dict[int, GroupShares]:
    """Return the shares among stored groups, by group size: n samples, c correct, u unjudged per group.

    Groups of one problem at several steps are counted as independent. A group whose unjudged samples could make it
    mixed or one-sided counts as unjudged: it widens the interval.
    """
    n, c = np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64)
    u = np.zeros_like(n) if unjudged is None else np.asarray(unjudged, dtype=np.int64)
    wrong = n - c - u
    if (n < 2).any():
        raise InputError(f"a stored group has {int(n.min())} sample(s); a group needs at least 2")
    if (wrong < 0).any() or (c < 0).any() or (u < 0).any():
        raise InputError("stored groups: c + unjudged exceeds n, or a count is negative; re-count the groups")
    out = {}
    for size in np.unique(n).tolist():
        of = n == size
        groups = int(of.sum())
        states = (
            ((c > 0) & (wrong > 0), (c == 0) | (wrong == 0)),
            ((c == 0) & (u == 0), c == 0),
            ((wrong == 0) & (u == 0), wrong == 0),
        )
        estimates = []
        for sure, possible in states:
            certain = int((sure & of).sum())
            open_ = int((possible & ~sure & of & (u > 0)).sum())
            low, high = intervals.proportion(np.array([certain]), np.array([groups]), np.array([open_]), level)
            value = certain / (groups - open_) if groups > open_ else float("nan")
            estimates.append(Estimate(value, float(low[0]), float(high[0]), level, "clopper-pearson", groups))
        out[size] = GroupShares(size, *estimates)
    return out
