"""What studies summarise their measurements with. Every number comes with its interval."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from goldpanner.errors import InputError
from goldpanner.measure import intervals, passk
from goldpanner.rng import stream
from goldpanner.types import Estimate, FloatArray

RESAMPLES = 2_000


def mean(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the mean of independent values with Student's t interval; without width where all are equal."""
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise InputError(f"a mean needs at least 2 values to have an interval; there are {x.size}")
    half = float(stats.t.ppf(0.5 + level / 2, len(x) - 1)) * float(x.std(ddof=1)) / len(x) ** 0.5
    value = float(x.mean())
    return Estimate(value, value - half, value + half, level, "t over problems", len(x))


def exact_change(before: ArrayLike, after: ArrayLike, k: int, level: float = 0.95) -> Estimate:
    """Return exact pass@k after minus before, from log P of the same problems (nats), paired t over problems."""
    return mean((passk.exact_rows(after, [k]) - passk.exact_rows(before, [k]))[:, 0], level)


def pass_at(logp: ArrayLike, k: int, level: float = 0.95) -> Estimate:
    """Return exact pass@k from log P (nats) of problems drawn at random, t over problems, kept within [0, 1]."""
    estimate = mean(passk.exact_rows(logp, [k])[:, 0], level)
    return Estimate(estimate.value, max(estimate.low, 0.0), min(estimate.high, 1.0), level, estimate.method, estimate.n)


def share(found: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the share of True with its exact interval (Clopper & Pearson 1934); undefined of nothing."""
    x = np.asarray(found, bool)
    if not x.size:
        return Estimate.undefined("clopper-pearson", level)
    low, high = intervals.proportion(int(x.sum()), x.size, level=level)
    return Estimate(float(x.mean()), float(low), float(high), level, "clopper-pearson", x.size)


def log_mean_p(logp: ArrayLike) -> float:
    """Return log10 of the mean P, from log P in nats, without underflow."""
    return float((special.logsumexp(logp) - np.log(np.size(logp))) / np.log(10))


def bootstrap(statistic: Callable[..., float], *columns: ArrayLike, level: float = 0.95, key: str = "") -> Estimate:
    """Return `statistic(*columns)` with the percentile interval over 2,000 resamples of rows (the columns' common
    index, e.g. problems). Resamples on which it is undefined (NaN) are left out; all of them: undefined.
    """
    arrays = [np.asarray(column) for column in columns]
    size = len(arrays[0])
    if any(len(array) != size for array in arrays) or size < 2:
        raise InputError(f"bootstrap: columns have lengths {[len(a) for a in arrays]}; give equal ones of at least 2")
    value = float(statistic(*arrays))
    method = f"bootstrap over {size}"
    if np.isnan(value):
        return Estimate.undefined(method, level)
    rows = stream("studies/bootstrap", key, size).integers(0, size, (RESAMPLES, size))
    replicates = np.array([statistic(*(array[row] for array in arrays)) for row in rows], np.float64)
    replicates = replicates[~np.isnan(replicates)]
    if not len(replicates):
        return Estimate.undefined(method, level)
    low, high = np.quantile(
        replicates, [0.5 - level / 2, 0.5 + level / 2], method="closest_observation"
    )  # some are inf
    return Estimate(value, min(float(low), value), max(float(high), value), level, method, size)


def auc(score: ArrayLike, outcome: ArrayLike) -> float:
    """Return P(score of a positive > score of a negative) + half P(equal); NaN where one kind is missing.

    The area under the ROC curve as a Mann-Whitney statistic (Hanley & McNeil 1982).
    """
    x, y = np.asarray(score, np.float64), np.asarray(outcome, bool)
    if y.all() or not y.any():
        return float("nan")
    ranks = stats.rankdata(x)
    return float((ranks[y].sum() - y.sum() * (y.sum() + 1) / 2) / (y.sum() * (~y).sum()))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Return Spearman's rank correlation; NaN where one side never varies."""
    a, b = stats.rankdata(np.asarray(x, np.float64)), stats.rankdata(np.asarray(y, np.float64))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def computed(value: float, level: float = 0.95) -> Estimate:
    """Return a computed number as an estimate without width: there is nothing that sampling left open."""
    return Estimate(value, value, value, level, "computed")


def exact_pass_curve(logp: ArrayLike, ks: Sequence[int]) -> FloatArray:
    """Return exact mean pass@k at each k, shape (K,)."""
    return passk.exact(logp, list(ks))


def exact_equivalent_k(before: ArrayLike, after: ArrayLike, largest: int = 1_000_000) -> float:
    """Return the smallest k at which the base's exact pass@k reaches the RL model's pass@1; `inf` beyond `largest`.

    Continuous in k: pass@k = mean 1 - (1 - P)^k is defined for real k >= 1 and rises with it. 1 where RL is no better.
    """
    target = float(passk.exact(after, [1])[0])
    log_fail: Any = np.log1p(-np.exp(np.minimum(np.asarray(before, np.float64), -1e-12)))

    def short(log_k: float) -> float:
        return target - float(-np.expm1(np.exp(log_k) * log_fail).mean())

    if short(0.0) <= 0:
        return 1.0
    if short(np.log(largest)) > 0:
        return float("inf")
    low, high = 0.0, float(np.log(largest))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) > 0 else (low, middle)
    return float(np.exp(high))
