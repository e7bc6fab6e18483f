"""How uncertain the distribution of P is: draws of its shape from the posterior, given counts.

Counts of n samples pin the distribution down where P > 1/n and say little below; what is asked (pass@10,000, the
chance that a problem gives one success in a million rollouts) lies below. One fitted curve continues there by fiat.
Here a wide family of smooth shapes is averaged, each weighted by how well it explains the counts, so that what the
counts cannot decide stays undecided in the interval.

The family, in x = logit P, has a log-density of three straight pieces with rounded knees (slopes alpha, middle, -beta;
knees at low < high), an atom at P = 0, and a second cluster, easy or hard (normal in x). In place of the straight
pieces it may have one tight normal, down to a single P that all problems share: the usual case of made tasks. Special
cases: beta (one knee, at P = 1/2), zero-inflated beta, scaled beta (a knee below 1/2), logit-normal-like humps,
log-uniform with edges.
A straight piece is a power law: density of P ~ P^(alpha-1) near 0 (Schaeffer et al., arXiv 2502.17578).

There are two priors on the family (`Prior`): one chosen on real counts, for estimates, and a wider one, which intervals
and the words of `compare` allow for. `benchmarks/truth_tails.py` shows what they give.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure.intervals import proportion
from goldpanner.measure.mixture import Grid, Mixture, Tally
from goldpanner.result import Brief
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

METHOD = "Bayesian average"
"""How estimates name this model."""

PARTICLES = 1000
TRUST = 0.7
"""Power to which the likelihood of a shape is raised: no shape of the family is quite the truth, and at full power the
intervals are too narrow for many problems (Gruenwald & van Ommen 2017). A problem's own counts always count in full."""
MANY = 500
"""With more problems than these the power falls as their root: what the family cannot follow does not average out."""
FEW = 16
"""With fewer samples a problem than these the prior decides much of the spread of P: the tails of intervals shrink
with n."""
PAIRS = 2000
"""With more different counts than these (n uneven, in the thousands) a problem's own counts are rounded, too."""


@dataclass(frozen=True)
class Prior:
    """How likely each kind of distribution of P is before any counts are seen; all fields but one are probabilities."""

    no_zeros: float
    """No problem is truly impossible; else the impossible share is uniform on (0, 1)."""
    no_zeros_if_tight: float
    """The same where the population is tight."""
    tight: float
    """The problems outside the second cluster are tight, normal in x; half of such populations are all equal."""
    one_knee: float
    """There is no lower knee."""
    at_half: float
    """The upper knee lies at P = 1/2."""
    beta_edge: float
    """The upper knee is as round as a beta's."""
    sharpest: float
    """Else its sharpness is log-uniform between `ROUNDEST` and this many times a beta's. A knee several times as round
    bends the density over decades, as the exponentiated power law does (P^b exponential), and the log-normal."""
    one_cluster: float
    """There is no second cluster."""
    one_cluster_if_tight: float
    """The same where the population is tight."""
    hard: float
    """The second cluster, if there is one, lies among the hard problems."""


REAL = Prior(
    no_zeros=0.4, no_zeros_if_tight=0.7, tight=0.2, one_knee=0.8, at_half=0.45, beta_edge=0.12, sharpest=3.0,
    one_cluster=0.86, one_cluster_if_tight=0.8, hard=0.4,
)  # fmt: skip
"""Chosen on public counts of GSM8K, MATH and CodeContests beside simulated populations (`benchmarks/README.md`): real
benchmarks have few clusters, round knees, and often problems that a model never solves."""
WIDE = Prior(
    no_zeros=0.6, no_zeros_if_tight=0.85, tight=0.35, one_knee=0.75, at_half=0.75, beta_edge=0.5, sharpest=8.0,
    one_cluster=0.7, one_cluster_if_tight=0.5, hard=0.5,
)  # fmt: skip
"""Readier for clusters of hard problems and for equal ones. Intervals hold what either prior says, and the equivalent k
stands on this one: both must be true in worlds unlike the benchmarks, too."""
ROUNDEST, EQUAL = 0.15, 0.5
HARD_AT, EASY_AT = (-12.0, -2.0), (-2.0, 4.0)
"""Where the second cluster lies among hard and easy problems, in logit P, uniform."""
ASIDE_SPREAD = (0.05, 2.0)
"""Its spread in nats of logit P, log-uniform."""
TIGHT_SPREAD = (0.02, 2.0)
"""Spread of a tight population in nats of logit P, log-uniform."""
DIMENSION = 12
"""Of the unit cube: zero share, alpha, beta, high knee, gap to the low knee, middle slope, cluster (3), sharpness,
tight population (2)."""


def _spike(u: FloatArray, share: float | FloatArray) -> FloatArray:
    """Map a uniform to 0 with probability `share`, else to a uniform on (0, 1)."""
    return np.clip((u - share) / (1 - share), 0, 1)


def _softplus(x: FloatArray) -> FloatArray:
    """Return log(1 + exp(x)), three times as fast as logaddexp."""
    out: FloatArray = np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))
    return out


def _log_uniform(u: FloatArray, low: float, high: float) -> FloatArray:
    out: FloatArray = low * (high / low) ** np.asarray(u, np.float64)
    return out


def weights(grid: Grid, u: FloatArray, prior: Prior = REAL) -> FloatArray:
    """Map points of the unit cube to distributions on the grid, shape (T, J); uniform points are the prior.

    Args:
        grid: the nodes.
        u: points, shape (T, 12), in the order of `DIMENSION`.
        prior: how likely each kind of distribution is.
    """
    tight = u[:, 10] < prior.tight
    zero = _spike(u[:, 0], np.where(tight, prior.no_zeros_if_tight, prior.no_zeros))[:, None]
    alpha = _log_uniform(u[:, 1], 0.05, 3)[:, None]
    beta = _log_uniform(u[:, 2], 0.1, 10)[:, None]
    high = (2 - 14 * _spike(u[:, 3], prior.at_half))[:, None]
    high[u[:, 3] <= prior.at_half] = 0.0
    gap = 14 * _spike(u[:, 4], prior.one_knee)[:, None]
    bend = np.where(gap > 0, 3 * (2 * u[:, 5, None] - 1) ** 3, 0.0)
    middle = np.where(gap > 0, bend, alpha)
    easy = _spike(u[:, 6], np.where(tight, prior.one_cluster_if_tight, prior.one_cluster))[:, None]
    aside = np.interp(u[:, 7], [0, prior.hard, 1], [*HARD_AT, EASY_AT[1]])

    x = grid.logit
    above = x - high
    bent = _spike(u[:, 9], prior.beta_edge)[:, None]
    sharp = np.where(bent > 0, _log_uniform(bent, ROUNDEST, prior.sharpest), 1.0)
    log = middle * above - (middle + beta) * _softplus(sharp * above) / sharp
    log -= (alpha - middle) * _softplus(high - gap - x)
    log += np.log(grid.width)
    peak = log.max(axis=1, keepdims=True)
    main = np.exp(log - peak)
    # beyond the ends of the grid the outer pieces go on to P = 0 and P = 1: integrals of exponentials
    below_grid = main[:, :1] / grid.width[0] * np.exp(-alpha * grid.width[0] / 2) / alpha
    above_grid = main[:, -1:] / grid.width[-1] * np.exp(-beta * grid.width[-1] / 2) / beta
    total = main.sum(axis=1, keepdims=True) + below_grid + above_grid
    second = _bell(grid, aside, _log_uniform(u[:, 8], *ASIDE_SPREAD))
    rows = np.flatnonzero(tight)
    spread = np.clip((u[rows, 10] / prior.tight - EQUAL) / (1 - EQUAL), 0, 1)
    width = np.where(u[rows, 10] / prior.tight < EQUAL, 0.0, _log_uniform(spread, *TIGHT_SPREAD))
    main[rows] = _bell(grid, x[0] + (x[-1] - x[0]) * u[rows, 11], width)
    below_grid[rows], above_grid[rows], total[rows] = 0.0, 0.0, 1.0
    hard = (1 - easy) * (1 - zero) / total
    inner = hard * main + easy * second
    return np.hstack([(1 - easy) * zero + hard * below_grid, inner, hard * above_grid])


def _bell(grid: Grid, centre: FloatArray, spread: FloatArray) -> FloatArray:
    """Return normals in logit P as masses at the nodes without the atoms, shape (T, J - 2).

    Narrower than a cell, a normal is two masses at the nodes beside its centre that have its mean.
    """
    x, cells = grid.logit, grid.width
    right = np.clip(np.searchsorted(x, centre), 1, len(x) - 1)
    p = expit(x)
    share = np.clip((expit(centre) - p[right - 1]) / (p[right] - p[right - 1]), 0, 1)
    point = np.zeros((len(centre), len(x)))
    row = np.arange(len(centre))
    point[row, right - 1], point[row, right] = 1 - share, share
    smooth = np.maximum(spread, cells[right] / 2)[:, None]
    bell = np.exp(-0.5 * ((x - centre[:, None]) / smooth) ** 2) * cells
    bell /= bell.sum(axis=1, keepdims=True)
    # between the two, the mixture has the variance that was asked for
    part = np.clip(spread / smooth[:, 0], 0, 1)[:, None] ** 2
    masses: FloatArray = (1 - part) * point + part * bell
    return masses


@dataclass(frozen=True, repr=False)
class Ensemble(Brief):
    """Equally weighted posterior draws of the distribution of P, with the counts they were conditioned on."""

    grid: Grid
    weight: FloatArray
    """Shape (T, J)."""
    tally: Tally
    table: FloatArray
    """Scaled likelihood of every unique pair at every node, shape (U, J)."""
    evidence: FloatArray
    """Likelihood of every unique pair under every draw, shape (T, U)."""
    seed: int = 0

    @cached_property
    def _shares(self) -> FloatArray:
        """Expected number of problems at every node under every draw, given their counts, shape (T, J)."""
        out: FloatArray = self.weight * ((self.tally.problems / self.evidence) @ self.table)
        return out

    @property
    def samples(self) -> int:
        """The largest number of judged samples of any problem."""
        return int(self.tally.n.max())

    def tail(self, level: float) -> float:
        """Return the share of draws beyond each end of an interval: less with few samples a problem (`FEW`)."""
        return (1 - level) / 2 * min(1.0, self.samples / FEW)

    @property
    def mixture(self) -> Mixture:
        """The mean of the draws: the predictive distribution of a new problem's P."""
        return Mixture("averaged", self.grid, self.weight.mean(axis=0))

    def of_pairs(self, value: FloatArray) -> FloatArray:
        """Return E[value(P)] of every unique pair under every draw, shape (T, U), for `value` at the nodes (J,)."""
        out: FloatArray = (self.weight @ (self.table * value).T) / self.evidence
        return out

    def mean(self, value: FloatArray, population: bool = False) -> float:
        """Return the posterior mean of the mean of value(P), over these problems or the population (see `draws`).

        It has no noise in it: the means of values that add up to 1 add up to 1.
        """
        means = self.weight @ value if population else self._shares @ value / self.tally.size
        return float(means.mean())

    def draws(self, value: FloatArray, population: bool = False) -> FloatArray:
        """Return posterior draws of the mean of value(P), shape (T,).

        Over these problems (each with its own counts), or over the population that they were drawn from.
        """
        if population:
            return self.weight @ value
        centre, square = self._shares @ value, self._shares @ value**2
        spread = np.maximum(square - self.of_pairs(value) ** 2 @ self.tally.problems, 0)
        noise = rng.stream("bootstrap", self.seed, "residual").standard_normal(len(centre))
        out: FloatArray = np.clip((centre + np.sqrt(spread) * noise) / self.tally.size, value.min(), value.max())
        return out

    def curves(self, values: FloatArray) -> FloatArray:
        """Return posterior draws of the means of many values(P) over these problems, shape (T, V), for values (V, J).

        Like `draws`, with the spread within a problem taken from the mean of the draws of the distribution: the cost of
        a value does not grow with their number. A draw's residual is the same for every value, so that its means keep
        the order that the values have.
        """
        centre = self._shares @ values.T / self.tally.size
        known = self.table * self.weight.mean(axis=0)
        known /= np.maximum(known.sum(axis=1, keepdims=True), 1e-300)
        variance = known @ (values**2).T - (known @ values.T) ** 2
        spread = np.sqrt(np.maximum(self.tally.problems @ variance, 0)) / self.tally.size
        noise = rng.stream("bootstrap", self.seed, "residual").standard_normal(len(centre))
        out: FloatArray = np.clip(centre + noise[:, None] * spread, values.min(axis=1), values.max(axis=1))
        return out


@dataclass(frozen=True, repr=False)
class RateDistribution(Brief):
    """What counts say of the distribution of P: the judged samples' posterior, and what else could be true."""

    judged: Ensemble
    bounds: tuple[Ensemble, ...] = ()
    """What widens intervals: the posterior from the wide prior, which learned nothing from benchmarks; with unjudged
    samples also that if all of them were wrong, and if all were right."""

    @classmethod
    def of(
        cls,
        counts: Counts,
        seed: int = 0,
        particles: int = PARTICLES,
        false_positive: float = 0.0,
        false_negative: float = 0.0,
    ) -> "RateDistribution":
        """Draw the posteriors (see `posterior`): two, and two more where samples are unjudged.

        Args:
            counts: samples and successes of each problem.
            seed: seed of the draws.
            particles: number of draws; half as many of the wide prior's.
            false_positive: the verifier's rate of wrong answers judged correct.
            false_negative: its rate of right answers judged wrong.
        """
        rates = (false_positive, false_negative)
        bounds = [posterior(counts, seed, particles // 2, *rates, prior=WIDE)]
        if counts.unjudged.any():
            none = np.zeros_like(counts.c)
            extremes = (counts.c, counts.c + counts.unjudged)
            bounds += [
                posterior(Counts(counts.ids, counts.n, c, none, none), seed, particles, *rates) for c in extremes
            ]
        return cls(posterior(counts, seed, particles, *rates), tuple(bounds))

    def pass_at_k(self, k: Sequence[int] | IntArray, level: float = 0.95, population: bool = False) -> list[Estimate]:
        """Estimate pass@k, the mean over problems of 1 - (1-P)^k, for any k, beyond the samples drawn too.

        Args:
            k: numbers of tries, each >= 1.
            level: coverage of the intervals.
            population: whether the interval is about the problems that these were drawn from, and not these very ones.

        Returns:
            One estimate for each k.

        Raises:
            InputError: where a k is below 1.
        """
        ks = np.asarray(k, dtype=np.int64)
        if ks.ndim != 1 or (ks < 1).any():
            raise InputError(f"k is {k!r}; give a list of integers >= 1")
        if not len(ks):
            return []
        return self.estimate(lambda grid: 1 - grid.failing(ks.astype(np.float64)), level, population)

    def estimate(
        self, value_of: Callable[[Grid], FloatArray], level: float = 0.95, population: bool = False
    ) -> list[Estimate]:
        """Estimate the mean of each value(P): posterior mean and central interval, widened over the bounds.

        `value_of` gives the values at the nodes of a grid, shape (V, J); the answer has V estimates.
        """
        tail = self.judged.tail(level)
        means, quantiles = [], []
        for ensemble in (self.judged, *self.bounds):
            values = value_of(ensemble.grid)
            draws = np.array([ensemble.draws(value, population) for value in values])
            means.append([ensemble.mean(value, population) for value in values])
            quantiles.append(np.quantile(draws, [tail, 1 - tail], axis=1))
            if ensemble.samples == 1:
                quantiles.append(any_spread(ensemble, values, level))
        low, high = np.min([q[0] for q in quantiles], axis=0), np.max([q[1] for q in quantiles], axis=0)
        return [
            Estimate(float(v), float(min(a, v)), float(max(b, v)), level, METHOD, self.judged.tally.size)
            for v, a, b in zip(means[0], low, high)
        ]


def any_spread(ensemble: Ensemble, values: FloatArray, level: float) -> FloatArray:
    """Return the lowest and highest mean of each value(P) over all distributions of P, shape (2, V), for n = 1.

    One sample a problem shows the mean of P and nothing else: the ends are the lower and the upper convex hull of
    value(P) over P, on the exact interval of that mean (Clopper & Pearson 1934).
    """
    tally = ensemble.tally
    right, total = int(tally.c @ tally.problems), int(tally.problems.sum())
    ends = proportion(np.array([right]), np.array([total]), np.zeros(1, np.int64), level)
    mean = np.linspace(float(ends[0][0]), float(ends[1][0]), 65)
    p = ensemble.grid.p
    return np.array([[_lower_hull(p, v, mean).min(), -_lower_hull(p, -v, mean).min()] for v in values]).T


def _lower_hull(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """Return the largest convex function below the points (x ascending, y), at the places `at`."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[i] - x[hull[-2]]) >= (y[i] - y[hull[-2]]) * (
            x[hull[-1]] - x[hull[-2]]
        ):
            hull.pop()
        hull.append(i)
    return np.interp(at, x[hull], y[hull])


def posterior(
    counts: Counts,
    seed: int = 0,
    particles: int = PARTICLES,
    false_positive: float = 0.0,
    false_negative: float = 0.0,
    zeros: bool = True,
    prior: Prior = REAL,
    alike: float = 1.0,
) -> Ensemble:
    """Draw distributions of P from their posterior by sequential Monte Carlo with tempering (Del Moral et al. 2006).

    Particles start from the prior; the likelihood is raised to a power that grows from 0 to 1 in steps that keep half
    of the particles effective; after each step they are resampled and moved by differential evolution (ter Braak 2006).

    Args:
        counts: samples and successes of each problem.
        seed: seed of the draws.
        particles: number of draws.
        false_positive: the verifier's rate of wrong answers judged correct.
        false_negative: its rate of right answers judged wrong.
        zeros: whether a share of the problems may be impossible.
        prior: what is likely before any counts are seen.
        alike: design effect of clusters of problems, at least 1: so many problems say what one would by itself.

    Raises:
        InputError: nothing was judged.
    """
    tally = Tally.judged(counts)
    grid = Grid.resolving(int(tally.n.max()))
    if len(tally.n) > PAIRS:
        tally = tally.coarse()
    table = grid.likelihood(tally.n, tally.c, false_positive, false_negative)
    generator = rng.stream("bootstrap", seed, "shapes")
    rough = tally.coarse()
    trust = TRUST * min(1.0, math.sqrt(MANY / tally.size)) / alike
    columns = grid.likelihood(rough.n, rough.c, false_positive, false_negative).T

    def shapes(u: FloatArray) -> FloatArray:
        return weights(grid, u if zeros else np.hstack([np.zeros((len(u), 1)), u[:, 1:]]), prior)

    def loglik(u: FloatArray) -> FloatArray:
        return np.log(np.maximum(shapes(u) @ columns, 1e-300)) @ rough.problems * trust

    u = generator.random((4 * particles, DIMENSION))
    value = loglik(u)
    power = 0.0
    while power < 1:
        step = _next_power(value, power, particles)
        w = np.exp((step - power) * (value - value.max()))
        pick = _systematic(w / w.sum(), particles, generator)
        u, value, power = u[pick], value[pick], step
        for scale in (1.0, 0.5, 1.0, 0.3):
            u, value = _move(u, value, power, scale, loglik, generator)
    weight = shapes(u)
    return Ensemble(grid, weight, tally, table, np.maximum(weight @ table.T, 1e-300), seed)


def _next_power(value: FloatArray, power: float, particles: int) -> float:
    """Return the largest power at which half of the particles stay effective (bisection)."""
    low, high = power, 1.0

    def enough(trial: float) -> bool:
        w = np.exp((trial - power) * (value - value.max()))
        return bool(w.sum() ** 2 / (w**2).sum() >= 0.5 * particles)

    if enough(1.0):
        return 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return max(low, power + 1e-7)


def _systematic(w: FloatArray, size: int, generator: np.random.Generator) -> IntArray:
    points = (np.arange(size) + generator.random()) / size
    return np.minimum(np.searchsorted(np.cumsum(w), points), len(w) - 1)


def _move(
    u: FloatArray,
    value: FloatArray,
    power: float,
    scale: float,
    loglik: Callable[[FloatArray], FloatArray],
    generator: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """One Metropolis move of every particle along the difference of two others, reflected at the cube's faces."""
    size, dimension = u.shape
    first, second = generator.permutation(size), generator.permutation(size)
    length = scale * 2.38 / np.sqrt(2 * dimension)
    mask = generator.random((size, dimension)) < generator.choice([1.0, 0.4], (size, 1))
    trial = u + mask * (length * (u[first] - u[second]) + 0.01 * generator.standard_normal(u.shape))
    trial = 1 - np.abs(1 - np.mod(trial, 2))
    new = loglik(trial)
    accept = np.log(generator.random(size)) < power * (new - value)
    return np.where(accept[:, None], trial, u), np.where(accept, new, value)
