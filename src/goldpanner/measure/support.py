"""Problem by problem: kept, gained, lost or neither, and which of the changes chance alone would not make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    established: NDArray[np.bool_]
    """Gained or lost, and not within noise at the false discovery rate."""
    fdr: float
    family: int
    """Hypotheses tested: problems whose successes are many enough that the most lopsided split would be significant."""

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
    rejects only when all T fell on one side: p = min(1, 2 C(n_s, T)/C(n_b + n_r, T)), two-sided because gains and
    losses are both looked for. It is 1 for every other split, so that rejections are gains and losses and nothing else,
    and the rate of false ones among them is what is controlled (Benjamini & Hochberg 1995, over all problems, not over
    the picked ones). Problems whose T is too small to be significant in any split leave the family (Tarone 1990): T does
    not depend on what happened.
    """
    total = base.c + rl.c
    gained, lost = (base.c == 0) & (rl.c > 0), (base.c > 0) & (rl.c == 0)
    change = np.select([gained, lost, total > 0], ["gained", "lost", "kept"], "neither")
    all_rl, all_base = entry_p(base.n, rl.n, np.minimum(total, rl.n)), entry_p(rl.n, base.n, np.minimum(total, base.n))
    possible = np.minimum(np.where(total <= rl.n, all_rl, 1), np.where(total <= base.n, all_base, 1))
    sure_gain, sure_loss = gained & (base.unjudged == 0) & (base.n > 0), lost & (rl.unjudged == 0) & (rl.n > 0)
    p_value = np.minimum(1.0, 2 * np.select([sure_gain, sure_loss], [all_rl, all_base], 1.0))
    family = (total > 0) & (2 * possible <= fdr)
    established = np.zeros(len(base), dtype=np.bool_)
    if family.any():
        established[family] = stats.false_discovery_control(p_value[family]) <= fdr
    return Changes(base.ids, change, p_value, established, fdr, int(family.sum()))


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
