"""Exact intervals for one problem's P(correct) from n samples, c correct and u unjudged."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from goldpanner.errors import InputError
from goldpanner.types import FloatArray


def check_level(level: float) -> float:
    """Return `level` if it is a number in (0, 1); raise InputError otherwise."""
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; give a number in (0, 1), e.g. 0.95")
    return level


def check_counts(c: ArrayLike, n: ArrayLike, unjudged: ArrayLike = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return c, n, u in one shape as floats; raise InputError unless they are whole and 0 <= c <= c + u <= n."""
    arrays = [np.asarray(a, dtype=np.float64) for a in (c, n, unjudged)]
    for name, array in zip(("c", "n", "unjudged"), arrays):
        if not (np.isfinite(array).all() and (array == np.floor(array)).all() and (array >= 0).all()):
            bad = array[~(np.isfinite(array) & (array == np.floor(array)) & (array >= 0))].flat[0]
            raise InputError(f"{name} holds {float(bad):g}; counts are whole numbers >= 0")
    c_, n_, u_ = np.broadcast_arrays(*arrays)
    if (c_ + u_ > n_).any():
        worst = int(np.argmax((c_ + u_ > n_).ravel()))
        raise InputError(
            f"c + unjudged is {(c_ + u_).flat[worst]:.0f}, more than n = {n_.flat[worst]:.0f}; n counts every sample"
        )
    return c_, n_, u_


def proportion(
    c: ArrayLike, n: ArrayLike, unjudged: ArrayLike = 0, level: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Return (low, high): the exact two-sided interval for p, an unjudged sample counted against both ends.

    Clopper & Pearson 1934: low = B^-1(alpha/2; c, n-c+1), high = B^-1(1-alpha/2; c+1, n-c), where B^-1 is the quantile
    of the beta distribution. The low end takes c, the high end c + u: the interval contains [c/n, (c+u)/n] and covers p
    whatever the unjudged samples were. n = 0 gives [0, 1]. Any shapes that broadcast.

        >>> [round(float(end), 3) for end in proportion(0, 50)]
        [0.0, 0.071]
    """
    alpha = 1 - check_level(level)
    c_, n_, u_ = check_counts(c, n, unjudged)
    top = c_ + u_
    low = np.where(c_ > 0, special.betaincinv(np.maximum(c_, 1), n_ - c_ + 1, alpha / 2), 0.0)
    high = np.where(top < n_, special.betaincinv(top + 1, np.maximum(n_ - top, 1), 1 - alpha / 2), 1.0)
    return low, high


def upper_bound(c: ArrayLike, n: ArrayLike, unjudged: ArrayLike = 0, level: float = 0.95) -> FloatArray:
    """Return the exact one-sided upper bound of p; for c = u = 0 it is 1 - alpha^(1/n), about 3/n at 95%.

    One-sided, because "not reached within n" bounds p from above only. n = 0 gives 1.

        >>> round(float(upper_bound(0, 50)), 3)
        0.058
    """
    alpha = 1 - check_level(level)
    c_, n_, u_ = check_counts(c, n, unjudged)
    top = c_ + u_
    none = -np.expm1(np.log(alpha) / np.maximum(n_, 1))
    some = special.betaincinv(top + 1, np.maximum(n_ - top, 1), 1 - alpha)
    return np.where(top >= n_, 1.0, np.where(top > 0, some, none))
