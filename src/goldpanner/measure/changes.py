"""Problem by problem: kept, gained, lost or neither, and which of the changes chance alone would not make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from goldpanner.measure.passk import log_miss
from goldpanner.types import Counts, FloatArray

Change = Literal["kept", "gained", "lost", "neither"]
CHANGES: Sequence[Change] = ("kept", "gained", "lost", "neither")


def entry_p(n_unsolved: NDArray[np.int64], n_solved: NDArray[np.int64], c: NDArray[np.int64]) -> FloatArray:
    """Return the chance, if nothing changed, that all c correct samples fell on the model that has them.

    C(n_s, c) / C(n_u + n_s, c): one-sided Fisher's exact test of 0 of n_u against c of n_s, given their sum. For
    n_u = n_s = 256 and c = 1, 2, 3: 0.5, 0.25, 0.124, which is why 1 of 256 is no expansion.
    """
    miss: FloatArray = np.exp(log_miss(n_unsolved + n_solved, n_unsolved, c))
    return miss


@dataclass(frozen=True)
class Changes:
    """What happened to every problem, in the order of the counts."""

    ids: tuple[str, ...]
    change: NDArray[np.str_]
    """Shape (P,), of `Change`: whether c > 0 before and after."""
    p_value: FloatArray
    """Two-sided (twice `entry_p`); 1 where both or neither model solved it, and where an unjudged sample of the model
    without a success could be one."""
    q_value: FloatArray
    """False discovery rate at which the change would just be established; 1 where the p-value is 1."""
    fdr: float
    needed: int
    """Successes against none that would establish a single change among these problems."""

    @property
    def established(self) -> NDArray[np.bool_]:
        """Shape (P,): gained or lost, and not within noise at the false discovery rate."""
        return self.q_value <= self.fdr

    def count(self, change: Change, established: bool = False) -> int:
        """Return how many problems changed so (only the established ones, if asked)."""
        return len(self.of(change, established))

    def of(self, change: Change, established: bool = False) -> list[str]:
        """Return their ids."""
        keep = (self.change == change) & (self.established | (not established))
        return [i for i, k in zip(self.ids, keep) if k]


def changes(base: Counts, rl: Counts, fdr: float = 0.05) -> Changes:
    """Return what happened to every problem; `base` and `rl` must list the same ids in the same order.

    Given the T = c_base + c_rl successes of a problem, "nothing changed" makes their split hypergeometric. The test
    rejects only when all T fell on one side: p = 2 C(n_s, T) / C(n_b + n_r, T), two-sided because gains and losses are
    both looked for; any other split has p = 1. So the rejections are gains and losses and nothing else, and the rate of
    false ones among them is what is controlled, over all problems, not over the picked ones.

    Benjamini & Hochberg 1995 in its form for discrete tests (Heyse 2011; Doehler, Durand & Roquain 2018, arXiv
    1706.08250): the k smallest p-values are rejected if S(p_(k)) / (k (1 - fdr)) <= fdr, where S(p) is the number of
    p-values <= p to expect if nothing had changed anywhere. Plain BH takes the number of problems times p for S, but
    a problem with T = 100 successes will not show p <= 0.01 by chance in 1 of 100 cases: its smallest p is 2^-99.
    No change is established at a rate below its own p-value.
    """
    total = base.c + rl.c
    gained, lost = (base.c == 0) & (rl.c > 0), (base.c > 0) & (rl.c == 0)
    change = np.select([gained, lost, total > 0], ["gained", "lost", "kept"], "neither")
    # the chance of each extreme split; a side with fewer than T samples cannot have them all
    all_rl = np.where(total <= rl.n, entry_p(base.n, rl.n, np.minimum(total, rl.n)), 0.0)
    all_base = np.where(total <= base.n, entry_p(rl.n, base.n, np.minimum(total, base.n)), 0.0)
    sure_gain, sure_loss = gained & (base.unjudged == 0) & (base.n > 0), lost & (rl.unjudged == 0) & (rl.n > 0)
    p_value = np.minimum(1.0, 2 * np.select([sure_gain, sure_loss], [all_rl, all_base], 1.0))

    chances = np.sort(np.concatenate([all_rl[total > 0], all_base[total > 0]]))
    expected = np.concatenate([[0.0], np.cumsum(chances)])

    def false_ones(p: FloatArray) -> FloatArray:
        by_chance: FloatArray = expected[np.searchsorted(2 * chances, p * (1 + 1e-9), side="right")] / (1 - fdr)
        return by_chance

    q_value = np.ones(len(base))
    order = np.argsort(p_value, kind="stable")[: int((p_value <= fdr).sum())]
    rate = false_ones(p_value[order]) / np.arange(1, len(order) + 1)
    q_value[order] = np.maximum(np.minimum.accumulate(rate[::-1])[::-1], p_value[order])
    halvings: FloatArray = 2.0 ** -np.arange(1.0, 1000.0)
    needed = 1 + int(np.argmax((2 * halvings <= fdr) & (np.maximum(false_ones(2 * halvings), 2 * halvings) <= fdr)))
    return Changes(base.ids, change, p_value, np.minimum(q_value, 1), fdr, needed)


@dataclass(frozen=True)
class SupportChange:
    """The measures of "The Invisible Leash" (arXiv 2507.14843) from P kept, E gained, S lost problems; NaN for 0/0."""

    kept: int
    gained: int
    lost: int

    @property
    def srr(self) -> float:
        """Support retention rate P / (P + S)."""
        return _ratio(self.kept, self.kept + self.lost)

    @property
    def ndr(self) -> float:
        """Net discovery rate E / (P + E)."""
        return _ratio(self.gained, self.kept + self.gained)

    @property
    def sds(self) -> float:
        """Support dynamic score: the harmonic mean of SRR and NDR."""
        return _ratio(2 * self.srr * self.ndr, self.srr + self.ndr) if self.srr + self.ndr else self.srr + self.ndr

    @property
    def nscr(self) -> float:
        """Net support change rate (E - S) / (P + E + S)."""
        return _ratio(self.gained - self.lost, self.kept + self.gained + self.lost)

    def to_json(self) -> dict[str, float | None]:
        """Return {"srr", "ndr", "sds", "nscr"}, NaN as None."""
        values = {"srr": self.srr, "ndr": self.ndr, "sds": self.sds, "nscr": self.nscr}
        return {name: (v if np.isfinite(v) else None) for name, v in values.items()}


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


def support(found: Changes, established: bool = False) -> SupportChange:
    """Return the measures as published, or with only established gains and losses (the others count as kept)."""
    gained, lost = found.count("gained", established), found.count("lost", established)
    solved = sum(found.count(c) for c in ("kept", "gained", "lost"))
    return SupportChange(solved - gained - lost, gained, lost)
