"""The distribution of P(correct) over problems, from counts.

Every distribution is held in one form, `Mixture`: masses on a grid of P that is even in log P near 0, even in
log(1 - P) near 1, and as fine in between as n samples can see. All questions (mean pass@k, shares of live groups,
what is known of one problem) are then weighted sums over that grid, whichever model was fitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import betainc, betaln, expit, logit

from goldpanner.errors import InputError
from goldpanner.types import Counts, FloatArray, IntArray

LOWEST, HIGHEST = -25.0, 14.0  # logit P at the ends of the grid: 1.4e-11 and 1 - 8e-7; beyond lie the atoms at 0 and 1


@dataclass(frozen=True)
class Grid:
    """Nodes in logit P, shape (J - 2,), with the width of each node's cell; the atoms P = 0 and P = 1 come on top."""

    logit: FloatArray
    width: FloatArray

    @cached_property
    def p(self) -> FloatArray:
        """P at every node with the atoms at 0 and 1, shape (J,)."""
        return np.concatenate([[0.0], expit(self.logit), [1.0]])

    @cached_property
    def log_q(self) -> FloatArray:
        """log(1 - P) at every node, exact near P = 0; -inf at the atom at 1; shape (J,)."""
        return np.concatenate([[0.0], -np.logaddexp(0, self.logit), [-np.inf]])

    @classmethod
    def resolving(cls, n: int, step: float = 0.25) -> "Grid":
        """Return a grid on which the likelihood of n samples is smooth.

        Cells are `step` nats wide, or one standard deviation of logit P given n samples, 1 / sqrt(n p (1-p)), if that
        is less: sums of smooth functions over evenly spaced nodes in a smooth variable converge exponentially.
        """
        x = np.linspace(LOWEST, HIGHEST, 8001)
        density = 1 / step + np.sqrt(min(n, 200_000) * expit(x) * expit(-x))
        t = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
        size = int(np.ceil(t[-1]))
        nodes = np.interp((np.arange(size) + 0.5) * t[-1] / size, t, x)
        return cls(nodes, t[-1] / size / np.interp(nodes, x, density))

    def failing(self, k: FloatArray | float) -> FloatArray:
        """Return (1 - P)^k at every node, shape k.shape + (J,)."""
        k = np.asarray(k, dtype=np.float64)[..., None]
        with np.errstate(invalid="ignore"):
            return np.where(k == 0, 1.0, np.exp(k * self.log_q))

    def likelihood(
        self, n: IntArray, c: IntArray, false_positive: float = 0.0, false_negative: float = 0.0
    ) -> FloatArray:
        """Return q^c (1-q)^(n-c) at every node, each row scaled to maximum 1; shape (len(n), J).

        q is what the verifier shows, P (1 - fn) + (1 - P) fp; P itself if it never errs. The scale, the row's maximum,
        is left out: it does not depend on the distribution.
        """
        n, c = np.asarray(n)[:, None], np.asarray(c)[:, None]
        log_p = np.concatenate([[-np.inf], -np.logaddexp(0, -self.logit), [0.0]])
        log_q = self.log_q
        if false_positive or false_negative:
            seen = self.p * (1 - false_negative) + (1 - self.p) * false_positive
            with np.errstate(divide="ignore"):
                log_p, log_q = np.log(seen), np.log1p(-seen)
        with np.errstate(invalid="ignore"):
            log = np.where(c == 0, 0.0, c * log_p) + np.where(n == c, 0.0, (n - c) * log_q)
        out: FloatArray = np.exp(log - log.max(axis=1, keepdims=True))
        return out


UNEVEN = 16
"""Different n from which they are rounded where a distribution is fitted."""


@dataclass(frozen=True)
class Tally:
    """Counts collapsed to unique pairs (n judged, c correct) with the number of problems of each."""

    n: IntArray
    c: IntArray
    problems: FloatArray
    index: IntArray
    """For every problem with at least one judged sample, in their order, the row of its pair."""
    kept: IntArray
    """Positions in the Counts of those problems."""

    @classmethod
    def of(cls, n: IntArray, c: IntArray) -> "Tally":
        """Collapse; problems without a judged sample say nothing and are left out."""
        kept = np.flatnonzero(n > 0)
        pairs, index, problems = np.unique(
            np.column_stack([n[kept], c[kept]]), axis=0, return_inverse=True, return_counts=True
        )
        return cls(pairs[:, 0], pairs[:, 1], problems.astype(np.float64), index.ravel(), kept)

    @classmethod
    def judged(cls, counts: Counts) -> "Tally":
        """Collapse what was judged: n less the unjudged. Raises InputError if nothing was."""
        tally = cls.of(counts.judged, counts.c)
        if not len(tally.kept):
            raise InputError(
                f"no judged sample in {len(counts)} problems ({int(counts.n.sum())} samples, all unjudged); "
                "a distribution cannot be fitted: re-judge them, or draw samples"
            )
        return tally

    def coarse(self, exact: int = 32, step: float = 0.1) -> "Tally":
        """Return the tally with c rounded to `step` in logit c/n where both c and n - c exceed `exact`.

        At most about 150 pairs for each n. Where n is uneven, n above 2 `exact` is rounded too, to the mean of those
        within `step` in log n. What is lost, 0.03 nats of logit P a problem, is little beside the spread between
        problems: good for the likelihood of a distribution, not for what is known of one problem.
        """
        n, c = self.n[self.index], self.c[self.index]
        inside = np.minimum(c, n - c) > exact
        share = np.where(inside, c / n, 0.5)
        if len(np.unique(n)) > UNEVEN:
            few_wrong = (n - c <= exact) & (c > exact)
            bins = np.where(n > 2 * exact, -1 - np.floor(np.log(n) / step).astype(np.int64), n)
            _, where = np.unique(bins, return_inverse=True)
            n_new = np.round(np.bincount(where, n) / np.bincount(where)).astype(np.int64)[where]
            c = np.where(few_wrong, n_new - np.minimum(n - c, n_new), np.minimum(c, n_new))
            n = n_new
        rounded = np.round(n * expit(step * np.round(logit(share) / step))).astype(np.int64)
        return replace(Tally.of(n, np.where(inside, rounded, c)), kept=self.kept)

    @property
    def size(self) -> int:
        """Problems with at least one judged sample."""
        return len(self.kept)


@dataclass(frozen=True)
class Mixture:
    """A distribution of P over problems: `weight` on `grid`, shape (J,), summing to 1."""

    name: str
    grid: Grid
    weight: FloatArray
    loglik: float = float("nan")
    """Log-likelihood of the counts it was fitted to, up to the binomial coefficients."""
    parameters: tuple[tuple[str, float], ...] = ()

    def mean(self, value: FloatArray) -> FloatArray:
        """Return E[value(P)] for `value` given at the nodes, shape (..., J) -> (...)."""
        out: FloatArray = value @ self.weight
        return out

    def pass_at_k(self, k: FloatArray | Sequence[float] | float) -> FloatArray:
        """Return the population's pass@k, E[1 - (1-P)^k]."""
        return 1 - self.mean(self.grid.failing(np.asarray(k, dtype=np.float64)))

    def mass_below(self, p: float) -> float:
        """Return the share of problems with P < p, the cell that holds p divided linearly in logit P."""
        return float(self.mean(below(self.grid, p)))

    def posterior(self, n: IntArray, c: IntArray) -> FloatArray:
        """Return what is known of problems with c correct of n: distributions over the nodes, shape (len(n), J)."""
        joint = self.grid.likelihood(np.asarray(n), np.asarray(c)) * self.weight
        total = joint.sum(axis=1, keepdims=True)
        out: FloatArray = joint / np.where(total > 0, total, 1.0)
        return out

    def quantile(self, q: float) -> float:
        """Return the P that a share q of the problems does not exceed."""
        return float(self.grid.p[np.searchsorted(np.cumsum(self.weight), min(q, 1 - 1e-12))])

    def to_json(self) -> dict[str, object]:
        """Return name, log-likelihood, parameters, quartiles."""
        quantiles = {str(q): self.quantile(q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)}
        return {"name": self.name, "loglik": self.loglik, **dict(self.parameters), "quantiles": quantiles}


def below(grid: Grid, p: float) -> FloatArray:
    """Return the indicator of P < p at the nodes, a share for the node whose cell holds p; shape (J,)."""
    if not 0 < p < 1:
        raise InputError(f"a threshold on P is {p!r}; give a number strictly between 0 and 1")
    edge = np.log(p) - np.log1p(-p)
    inner = np.clip((edge - (grid.logit - grid.width / 2)) / grid.width, 0, 1)
    return np.concatenate([[1.0], inner, [0.0]])


def beta_weights(grid: Grid, a: float, b: float) -> FloatArray:
    """Return Beta(a, b) as masses on the grid; what lies beyond its ends goes to the atoms."""
    log = a * grid.logit - (a + b) * np.logaddexp(0, grid.logit)
    inner = np.exp(log - log.max()) * grid.width
    low = betainc(a, b, expit(grid.logit[0] - grid.width[0] / 2))
    high = betainc(b, a, expit(-(grid.logit[-1] + grid.width[-1] / 2)))
    return np.concatenate([[low], inner * (max(1 - low - high, 0.0) / inner.sum()), [high]])


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


def beta_binomial(counts: Counts, grid: Grid | None = None) -> Mixture:
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
    return Mixture("beta-binomial", grid, beta_weights(grid, a, b), value, (("a", float(a)), ("b", float(b))))


def zero_inflated(counts: Counts, grid: Grid | None = None) -> Mixture:
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
    return Mixture("zero-inflated", grid, weight, value, (("a", float(a)), ("b", float(b)), ("zero", z)))


def npmle(counts: Counts, grid: Grid | None = None, rounds: int = 60) -> Mixture:
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
    return Mixture("npmle", grid, weight, value + _scale(grid, tally, p_hat))


def _scale(grid: Grid, tally: Tally, p_hat: FloatArray) -> float:
    nodes = grid.p[1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = tally.c[:, None] * np.log(nodes) + (tally.n - tally.c)[:, None] * grid.log_q[1:-1]
    peak = np.where((p_hat == 0) | (p_hat == 1), 0.0, log.max(axis=1))
    return float(tally.problems @ peak)
