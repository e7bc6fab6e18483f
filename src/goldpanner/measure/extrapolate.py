"""pass@k beyond the samples drawn: what k = 10,000 would reach, from n = 100."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure import mixture
from goldpanner.measure.mixture import Mixture, Tally
from goldpanner.measure.shapes import PARTICLES, Shapes
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

MODELS = ("shape-average", "beta-binomial", "zero-inflated", "power-law", "npmle")
PLUG_IN = "plug-in"


@dataclass(frozen=True)
class Extrapolation:
    """pass@k of these problems at every k asked."""

    k: IntArray
    estimates: tuple[Estimate, ...]
    """One per k."""
    method: str
    """What made the estimates: `shape-average`."""
    models: dict[str, FloatArray]
    """What every model says, for comparison; the last, `plug-in`, is what not to do."""
    held_out: dict[str, float]
    """Mean |error| of each model when it predicts pass@n of these problems from a quarter of their samples."""

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

    The answer is the shape average (see `measure.shapes`): choosing one model by its held-out error measured worse.
    The interval is for these problems; with `population`, for the problems that these were drawn from. Raises
    InputError for k < 1 and where nothing was judged.
    """
    ks = np.asarray(k, dtype=np.int64)
    if ks.ndim != 1 or (ks < 1).any():
        raise InputError(f"k is {k!r}; give a list of integers >= 1")
    shapes = shapes or Shapes.of(counts, seed)
    estimates = shapes.estimate(lambda grid: 1 - grid.failing(ks.astype(np.float64)), level, population)
    tally = shapes.judged.tally
    models = {name: predict(name, tally, ks, seed) for name in (*MODELS[1:], PLUG_IN)}
    models = {MODELS[0]: np.array([e.value for e in estimates]), **models}
    scores = score_held_out(tally, seed) if held_out else {}
    return Extrapolation(ks, tuple(estimates), MODELS[0], models, scores)


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
    two such k the curve's last value is all there is.
    """
    grid = np.unique(np.round(np.geomspace(1, max(int(tally.n.min()), 1), 30)).astype(np.int64))
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


def score_held_out(tally: Tally, seed: int, repeats: int = 2, part: int = 4) -> dict[str, float]:
    """Return each model's mean |error| at pass@n when it sees a quarter of the samples.

    Each problem's samples are thinned without replacement (hypergeometric), so the thinned counts are what a smaller
    pilot would have shown. Empty where n < 8: too few to thin.
    """
    n = int(tally.n.min())
    if n < 2 * part:
        return {}
    ks = np.unique(np.round(np.geomspace(2 * n / part, n, 3)).astype(np.int64))
    truth = unbiased(tally, ks)
    errors: dict[str, list[float]] = {name: [] for name in (*MODELS, PLUG_IN)}
    full = _expand(tally)
    for repeat in range(repeats):
        generator = rng.stream("bootstrap", seed, "thin", repeat)
        c = generator.hypergeometric(full.c, full.n - full.c, full.n // part)
        thinned = Tally.of(full.n // part, c)
        for name, found in errors.items():
            found.append(float(np.abs(predict(name, thinned, ks, seed, 200) - truth).mean()))
    return {name: float(np.mean(found)) for name, found in errors.items()}


def _expand(tally: Tally) -> Counts:
    return Counts.of(tally.n[tally.index], tally.c[tally.index])
