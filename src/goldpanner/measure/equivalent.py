"""Equivalent k: how many tries the base needs for what RL reaches, within the samples and beyond them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goldpanner.measure import passk
from goldpanner.measure.bands import cluster_rows, mean_band
from goldpanner.measure.curves import log_crossing
from goldpanner.measure.passk import smallest_n
from goldpanner.measure.posterior import METHOD, PARTICLES, WIDE, Ensemble, any_spread, posterior
from goldpanner.measure.thresholds import FURTHEST, NEAR
from goldpanner.types import Counts, Estimate, FloatArray, IntArray


@dataclass(frozen=True)
class EquivalentK:
    """The least k at which the base's pass@k comes within `NEAR` of RL's pass@K, on these very problems."""

    tries: int
    """K: the largest k that both models have samples for; 0: there is none."""
    k: Estimate
    """The least k. Infinite ends lie beyond `FURTHEST` tries."""
    within: int
    """R: the tries that count as within reach of the base."""

    @property
    def reached(self) -> bool:
        """Whether the base needs at most R tries, by the upper end of the interval."""
        return bool(self.k.high <= self.within)

    @property
    def beyond(self) -> bool:
        """Whether the base needs more than R tries, by the lower end of the interval."""
        return bool(self.k.low > self.within)

    def to_json(self) -> dict[str, object]:
        """Return K, R, the estimate, and the k up to which an infinite end was looked for."""
        return {
            "of_pass_at": self.tries,
            "nearer_than": NEAR,
            "within": self.within,
            "furthest": FURTHEST,
            **self.k.to_json(),
        }


def equivalent_k(
    base: Counts,
    seeds: Sequence[Counts],
    tries: int,
    within: int,
    level: float = 0.95,
    errors: tuple[float, float] = (0.0, 0.0),
    clusters: IntArray | None = None,
) -> EquivalentK:
    """Estimate the least k with pass@k of the base >= pass@`tries` of RL - `NEAR`, beyond the base's samples too.

    Both are means over these problems of 1 - (1 - P)^k. Each posterior draw of the base's P (`measure.posterior`) gives
    a curve over k, each draw of RL's a value at `tries`; the least k of every pair of draws gives the interval. No
    number of samples tells an impossible problem from a rare one, so the interval holds that of both beliefs: that some
    may be impossible, and that none is. With unjudged samples it holds both extremes: all of the base's right and all
    of RL's wrong, and the reverse.

    Args:
        base: counts of the model before RL.
        seeds: counts of the model after RL, of the same problems in the same order; of several, seeds of one recipe,
            the mean of their pass@K is the aim.
        tries: K, at least 1; 0 leaves everything undefined.
        within: R, kept beside the estimate.
        level: coverage of the interval.
        errors: the verifier's rates of false positives and of false negatives, which are undone.
        clusters: number of each problem's cluster, shape (P,), where problems of a cluster are alike: they then say
            less of how P is distributed (`design_effect`).

    Returns:
        The equivalent k with its interval, from 1 to infinity (beyond `FURTHEST`); undefined where nothing was judged.
    """
    if not tries or not base.judged.any() or not all(seed.judged.any() for seed in seeds):
        return EquivalentK(tries, Estimate.undefined(METHOD, level), within)
    ks = np.unique(np.round(np.geomspace(1, FURTHEST, STEPS)))

    def believed(counts: Counts, seed: int, zeros: bool = True) -> Ensemble:
        alike = 1.0 if clusters is None else design_effect(counts, clusters)
        return posterior(counts, seed, PARTICLES, *errors, zeros=zeros, prior=WIDE, alike=alike)

    draws, ends = [], []
    for before, after in _extremes(base, seeds):
        aims = [_target(believed(seed, 1 + i), tries) for i, seed in enumerate(after)]
        target: FloatArray = np.mean(aims, axis=0)
        for zeros in (True, False):
            ensemble = believed(before, 0, zeros)
            draws.append(_least(ensemble, target, ks))
            tail = ensemble.tail(level)
            ends.append(np.quantile(draws[-1], [tail, 1 - tail], method="nearest"))
            if ensemble.samples == 1:
                ends.append(_any_least(ensemble, target, ks, level))
    value = float(np.quantile(draws[0], 0.5, method="nearest"))
    low, high = (float(end) for end in (np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]))
    estimate = Estimate(value, min(low, value), max(high, value), level, METHOD, len(base))
    return EquivalentK(tries, estimate, within)


def design_effect(counts: Counts, clusters: IntArray) -> float:
    """Return by what factor clusters of problems that are alike enlarge the variance of mean P, at least 1 (Kish 1965).

    Args:
        counts: of P problems.
        clusters: number of each problem's cluster, shape (P,).
    """
    judged = counts.judged > 0
    rate = (counts.c[judged] / counts.judged[judged])[:, None]
    by_cluster = cluster_rows(rate, np.unique(clusters[judged], return_inverse=True)[1])
    if len(by_cluster) < 2 or not rate.var() > 0:
        return float(len(rate) / len(by_cluster))
    return max(1.0, float(by_cluster.var(ddof=1) / len(by_cluster) * len(rate) / rate.var(ddof=1)))


STEPS = 400
"""Values of k up to `FURTHEST` that are looked at, evenly spaced in log k: neighbours differ by 3.5%."""


def _extremes(base: Counts, seeds: Sequence[Counts]) -> list[tuple[Counts, Sequence[Counts]]]:
    """Return the judged samples of both, and what the unjudged could make of them: base up and RL down, and reverse."""
    if not base.unjudged.any() and not any(seed.unjudged.any() for seed in seeds):
        return [(base, seeds)]

    def judged_so(counts: Counts, right: bool) -> Counts:
        return Counts.of(counts.n, counts.c + right * counts.unjudged, counts.ids)

    ends = [(judged_so(base, up), [judged_so(seed, not up) for seed in seeds]) for up in (True, False)]
    return [(base, seeds), *ends]


def _target(rl: Ensemble, tries: int) -> FloatArray:
    """Return draws of what the base has to reach, shape (T,)."""
    out: FloatArray = rl.curves(1 - rl.grid.failing(np.array([float(tries)])))[:, 0] - NEAR
    return out


def _least(base: Ensemble, target: FloatArray, ks: FloatArray) -> FloatArray:
    """Return the least of `ks` at which each draw of the base reaches its target, infinite where none does."""
    reached = base.curves(1 - base.grid.failing(ks)) >= target[:, None]
    return np.where(reached.any(axis=1), ks[np.argmax(reached, axis=1)], np.inf)


def _any_least(base: Ensemble, target: FloatArray, ks: FloatArray, level: float) -> FloatArray:
    """Return the ends of the least k over all distributions of P that one sample a problem allows (`any_spread`)."""
    low, high = any_spread(base, 1 - base.grid.failing(ks), level)
    least, most = np.quantile(target, [(1 - level) / 2, (1 + level) / 2])
    ends = (np.flatnonzero(high >= least), np.flatnonzero(low >= most))
    return np.array([float(ks[end[0]]) if len(end) else np.inf for end in ends])


def equivalent_k_at_1(base: Counts, rl: Counts, level: float = 0.95) -> Estimate:
    """Return the smallest k at which the base's pass@k reaches RL's pass@1, with a confidence interval.

    The contrast h(k) = pass@k of base - pass@1 of RL grows with k. The estimate is where h crosses 0, linear in log k;
    the interval holds every k whose own (pointwise) paired interval of h contains 0, which covers the crossing with
    probability `level`. Infinite ends were not seen within the base's n. 1 where the base is as good at k = 1.
    """
    n = smallest_n(base)
    method = "pointwise paired contrast, inverted"
    if n < 1 or smallest_n(rl) < 1:
        return Estimate.undefined(method, level)
    ks = passk.choose_ks(None, n)

    def contrast(c_base: IntArray, c_rl: IntArray) -> tuple[FloatArray, FloatArray]:
        rows = [passk.rows_of(base.n, c_base, ks), passk.rows_of(rl.n, c_rl, np.array([1]))]
        return mean_band(rows, level, simultaneous=False)

    value = passk.mean_value(base, ks) - passk.mean_value(rl, np.array([1]))
    low, high = contrast(base.c, rl.c)
    if base.unjudged.any() or rl.unjudged.any():
        low, high = contrast(base.c, rl.c + rl.unjudged)[0], contrast(base.c + base.unjudged, rl.c)[1]
    if np.isnan(value).any():
        return Estimate.undefined(method, level)
    at, first, last = (_first_above(ks.astype(np.float64), curve) for curve in (value, high, low))
    return Estimate(at, min(first, at), max(last, at), level, method, len(base))


def _first_above(k: FloatArray, value: FloatArray) -> float:
    """Return where an increasing curve first reaches 0, linear in log k; infinite if nowhere."""
    reached = value >= -1e-12
    return log_crossing(k, value, int(np.argmax(reached))) if reached.any() else float("inf")
