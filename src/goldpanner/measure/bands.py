"""One confidence band for the mean over problems of bounded curves, built to hold with 15 problems as with 500.

The problems are a sample from a population; the rows (one curve per problem) are unbiased for the problem's own curve,
so their mean is unbiased for the population's, and the spread between rows carries both the sampling of problems and
the sampling within them. Three things make a plain sup-t band fail on few problems, and each is met here:

1. *Skewed rows, unstable standard errors* (rare successes). The critical value is a studentised bootstrap over
   problems: the 95% quantile of sup_k |mean* - mean| / se*, with se* recomputed in every resample (Efron & Tibshirani
   1993, ch. 12.5; the sup over k as in Montiel Olea & Plagborg-Moller 2019). A multiplier bootstrap with fixed se (what
   passk-inference 0.3.1 does) covers 82-91% of rare and U-shaped populations at 15-30 problems.
2. *A standard error that is zero by luck* (every problem solved). se^2 = (SS + w v) / (m (m-1)): `FLOOR_WEIGHT` w = 2
   pseudo-problems with the largest variance that the mean allows: v = sum over parts of mu(1-mu), with
   mu = (sum + 1/2) / (m + 1).
3. *Problems of a kind that was not met.* Of m problems that all behaved alike, a share of up to
   eps = 1 - (alpha/2)^(1/m) of the population may behave otherwise (the exact bound of Clopper & Pearson for m of m).
   Where every part is solved by all but a share 2 eps, or by none, the band is no narrower than +-eps, and the critical
   value need not pay for what that covers. (The exact binomial interval is wider than eps there, too.)

What remains short is taken out of alpha, more at few problems: alpha / (1.15 + 1.5/sqrt(m)), chosen by simulation
(`benchmarks/truth_bands.py`; figures and rejected methods in `dev/LOG.md`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from goldpanner import rng
from goldpanner.types import FloatArray, IntArray

FLOOR_WEIGHT = 2.0
RESAMPLES = 2000
GRID = 48
"""Columns at which the critical value is found: curves in k are smooth, so a log-spaced subset gives the same sup."""


def mean_band(
    parts: Sequence[FloatArray],
    level: float,
    simultaneous: bool,
    repeats: IntArray | None = None,
    clusters: IntArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return (low, high), each of shape (K,): the band for the mean over problems of the first part minus the others.

    It is not clipped to the range of the rows. One problem gives (-inf, inf).

    Args:
        parts: one or two arrays in [0, 1], each (m, K) or (m, 1), smooth along K: pass@k of one model, or of two whose
            difference is asked for.
        level: coverage of the band.
        simultaneous: one critical value for all K columns; False: one for each column.
        repeats: shape (m,), number of problems that have each row; None: one.
        clusters: shape (m,), number of each problem's cluster (then `repeats` is None): clusters are drawn, and not
            problems.
    """
    if clusters is not None:
        parts = [cluster_rows(part, clusters) for part in parts]
    rows = _combine(parts)
    size = rows.shape[1]
    repeats = np.ones(len(rows), np.int64) if repeats is None else repeats
    m = int(repeats.sum())
    if m < 2:
        return np.full(size, -np.inf), np.full(size, np.inf)
    alpha = (1 - level) / (1.15 + 1.5 * m**-0.5)
    unseen = 1 - ((1 - level) / 2) ** (1 / m)
    mean, means = repeats @ rows / m, [repeats @ p / m for p in parts]
    error = _standard_error(repeats @ (rows - mean) ** 2, means, m)
    grid = np.unique(np.round(np.geomspace(1, size, min(size, GRID))).astype(np.int64)) - 1
    pivots = _pivots([p[:, grid] if p.shape[1] > 1 else p for p in parts], repeats, unseen)
    critical: float | FloatArray
    if simultaneous:
        critical = float(np.quantile(pivots.max(1), 1 - alpha))
    else:
        critical = np.interp(np.log1p(np.arange(size)), np.log1p(grid), np.quantile(pivots, 1 - alpha, axis=0))
    # rows that never vary make every pivot 0; elsewhere the floor in se is wide, and a small critical value is right
    critical = np.where(np.asarray(critical) > 1e-9, critical, stdtrit(m - 1, 1 - alpha / 2))
    half = critical * error
    half = np.where(_alike(means, unseen), np.maximum(half, unseen), half)
    return mean - half, mean + half


def cluster_rows(rows: FloatArray, clusters: IntArray) -> FloatArray:
    """Return one row per cluster, with the rows' mean: mean + (sum of the cluster - mean x its size) x C / P.

    The mean over problems is a ratio of two sums over clusters; linearised it is the mean of these rows, and their
    spread is its uncertainty where problems of a cluster are alike (Cochran 1977, ch. 9).

    Args:
        rows: shape (P, K).
        clusters: number of each problem's cluster, from 0 on, shape (P,).
    """
    size = np.bincount(clusters).astype(np.float64)
    sums = np.zeros((len(size), rows.shape[1]))
    np.add.at(sums, clusters, rows)
    mean = rows.mean(axis=0)
    out: FloatArray = mean + (sums - size[:, None] * mean) * len(size) / len(rows)
    return out


def _combine(parts: Sequence[FloatArray]) -> FloatArray:
    """Return the first part minus the others."""
    rows = parts[0]
    for part in parts[1:]:
        rows = rows - part
    return rows


def _standard_error(squares: FloatArray, means: Sequence[FloatArray], m: int) -> FloatArray:
    """Return sqrt((SS + w v) / (m (m-1))) for sums of squares (..., K) and the parts' means (..., K)."""
    shrunk = [(mean * m + 0.5) / (m + 1) for mean in means]
    floor = sum((mu * (1 - mu) for mu in shrunk), start=np.zeros(1))
    error: FloatArray = np.sqrt((squares + FLOOR_WEIGHT * floor) / (m * (m - 1)))
    return error


def _alike(means: Sequence[FloatArray], unseen: float) -> NDArray[np.bool_]:
    """Return where every part is solved by all but a share 2 `unseen` of the problems, or by none at all."""
    lowest, highest = np.minimum.reduce(np.broadcast_arrays(*means)), np.maximum.reduce(np.broadcast_arrays(*means))
    alike: NDArray[np.bool_] = (1 - lowest <= 2 * unseen) | (highest <= 0)
    return alike


def _pivots(parts: Sequence[FloatArray], repeats: IntArray, unseen: float) -> FloatArray:
    """Return |mean* - mean| / se* of every resample, shape (RESAMPLES, K); 0 where the unseen share covers it.

    Problems with equal rows are one class, and a resample draws how many of each class: the order of the problems does
    not matter, and many problems cost as little as their classes.
    """
    parts, repeats = _classes(parts, repeats)
    rows = _combine(parts)
    m = int(repeats.sum())
    mean = repeats @ rows / m
    squared = (rows - mean) ** 2
    generator = rng.stream("measure/bands", m)
    out = np.empty((RESAMPLES, rows.shape[1]))
    step = max(1, 2_000_000 // len(rows))
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        weight = _weights(generator, repeats, count)
        means = [weight @ p / m for p in parts]
        shift = _combine(means) - mean
        squares = np.maximum(weight @ squared - m * shift**2, 0)
        covered = _alike(means, unseen) & (np.abs(shift) <= unseen)
        out[start : start + count] = np.where(covered, 0.0, np.abs(shift) / _standard_error(squares, means, m))
    return out


def _classes(parts: Sequence[FloatArray], repeats: IntArray) -> tuple[list[FloatArray], IntArray]:
    """Return the distinct rows of the parts taken together, sorted, and how many problems have each."""
    table = np.ascontiguousarray(np.hstack(parts))
    keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    return [part[first] for part in parts], np.bincount(where.ravel(), repeats).astype(np.int64)


def _weights(generator: np.random.Generator, repeats: IntArray, count: int) -> FloatArray:
    """Return how many problems of each class `count` resamples hold, shape (count, classes)."""
    m = int(repeats.sum())
    if 4 * len(repeats) <= m:
        return generator.multinomial(m, repeats / m, size=count).astype(np.float64)
    kind = np.repeat(np.arange(len(repeats)), repeats)
    picks = kind[generator.integers(0, m, (count, m))] + np.arange(count)[:, None] * len(repeats)
    return np.bincount(picks.ravel(), minlength=count * len(repeats)).reshape(count, -1).astype(np.float64)
