"""Other models of pass@k beyond n, to compare the Bayesian average with: a module of the benchmarks, not a script.

The plug-in, the exponentiated power law, the beta-binomial with and without a share of zeros, and the non-parametric
maximum-likelihood distribution. Choosing among them by held-out error was tried and changed nothing (`README.md`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import betaln, expit, gammaln

from goldpanner.measure.mixture import Grid, Mixture, Tally, beta_weights
from goldpanner.types import Counts, FloatArray, IntArray

PLUG_IN = "plug-in"
BASELINES = ("beta-binomial", "zero-inflated", "power-law", "npmle", PLUG_IN)


@dataclass(frozen=True)
class Fit(Mixture):
    """A fitted distribution of P, with how well it fits."""

    loglik: float = float("nan")
    """Log-likelihood of the counts it was fitted to, up to the binomial coefficients."""
    parameters: tuple[tuple[str, float], ...] = ()


def predict(name: str, tally: Tally, k: IntArray) -> FloatArray:
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
    counts = Counts.of(tally.n[tally.index], tally.c[tally.index])
    fits: dict[str, Callable[[Counts], Fit]] = {
        "beta-binomial": beta_binomial,
        "zero-inflated": zero_inflated,
        "npmle": npmle,
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


def _maximise(loglik: Callable[[FloatArray], float], starts: Sequence[Sequence[float]]) -> tuple[FloatArray, float]:
    """Maximise over a box of +-14 in every (log or logit) parameter from several starts; the best of all."""
    best, value = np.asarray(starts[0], dtype=np.float64), -np.inf

    def loss(t: FloatArray) -> float:
        return -loglik(t)

    for start in starts:
        box = [(-14.0, 14.0)] * len(start)
        found = minimize(loss, np.array(start), method="L-BFGS-B", bounds=box)
        if -found.fun > value:
            best, value = found.x, float(-found.fun)
    return best, value


def _beta_binomial_terms(tally: Tally, a: float, b: float) -> FloatArray:
    out: FloatArray = betaln(tally.c + a, tally.n - tally.c + b) - betaln(a, b)
    return out


def _beta_starts(tally: Tally) -> list[list[float]]:
    rate = (tally.c * tally.problems).sum() / (tally.n * tally.problems).sum()
    rate = min(max(rate, 1e-4), 1 - 1e-4)
    return [[np.log(s * rate), np.log(s * (1 - rate))] for s in (0.3, 3.0, 100.0)]


def beta_binomial(counts: Counts, grid: Grid | None = None) -> Fit:
    """Fit P ~ Beta(a, b) by maximum likelihood.

    c_i | n_i ~ BetaBinomial(n_i, a, b); E pass@k = 1 - B(a, b+k) / B(a, b). With all counts 0 (or all n) the likelihood
    has no maximum inside; the fit then ends at the edge of its box, with nearly all mass at 0 (or 1).
    """
    tally = Tally.judged(counts)

    def loglik(t: FloatArray) -> float:
        return float(tally.problems @ _beta_binomial_terms(tally, *np.exp(t)))

    t, value = _maximise(loglik, _beta_starts(tally))
    a, b = np.exp(t)
    grid = grid or Grid.resolving(int(tally.n.max()))
    return Fit("beta-binomial", grid, beta_weights(grid, a, b), value, (("a", float(a)), ("b", float(b))))


def zero_inflated(counts: Counts, grid: Grid | None = None) -> Fit:
    """Fit P = 0 with probability z, else Beta(a, b), by maximum likelihood."""
    tally = Tally.judged(counts)
    none = tally.c == 0

    def loglik(t: FloatArray) -> float:
        log_z, log_rest = -np.logaddexp(0, -t[2]), -np.logaddexp(0, t[2])
        terms = log_rest + _beta_binomial_terms(tally, *np.exp(t[:2]))
        return float(tally.problems @ np.where(none, np.logaddexp(log_z, terms), terms))

    t, value = _maximise(loglik, [[*start, z] for start in _beta_starts(tally) for z in (-6.0, 0.0)])
    (a, b), z = np.exp(t[:2]), float(expit(t[2]))
    grid = grid or Grid.resolving(int(tally.n.max()))
    weight = (1 - z) * beta_weights(grid, a, b)
    weight[0] += z
    return Fit("zero-inflated", grid, weight, value, (("a", float(a)), ("b", float(b)), ("zero", z)))


def npmle(counts: Counts, grid: Grid | None = None, rounds: int = 60) -> Fit:
    """Fit the non-parametric maximum-likelihood distribution on the grid (Laird 1978; Lindsay 1983).

    Constrained Newton (Wang 2007): each round solves the likelihood's quadratic approximation over the simplex by
    non-negative least squares and halves the step until it gains; ends when no node can gain 1e-6 in log-likelihood.
    """
    tally = Tally.judged(counts)
    grid = grid or Grid.resolving(int(tally.n.max()))
    table = grid.likelihood(tally.n, tally.c)
    share = tally.problems / tally.problems.sum()
    weight = np.full(table.shape[1], 1 / table.shape[1])
    for _ in range(5):  # a few EM steps bring the start near
        weight = weight * ((share / (table @ weight)) @ table)

    def loglik(w: FloatArray) -> float:
        return float(tally.problems @ np.log(np.maximum(table @ w, 1e-300)))

    value = loglik(weight)
    root = np.sqrt(share)[:, None]
    for _ in range(rounds):
        scaled = table / (table @ weight)[:, None]
        if float((share @ scaled).max()) - 1 < 1e-6 / tally.problems.sum():
            break
        penalty = 1e3  # the row of ones holds the sum of the weights at 1
        target = np.concatenate([2 * root[:, 0], [penalty]])
        try:
            proposal, _ = nnls(np.vstack([root * scaled, np.full((1, len(weight)), penalty)]), target)
            proposal /= proposal.sum()
        except RuntimeError:  # its iteration limit: an EM step always gains
            proposal = weight * (share @ scaled)
        step, gained = 1.0, False
        while step > 1e-6 and not gained:
            trial = (1 - step) * weight + step * proposal
            gained = (better := loglik(trial)) > value
            step /= 2
        if not gained or better - value < 1e-9:
            break
        weight, value = trial, better
    # The rows of `table` are scaled to maximum 1: put the scale back, so that log-likelihoods compare across models
    p_hat = tally.c / tally.n
    return Fit("npmle", grid, weight, value + _scale(grid, tally, p_hat))


def _scale(grid: Grid, tally: Tally, p_hat: FloatArray) -> float:
    nodes = grid.p[1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = tally.c[:, None] * np.log(nodes) + (tally.n - tally.c)[:, None] * grid.log_q[1:-1]
    peak = np.where((p_hat == 0) | (p_hat == 1), 0.0, log.max(axis=1))
    return float(tally.problems @ peak)
