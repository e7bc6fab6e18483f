"""Confidence sequences: intervals for one problem's P(correct) that hold at every moment, however often one looks.

An exact interval (`intervals.proportion`) holds for a number of samples chosen beforehand. Who looks after every batch
and stops where the interval pleases is wrong far more often than its level says. A confidence sequence is valid at all
n at once, so drawing may stop, go on, or move to another problem for whatever reason the counts give.
"""

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from goldpanner.errors import InputError
from goldpanner.measure.groups import shares
from goldpanner.measure.intervals import check_counts, check_level
from goldpanner.measure.thresholds import EASY, OFTEN, RARE, SELDOM
from goldpanner.types import Counts, FloatArray, IntArray

PRIOR = 0.25
"""a = b of the beta mixture: a small one is narrower near 0 and 1, where most thresholds lie, little wider between."""
STRATA = ("rare", "reachable", "easy")
GROUPS = ("mostly all wrong", "sometimes mixed", "mostly mixed", "sometimes mixed", "mostly all correct")
CHANGES = ("fell", "no material change", "rose")
KEPT = 0.2
"""What each side of a comparison does not stake: many samples of one must not drown what the other shows."""
_HALVINGS = 50


def confidence_sequence(
    c: ArrayLike, n: ArrayLike, unjudged: ArrayLike = 0, level: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Return (low, high) for p, with P(p in [low, high] at every n) >= level; an unjudged sample widens both ends.

    The interval of all p whose beta mixture martingale has not reached 1/alpha, by Ville's inequality:
    M_n(p) = B(a + c, a + n - c) / B(a, a) / (p^c (1-p)^(n-c)), a = `PRIOR`
    (Robbins 1970, Ann. Math. Stat. 41:1397; Howard et al., arXiv:1810.08240, and for betting in general Waudby-Smith &
    Ramdas, arXiv:2010.09686). The low end takes c, the high end c + u, as `intervals.proportion`. n = 0 gives [0, 1].

        >>> [round(float(end), 3) for end in confidence_sequence(0, 50)]
        [0.0, 0.09]
    """
    alpha = 1 - check_level(level)
    c_, n_, u_ = check_counts(c, n, unjudged)
    return _end(c_, n_, alpha, low=True), _end(c_ + u_, n_, alpha, low=False)


def _mixture(hits: FloatArray, misses: FloatArray) -> FloatArray:
    return special.betaln(PRIOR + hits, PRIOR + misses) - special.betaln(PRIOR, PRIOR)


def _fitted(p: FloatArray, hits: FloatArray, misses: FloatArray) -> FloatArray:
    return cast(FloatArray, special.xlogy(hits, p) + special.xlog1py(misses, -p))


def _end(c: FloatArray, n: FloatArray, alpha: float, low: bool) -> FloatArray:
    """Return one end by bisection between c/n, where M <= 1, and 0 or 1; log M is convex in p."""
    inside = np.divide(c, n, out=np.full(c.shape, 0.5), where=n > 0)
    outside = np.zeros_like(inside) if low else np.ones_like(inside)
    lowest = _mixture(c, n - c) + np.log(alpha)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        keep = _fitted(middle, c, n - c) > lowest
        inside, outside = np.where(keep, middle, inside), np.where(keep, outside, middle)
    at_edge = c == 0 if low else c == n  # M then stays below 1/alpha up to the edge itself
    return np.where(at_edge, float(not low), outside)


def strata_cuts(rare: float = RARE, easy: float = EASY) -> FloatArray:
    """Return the values of P between the strata of the boundary, named by `STRATA`."""
    return np.array([rare, easy])


def group_cuts(size: int) -> FloatArray:
    """Return the four values of P between the five kinds of problems of `GROUPS`, for groups of `size`.

    Mostly mixed: 1 - P^G - (1-P)^G >= 3/4; mostly one-sided: at most 1/4. Raises InputError for groups too small to be
    mixed that often.
    """
    from scipy.optimize import brentq

    if size < 4:
        raise InputError(f"group size is {size}; groups of fewer than 4 are never mixed with a chance of {OFTEN:g}")
    seldom, often = (brentq(_mixed_beyond, 0.0, 0.5, args=(size, chance), xtol=1e-15) for chance in (SELDOM, OFTEN))
    return np.array([seldom, often, 1 - often, 1 - seldom])


def _mixed_beyond(p: float, size: int, chance: float) -> float:
    return float(shares(p, size)[0]) - chance


def zone(low: FloatArray, high: FloatArray, cuts: FloatArray) -> IntArray:
    """Return, per problem, the number of the zone between `cuts` that holds all of [low, high]; -1 where none does."""
    first, last = np.searchsorted(cuts, low, side="right"), np.searchsorted(cuts, high, side="left")
    return np.where(first >= last, last, -1).astype(np.int64)


def log_difference_martingale(
    difference: float, c: ArrayLike, n: ArrayLike, base_c: ArrayLike, base_n: ArrayLike
) -> FloatArray:
    """Return log M(d) for two policies' samples of a problem: evidence against P - P_base = d.

    M(d) = min_p (k + (1-k) M_base(p)) (k + (1-k) M(p+d)), M_base and M those of `confidence_sequence` on either side,
    k = `KEPT`. At the true P both factors are martingales of mean 1, independent of one another, and the minimum makes
    their product smaller: so if d is the difference, M(d) ever reaches 1/alpha, whenever and on whichever side samples
    are added, with probability at most alpha (after universal inference, Wasserman et al., arXiv:1912.11436; Ville).

    Args:
        difference: d, in (-1, 1).
        c: successes, shape (P,).
        n: samples, shape (P,).
        base_c: successes of the base, shape (P,).
        base_n: samples of the base, shape (P,).

    Returns:
        log M(d), shape (P,).
    """
    c_, n_, base_c_, base_n_ = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (c, n, base_c, base_n)))
    sides = [(0.0, base_c_, base_n_ - base_c_), (difference, c_, n_ - c_)]
    low = np.full(c_.shape, max(0.0, -difference))
    high = np.full(c_.shape, min(1.0, 1.0 - difference))

    def evidence(p: FloatArray) -> list[FloatArray]:
        return [_mixture(h, m) - _fitted(np.clip(p + d, 0, 1), h, m) for d, h, m in sides]

    for _ in range(_HALVINGS):  # log M is convex in p: its slope has one zero
        p = (low + high) / 2
        shares = [special.expit(log + np.log(1 / KEPT - 1)) for log in evidence(p)]
        falls = sum(share * _slope(p + d, h, m) for share, (d, h, m) in zip(shares, sides)) > 0
        low, high = np.where(falls, p, low), np.where(falls, high, p)
    capital = [np.logaddexp(np.log(KEPT), np.log1p(-KEPT) + log) for log in evidence((low + high) / 2)]
    return cast(FloatArray, capital[0] + capital[1])


def _slope(p: FloatArray, hits: FloatArray, misses: FloatArray) -> FloatArray:
    """Return the slope of `_fitted` in p, within (0, 1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return cast(FloatArray, np.where(hits > 0, hits / p, 0.0) - np.where(misses > 0, misses / (1 - p), 0.0))


def change(counts: Counts, base: Counts, margin: float, level: float = 0.95) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return, per problem, the number in `CHANGES` of what is settled of P - P_base (-1: nothing yet), and whether more
    samples of `counts` cannot settle it.

    P rose (or fell) where every difference <= 0 (>= 0) is excluded by `log_difference_martingale`, which is smallest at
    the observed one; it did not change materially where those of `margin` and more, up and down, are. All of it is
    right at every moment with probability >= `level` per problem. An unjudged sample counts against each claim.

    More samples are in vain where P's confidence sequence lies within the base's and holds no value from which both of
    its ends are within the margin: then it is the base that is not known well enough. The ids must be the same.
    """
    n, base_n, limit = counts.n, base.n, -np.log(1 - check_level(level))

    def above(difference: float, c: IntArray, base_c: IntArray) -> NDArray[np.bool_]:
        """Whether the difference is shown to be above this one."""
        far = log_difference_martingale(difference, c, n, base_c, base_n) >= limit
        return cast(NDArray[np.bool_], far & (c * base_n - base_c * n > difference * n * base_n))

    def below(difference: float, c: IntArray, base_c: IntArray) -> NDArray[np.bool_]:
        return above(-difference, n - c, base_n - base_c)

    most, base_most = counts.c + counts.unjudged, base.c + base.unjudged
    rose, fell = above(0.0, counts.c, base_most), below(0.0, most, base.c)
    same = above(-margin, counts.c, base_most) & below(margin, most, base.c)
    zone = np.select([rose, fell, same], [2, 0, 1], -1).astype(np.int64)
    low, high = confidence_sequence(counts.c, counts.n, counts.unjudged, level)
    base_low, base_high = confidence_sequence(base.c, base.n, base.unjudged, level)
    inside = (low >= base_low) & (high <= base_high)
    in_vain = (zone < 0) & inside & (np.maximum(low, base_high - margin) > np.minimum(high, base_low + margin))
    return zone, in_vain


def misplaced(c: FloatArray | IntArray, n: FloatArray | IntArray, cuts: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return each problem's likeliest zone and the chance that P lies in another, under Beta(1/2 + c, 1/2 + n - c).

    `cuts` holds the values of P between the zones, shape (cuts,), or (problems, cuts) where each has its own.
    """
    c_, n_ = np.asarray(c, np.float64)[:, None], np.asarray(n, np.float64)[:, None]
    below = special.betainc(c_ + 0.5, n_ - c_ + 0.5, np.atleast_2d(cuts))
    share = np.diff(below, axis=1, prepend=0.0, append=1.0)
    return share.argmax(axis=1).astype(np.int64), 1 - share.max(axis=1)


def samples_to_settle(c: ArrayLike, n: ArrayLike, cuts: FloatArray, most: int, level: float = 0.95) -> IntArray:
    """Return about how many samples in all each problem will have when it settles, shape (P,).

    As if P were p = (c + 1/4) / (n + 1/2): the n' at which log M is expected to reach log(1/alpha) at the nearer cut,
    n' KL(p, cut) = log(1/alpha) + log(n') / 2 + 1/2. A forecast, to show the time left; nothing reported rests on it.

    Args:
        c: successes, shape (P,).
        n: samples, shape (P,).
        cuts: values of P that a problem must be told from.
        most: samples a problem gets at most.
        level: 1 - alpha.
    """
    n_ = np.asarray(n, np.float64)
    p = ((np.asarray(c, np.float64) + PRIOR) / (n_ + 2 * PRIOR))[..., None]
    nearest = np.maximum((special.rel_entr(p, cuts) + special.rel_entr(1 - p, 1 - cuts)).min(axis=-1), 1e-12)
    need = np.maximum(n_, 8.0)
    for _ in range(6):
        need = (0.5 - np.log(1 - check_level(level)) + np.log(need) / 2) / nearest
    total: IntArray = np.ceil(np.clip(np.maximum(need, n_), 1, max(most, 1))).astype(np.int64)
    return total
