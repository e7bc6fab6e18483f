"""pass@k beyond the samples drawn: what k = 10,000 would reach, from n = 100.

Four models answer: the beta-binomial, the zero-inflated beta-binomial, the exponentiated power law, and the average
over a wide family of shapes (`measure.shapes`), which holds the first two as special cases. Each predicts pass@n of
samples that it was not shown. The best of them is reported, where it is better than the shape average by more than two
standard errors (`choose`); else the shape average is. Taking the lowest held-out error as it comes measured worse: what
predicts pass@n best from a tenth of the samples need not go on best to k = 100 n, and the best of four noisy scores is
often the luckiest (figures in `benchmarks/README.md`).

The interval of the shape average is its posterior's: it is about these very problems. That of another model is the
percentile bootstrap over problems, widened to hold the shape average's: a bootstrap is blind to its model being wrong.
Alone, at 90%, it covered 57% (beta-binomial), 81% (zero-inflated) and 21% (power law) on power-law populations of 128
problems; of the shape average itself 89%, where the posterior covers 96%.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure import mixture
from goldpanner.measure.mixture import Mixture, Tally
from goldpanner.measure.posterior import PARTICLES, Shapes
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

DEFAULT = "shape-average"
CANDIDATES = (DEFAULT, "beta-binomial", "zero-inflated", "power-law")
"""What can be reported."""
MODELS = (*CANDIDATES, "npmle")
PLUG_IN = "plug-in"
TIE = 2.0
"""Another model than the default is reported when its held-out error is lower by more than so many standard errors."""
PARTS = (4, 10)
"""Held-out scores are of pass@n predicted from n / 4 and from n / 10 samples."""
RESAMPLES = 200
LARGEST_N = 10**9
"""numpy thins no more samples than these; who has them needs no model chosen."""


@dataclass(frozen=True)
class Extrapolation:
    """pass@k of these problems at every k asked."""

    k: IntArray
    estimates: tuple[Estimate, ...]
    """One per k."""
    method: str
    """What made the estimates, one of `CANDIDATES`."""
    models: dict[str, FloatArray]
    """What every model says, for comparison; the last, `plug-in`, is what not to do."""
    held_out: dict[str, FloatArray]
    """Mean |error| of each candidate and the plug-in on samples not shown to it, in every resample of the problems."""

    def at(self, k: int) -> Estimate:
        """Return the estimate at k. Raises InputError if k was not asked."""
        found = np.flatnonzero(self.k == k)
        if not len(found):
            raise InputError(f"pass@{k} was not extrapolated (k = {self.k.tolist()}); ask for it")
        return self.estimates[int(found[0])]

    def to_json(self) -> dict[str, object]:
        """Return {k: estimate + method}."""
        return {str(k): estimate.to_json() for k, estimate in zip(self.k.tolist(), self.estimates)}


def beyond_n(
    counts: Counts,
    k: Sequence[int] | IntArray,
    level: float = 0.95,
    seed: int = 0,
    shapes: Shapes | None = None,
    held_out: bool = True,
    population: bool = False,
) -> Extrapolation:
    """Estimate pass@k, mean over these problems of 1 - (1-P)^k, for k beyond n (up to 1e6 and more).

    The model is chosen by its fit to held-out samples (`choose`); without `held_out` it is the shape average. The
    shape average's interval is for these problems; with `population`, and for every other model, it is for the problems
    that these were drawn from. Raises InputError for k < 1 and where nothing was judged.
    """
    ks = np.asarray(k, dtype=np.int64)
    if ks.ndim != 1 or (ks < 1).any():
        raise InputError(f"k is {k!r}; give a list of integers >= 1")
    shapes = shapes or Shapes.of(counts, seed)
    estimates = shapes.estimate(lambda grid: 1 - grid.failing(ks.astype(np.float64)), level, population)
    tally = shapes.judged.tally
    models = {name: predict(name, tally, ks, seed) for name in (*MODELS[1:], PLUG_IN)}
    models = {DEFAULT: np.array([e.value for e in estimates]), **models}
    scores = score_held_out(tally, seed) if held_out else {}
    method = choose(scores)
    if method != DEFAULT:
        estimates = _resampled(method, models[method], counts, ks, estimates, seed)
    return Extrapolation(ks, tuple(estimates), method, models, scores)


def choose(held_out: dict[str, FloatArray]) -> str:
    """Return the candidate of the lowest held-out error, if it beats the default's by more than two standard errors.

    The standard error is that of the difference over resamples of the problems. Without scores: the default; also where
    the problems do not differ (all right, all wrong), so that resampling them measures no error.
    """
    if not held_out:
        return DEFAULT
    best = min(CANDIDATES, key=lambda name: held_out[name].mean())
    gain = held_out[DEFAULT] - held_out[best]
    error = gain.std(ddof=1)
    return best if error > 0 and gain.mean() > TIE * error else DEFAULT


def _resampled(
    name: str, value: FloatArray, counts: Counts, ks: IntArray, default: list[Estimate], seed: int
) -> list[Estimate]:
    """Return a model's estimates; interval: percentile bootstrap over problems, widened to hold the default's.

    Where samples are unjudged the low ends take all of them as wrong, the high ends as right.
    """
    level = default[0].level
    judged = counts.judged
    cases = [(judged, counts.c)]
    if counts.unjudged.any():
        cases = [(counts.n, counts.c), (counts.n, counts.c + counts.unjudged)]
    quantiles = []
    for n, c in cases:
        generator = rng.stream("bootstrap", seed, "problems")
        picks = generator.integers(0, len(n), (RESAMPLES, len(n)))
        tallies = [Tally.of(n[pick], c[pick]) for pick in picks if n[pick].any()]
        draws = [predict(name, tally, ks, seed) for tally in tallies]
        quantiles.append(np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0))
    ends = zip(value, quantiles[0][0], quantiles[-1][1], default)
    return [
        Estimate(float(v), float(min(a, v, e.low)), float(max(b, v, e.high)), level, name, e.n) for v, a, b, e in ends
    ]


def predict(name: str, tally: Tally, k: IntArray, seed: int = 0, particles: int = PARTICLES) -> FloatArray:
    """Return what one model says of these problems' pass@k, shape of k.

    A fitted mixture answers problem by problem: the mean of its posterior given each problem's own counts, so that
    problems that were solved count as solved whatever the fit.
    """
    ks = k.astype(np.float64)
    if name == PLUG_IN:
        failing = (1 - tally.c / tally.n)[:, None] ** ks
        return 1 - tally.problems @ failing / tally.size
    if name == "power-law":
        return power_law(tally, ks)
    counts = _expand(tally)
    if name == "shape-average":
        return np.array([e.value for e in Shapes.of(counts, seed, particles).estimate(lambda g: 1 - g.failing(ks))])
    fits: dict[str, Callable[[Counts], Mixture]] = {
        "beta-binomial": mixture.beta_binomial,
        "zero-inflated": mixture.zero_inflated,
        "npmle": mixture.npmle,
    }
    fit = fits[name](counts)
    failing = fit.posterior(tally.n, tally.c) @ fit.grid.failing(ks).T
    return 1 - tally.problems @ failing / tally.size


def power_law(tally: Tally, k: FloatArray) -> FloatArray:
    """Extrapolate by log(-log pass@k) = log a + b log k, the exponentiated power law (Brown et al., arXiv 2407.21787).

    Least squares on 30 log-spaced k <= n of the unbiased curve where it lies strictly between 0 and 1; with fewer than
    two such k the curve's last value is all there is. NaN where n is 1: one point has no slope.
    """
    grid = np.unique(np.round(np.geomspace(1, max(int(tally.n.min()), 1), 30)).astype(np.int64))
    if len(grid) < 2:
        return np.full(k.shape, np.nan)
    value = unbiased(tally, grid)
    inside = (value > 0) & (value < 1)
    if inside.sum() < 2:
        return np.full(k.shape, value[-1])
    slope, start = np.polyfit(np.log(grid[inside]), np.log(-np.log(value[inside])), 1)
    out: FloatArray = np.exp(-np.exp(start + min(slope, 0.0) * np.log(k)))
    return out


def unbiased(tally: Tally, k: IntArray) -> FloatArray:
    """Return 1 - C(n-c, k) / C(n, k) (Chen et al. 2021), averaged over the problems; every k <= the smallest n."""
    n, wrong = tally.n[:, None].astype(np.float64), (tally.n - tally.c)[:, None].astype(np.float64)
    with np.errstate(invalid="ignore"):
        log = gammaln(wrong + 1) - gammaln(wrong - k + 1) + gammaln(n - k + 1) - gammaln(n + 1)
    failing = np.where(k > wrong, 0.0, np.exp(np.where(k > wrong, 0.0, log)))
    out: FloatArray = 1 - tally.problems @ failing / tally.size
    return out


def score_held_out(tally: Tally, seed: int, repeats: int = 8) -> dict[str, FloatArray]:
    """Return each candidate's mean |error| at pass@n from n / 4 and n / 10 samples, in every resample of the problems.

    Problems are drawn with replacement, so that the spread over resamples, shape (repeats,), is the standard error over
    problems; each one's samples are thinned without replacement (hypergeometric), so the thinned counts are what a
    smaller pilot would have shown. A part that would leave fewer than two samples is left out; empty where
    n is below 8, or above `LARGEST_N`.
    """
    n = int(tally.n.min())
    parts = [part for part in PARTS if n >= 2 * part and tally.n.max() < LARGEST_N]
    full = _expand(tally)
    errors: dict[str, FloatArray] = {name: np.zeros(repeats) for name in (*CANDIDATES, PLUG_IN)} if parts else {}
    for repeat in range(repeats if parts else 0):
        generator = rng.stream("bootstrap", seed, "held out", repeat)
        pick = generator.integers(0, len(full), len(full))
        each, c = full.n[pick], full.c[pick]
        for part in parts:
            ks = np.unique(np.round(np.geomspace(2 * n / part, n, 4)).astype(np.int64))
            truth = unbiased(Tally.of(each, c), ks)
            few = each // part
            thinned = Tally.of(few, generator.hypergeometric(c, each - c, few)).coarse()
            for name, error in errors.items():
                error[repeat] += np.abs(predict(name, thinned, ks, seed, 200) - truth).mean() / len(parts)
    return errors


def _expand(tally: Tally) -> Counts:
    return Counts.of(tally.n[tally.index], tally.c[tally.index])
