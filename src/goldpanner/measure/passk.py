"""pass@k: the unbiased estimator, its curve over problems with a band, and the exact curve from log P(correct)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from goldpanner.errors import InputError
from goldpanner.measure.bands import mean_band
from goldpanner.measure.intervals import check_counts, check_level
from goldpanner.result import Result
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

LARGEST_K = 1e15
DENSE = 4096
"""Up to this n the default curve has every k; above, as many log-spaced ones."""


def log_miss(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Return log[C(n-c, k) / C(n, k)]: the log-probability that k samples out of n, without replacement, miss all c.

    The four log-gammas nearly cancel at n = 1e6, so Stirling's leading term is differenced by hand (log1p around n + 1)
    and only its small remainder is subtracted as is: relative error about 1e-9 at n = 1e6. -inf where n - c < k. Real
    c are allowed (they interpolate). Needs 0 <= c <= n and 0 <= k <= n.

        >>> np.exp(log_miss(4, 1, [1, 2, 4])).round(3).tolist()
        [0.75, 0.5, 0.0]
    """
    n_, c_, k_ = (np.asarray(a, dtype=np.float64) for a in (n, c, k))
    total = n_ + 1
    corners = (total - c_, total - k_, total - c_ - k_)
    impossible = corners[2] < 1
    last = np.where(impossible, 1.0, corners[2])
    with np.errstate(divide="ignore", invalid="ignore"):
        leading = (
            (corners[0] - 0.5) * np.log1p(-c_ / total)
            + (corners[1] - 0.5) * np.log1p(-k_ / total)
            - (last - 0.5) * np.log1p(-(total - last) / total)
        )
    rest = _stirling_rest(corners[0]) + _stirling_rest(corners[1]) - _stirling_rest(last) - _stirling_rest(total)
    return np.where(impossible, -np.inf, np.where((c_ == 0) | (k_ == 0), 0.0, np.minimum(leading + rest, 0.0)))


def _stirling_rest(z: FloatArray) -> FloatArray:
    """Return log Gamma(z) - [(z - 1/2) log z - z + log(2 pi)/2] for z >= 1."""
    small = z < 20
    near = np.where(small, z, 20.0)
    far = np.where(small, 20.0, z)
    exact = special.gammaln(near) - ((near - 0.5) * np.log(near) - near + 0.5 * np.log(2 * np.pi))
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / far**2) / far**2) / far**2) / far
    rest: FloatArray = np.where(small, exact, series)
    return rest


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Return 1 - C(n-c, k) / C(n, k), the unbiased estimator of pass@k (Chen et al. 2021, arXiv 2107.03374).

        >>> pass_at_k(n=4, c=1, k=[1, 2, 4]).round(3).tolist()
        [0.25, 0.5, 1.0]

    Args:
        n: judged samples of a problem; n, c and k may have any shapes that broadcast.
        c: correct ones.
        k: numbers of tries.

    Returns:
        The estimates; NaN where k > n: n samples say nothing unbiased about more than n.

    Raises:
        InputError: numbers that are not whole, or not 0 <= c <= n and k >= 1.
    """
    c_, n_, _ = check_counts(c, n)
    k_ = check_k(k)
    n_, c_, k_ = np.broadcast_arrays(n_, c_, k_)
    beyond = k_ > n_
    miss = log_miss(n_, c_, np.where(beyond, 0.0, k_))
    return np.where(beyond, np.nan, -np.expm1(miss))


def check_k(k: ArrayLike) -> FloatArray:
    """Return k as floats; raise InputError unless every k is a whole number >= 1."""
    k_ = np.asarray(k, dtype=np.float64)
    good = np.isfinite(k_) & (k_ >= 1) & (k_ <= LARGEST_K) & (k_ == np.floor(k_))
    if not good.all():
        raise InputError(f"k holds {float(k_[~good].flat[0]):g}; every k is a whole number from 1 to {LARGEST_K:.0e}")
    return k_


@dataclass(frozen=True, repr=False)
class Band(Result):
    """A curve over k with its confidence band; NaN where the samples cannot say (k > n)."""

    k: IntArray
    """Shape (K,), increasing."""
    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float
    method: str
    simultaneous: bool
    """Whether the band covers the whole curve at once with probability `level`; else each k on its own."""
    problems: int
    """Problems the mean is taken over."""

    def at(self, k: int) -> Estimate:
        """Return the estimate at one `k` of the grid; undefined (NaN) where k was not measured."""
        where = np.searchsorted(self.k, k)
        if where >= len(self.k) or self.k[where] != k or np.isnan(self.low[where]):
            return Estimate.undefined(self.method, self.level)
        value, low, high = (float(a[where]) for a in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.level, self.method, self.problems)

    @property
    def largest(self) -> int:
        """The largest k at which the band is defined, 0 if there is none."""
        defined = self.k[~np.isnan(self.low)]
        return int(defined[-1]) if len(defined) else 0

    @property
    def summary(self) -> str:
        """Both ends of the curve."""
        ends = ", ".join(f"at k = {k:,} {self.at(k)}" for k in sorted({int(self.k[0]), self.largest} - {0}))
        return f"{ends} ({self.problems:,} problems, {self.level:.0%})." if ends else "no k is defined."

    def to_json(self) -> dict[str, dict[str, float | None]]:
        """Return {k: {"value", "low", "high"}} with string keys, NaN as None."""
        arrays = (self.value, self.low, self.high)
        value, low, high = ([x if np.isfinite(x) else None for x in array.tolist()] for array in arrays)
        rows = zip(self.k.tolist(), value, low, high)
        return {str(k): {"value": v, "low": a, "high": b} for k, v, a, b in rows}


def default_ks(n: int, further: Sequence[int] = ()) -> IntArray:
    """Return every k from 1 to n, or `DENSE` log-spaced ones where n is larger than that, and those of `further`.

    >>> default_ks(5).tolist()
    [1, 2, 3, 4, 5]
    """
    more = np.array(further, np.int64)
    if n <= DENSE:
        return np.union1d(np.arange(1, n + 1, dtype=np.int64), more)
    decades = [m * 10**d for d in range(19) for m in (1, 2, 5)]
    round_ones = [k for k in (*decades, *(2**i for i in range(60))) if k <= n]  # those that people ask for
    dense = np.round(np.geomspace(1, n, DENSE)).astype(np.int64)
    return np.union1d(dense, np.concatenate([np.array(round_ones, np.int64), more]))


def choose_ks(k: Sequence[int] | IntArray | None, n: int) -> IntArray:
    """Return the grid: the given k sorted without repeats, or the default up to n.

    >>> choose_ks([8, 1, 8], 16).tolist()
    [1, 8]
    """
    if k is None:
        return default_ks(n)
    return np.unique(check_k(k)).astype(np.int64)


def rows_of(n: IntArray, c: FloatArray | IntArray, k: IntArray) -> FloatArray:
    """Return each problem's pass@k, shape (problems, K), from whole or real c; where k > n, pass@n.

    Equal (n, c) cost once.
    """
    table, where = distinct_rows(n, c, k)
    rows: FloatArray = table[where]
    return rows


def distinct_rows(n: IntArray, c: FloatArray | IntArray, k: IntArray) -> tuple[FloatArray, IntArray]:
    """Return pass@k of every different (n, c), shape (pairs, K), and each problem's pair, shape (problems,)."""
    # a complex number sorts by its real part, then by the other: one key for each pair
    pairs, where = np.unique(np.asarray(n, np.float64) + 1j * np.asarray(c, np.float64), return_inverse=True)
    size, correct = pairs.real[:, None], pairs.imag[:, None]
    within = np.minimum(k[None, :].astype(np.float64), size)
    return -np.expm1(log_miss(size, correct, within)), where.ravel()


def mean_value(counts: Counts, k: IntArray) -> FloatArray:
    """Return mean pass@k of the judged samples, shape (K,); needs k <= n.

    Strict: samples unjudged by the model's own doing are judged, as wrong. Unbiased where the other unjudged samples of
    a problem are like its judged ones and every problem has k of these. A
    problem with fewer counts with all it has: pass@k is at least that. Problems without a judged sample are left out
    (all: NaN).

        >>> mean_value(Counts.of([4, 4], [0, 1]), np.array([1, 4])).round(3).tolist()
        [0.125, 0.5]
    """
    judged = counts.judged
    some = judged > 0
    if not some.any():
        return np.full(len(k), np.nan)
    table, where = distinct_rows(judged[some], counts.c[some], k)
    mean: FloatArray = np.bincount(where) @ table / len(where)
    return mean


def curve(
    counts: Counts,
    k: Sequence[int] | IntArray | None = None,
    level: float = 0.95,
    simultaneous: bool = True,
    clusters: IntArray | None = None,
) -> Band:
    """Return mean pass@k over problems with a band for the population's curve, mean over p of 1 - (1-p)^k.

    The band (`measure.bands`) covers the sampling of problems and of answers; the simultaneous one is made monotone in
    k, as the truth is. The value is that of the judged samples (`mean_value`); the band's low end takes the unjudged
    ones for wrong, its high end for right. One problem, or none judged, gives [0, 1].

        >>> band = curve(Counts.of(n=[4, 4, 4], c=[0, 1, 4]), k=[1, 4])
        >>> [round(float(x), 3) for x in band.value]
        [0.417, 0.667]

    Args:
        counts: samples and successes of P problems.
        k: numbers of tries; None: every k up to the smallest n. NaN where k exceeds it: a mean over the other problems
            would be another quantity.
        level: coverage of the band.
        simultaneous: a band for the whole curve at once; False: an interval for each k.
        clusters: shape (P,), number of each problem's cluster: the band then covers the sampling of clusters.

    Raises:
        InputError: no problems.
    """
    check_level(level)
    smallest = smallest_n(counts)
    ks = choose_ks(k, max(smallest, 1))
    use = ks <= smallest
    value, low, high = (np.full(len(ks), np.nan) for _ in range(3))
    if use.any():

        def band(correct: IntArray) -> tuple[FloatArray, FloatArray]:
            table, where = distinct_rows(counts.n, correct, ks[use])
            if clusters is not None:
                return mean_band([table[where]], level, simultaneous, clusters=clusters)
            return mean_band([table], level, simultaneous, np.bincount(where))

        low[use], high[use] = band(counts.c)
        if counts.unjudged.any():
            high[use] = band(counts.c + counts.unjudged)[1]
        value[use] = mean_value(counts, ks[use])
        if simultaneous:
            low[use], high[use] = np.maximum.accumulate(low[use]), np.minimum.accumulate(high[use][::-1])[::-1]
    method = f"studentised bootstrap over {len(counts)} problems"
    return Band(ks, value, np.clip(low, 0, 1), np.clip(high, 0, 1), level, method, simultaneous, len(counts))


def smallest_n(counts: Counts) -> int:
    """Return the smallest n of any problem; raise InputError where there is no problem."""
    if not len(counts):
        raise InputError("there are no problems to measure; give counts of at least one")
    return int(counts.n.min())


def exact_rows(logp: ArrayLike, k: Sequence[int] | IntArray) -> FloatArray:
    """Return 1 - (1-P)^k per problem, shape (problems, K), from log P (nats); stable at P = 1e-60 and k = 1e6."""
    values = np.asarray(logp, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"log P has shape {values.shape}; give one value per problem, at least one")
    bad = np.isnan(values) | (values > 1e-9)
    if bad.any():
        raise InputError(
            f"log P holds {float(values[bad][0]):g}; give natural logarithms of probabilities, values <= 0"
        )
    with np.errstate(divide="ignore"):
        log_fail = np.log1p(-np.exp(np.minimum(values, 0.0)))
        return -np.expm1(check_k(k)[None, :] * log_fail[:, None])


def exact(logp: ArrayLike, k: Sequence[int] | IntArray) -> FloatArray:
    """Return the mean over problems of 1 - (1-P)^k, shape (K,), from exact log P (nats), one per problem.

    No sampling noise and no limit on k. Stable from P = 1e-60 to P = 1: log1p and expm1 throughout.

        >>> exact(np.log([0.5, 0.25]), [1, 2]).round(3).tolist()
        [0.375, 0.594]
    """
    mean: FloatArray = exact_rows(logp, k).mean(0)
    return mean
