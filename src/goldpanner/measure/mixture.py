"""The distribution of P(correct) over problems, from counts.

Every distribution is held in one form, `Mixture`: masses on a grid of P that is even in log P near 0, even in
log(1 - P) near 1, and as fine in between as n samples can see. All questions (mean pass@k, shares of mixed groups,
what is known of one problem) are then weighted sums over that grid, whichever model was fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import betainc, expit, logit

from goldpanner.errors import InputError
from goldpanner.result import Brief
from goldpanner.types import Counts, FloatArray, IntArray

LOWEST, HIGHEST = -25.0, 14.0  # logit P at the ends of the grid: 1.4e-11 and 1 - 8e-7; beyond lie the atoms at 0 and 1


@dataclass(frozen=True, repr=False)
class Grid(Brief):
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


@dataclass(frozen=True, repr=False)
class Tally(Brief):
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
        judged = np.flatnonzero(n > 0)
        key = np.empty(len(judged), dtype=[("n", np.int64), ("c", np.int64)])
        key["n"], key["c"] = n[judged], c[judged]
        order = np.lexsort((key["c"], key["n"]))
        new = np.append(True, key[order][1:] != key[order][:-1])[: len(judged)]
        index = np.empty(len(judged), np.int64)
        index[order] = np.cumsum(new) - 1
        pairs = key[order][new]
        problems = np.bincount(index, minlength=len(pairs)).astype(np.float64)
        return cls(pairs["n"], pairs["c"], problems, index, judged)

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


@dataclass(frozen=True, repr=False)
class Mixture(Brief):
    """A distribution of P over problems: `weight` on `grid`, shape (J,), summing to 1."""

    name: str
    grid: Grid
    weight: FloatArray

    def mean(self, value: FloatArray) -> FloatArray:
        """Return E[value(P)] for `value` given at the nodes, shape (..., J) -> (...)."""
        out: FloatArray = value @ self.weight
        return out

    def pass_at_k(self, k: FloatArray | Sequence[float] | float) -> FloatArray:
        """Return the population's pass@k, E[1 - (1-P)^k]."""
        return 1 - self.mean(self.grid.failing(np.asarray(k, dtype=np.float64)))

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
        """Return the name, and the P that a tenth, a quarter ... of the problems do not exceed."""
        return {"name": self.name, "quantiles": {str(q): self.quantile(q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)}}


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
