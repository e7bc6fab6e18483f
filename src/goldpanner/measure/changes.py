"""Problem by problem: what rose and fell, what was gained and lost, and which changes chance alone would not make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from goldpanner.measure.passk import log_miss
from goldpanner.result import Brief
from goldpanner.types import Counts, FloatArray, IntArray

Change = Literal["kept", "gained", "lost", "neither"]
CHANGES: Sequence[Change] = ("kept", "gained", "lost", "neither")


def entry_p(n_unsolved: NDArray[np.int64], n_solved: NDArray[np.int64], c: NDArray[np.int64]) -> FloatArray:
    """Return the chance, if nothing changed, that all c correct samples fell on the model that has them.

    C(n_s, c) / C(n_u + n_s, c): one-sided Fisher's exact test of 0 of n_u against c of n_s, given their sum. For
    n_u = n_s = 256 and c = 1, 2, 3: 0.5, 0.25, 0.124, which is why 1 of 256 is no expansion.
    """
    miss: FloatArray = np.exp(log_miss(n_unsolved + n_solved, n_unsolved, c))
    return miss


@dataclass(frozen=True, repr=False)
class Changes(Brief):
    """What happened to every problem, in the order of the counts."""

    ids: tuple[str, ...]
    base: Counts
    rl: Counts
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
    shift: FloatArray
    """Shape (P,): c/n of RL minus c/n of the base, of the judged samples; NaN where one has none."""
    shift_p: FloatArray
    """Shape (P,): p-value of "P did not change" (`fisher_p`); with unjudged samples at their worst for the change."""
    shift_q: FloatArray
    """Shape (P,): the same, adjusted for the number of problems (Benjamini & Hochberg 1995)."""

    @property
    def established(self) -> NDArray[np.bool_]:
        """Shape (P,): gained or lost, and not within noise at the false discovery rate."""
        return self.q_value <= self.fdr

    @property
    def rose(self) -> NDArray[np.bool_]:
        """Shape (P,): P is shown to have risen, at the false discovery rate."""
        return (self.shift_q <= self.fdr) & (self.shift > 0)

    @property
    def fell(self) -> NDArray[np.bool_]:
        """Shape (P,): P is shown to have fallen, at the false discovery rate."""
        return (self.shift_q <= self.fdr) & (self.shift < 0)

    def moved(self, rows: NDArray[np.bool_]) -> list[int]:
        """Return the positions of these problems, the largest change first."""
        places = np.flatnonzero(rows)
        return [int(i) for i in places[np.argsort(-np.abs(self.shift[places]), kind="stable")]]

    def rows(self) -> list[dict[str, str | float | bool | None]]:
        """Return what is known of each problem, in order."""
        columns = (self.ids, self.change, self.shift, self.shift_p, self.shift_q, self.p_value, self.q_value)
        counts = (self.base.c, self.base.judged, self.rl.c, self.rl.judged)
        return [
            {
                "id": str(i),
                "base_c": int(c),
                "base_n": int(n),
                "rl_c": int(d),
                "rl_n": int(m),
                "change": str(change),
                "difference": None if np.isnan(shift) else float(shift),
                "direction": ("rose" if shift > 0 else "fell") if q <= self.fdr else None,
                "p_value": float(p),
                "q_value": float(q),
                "p_value_of_change": float(p_change),
                "q_value_of_change": float(q_change),
                "established": bool(q_change <= self.fdr),
            }
            for i, change, shift, p, q, p_change, q_change, c, n, d, m in zip(*columns, *counts)
        ]

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
    shift, shift_p = _shift(base, rl)
    q_value = np.minimum(q_value, 1)
    return Changes(base.ids, base, rl, change, p_value, q_value, fdr, needed, shift, shift_p, adjusted(shift_p))


def _shift(base: Counts, rl: Counts) -> tuple[FloatArray, FloatArray]:
    """Return each problem's change of c/n, and its p-value; unjudged samples count against the change."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = rl.c / rl.judged - base.c / base.judged
    up = shift > 0
    c_base, c_rl = base.c + np.where(up, base.unjudged, 0), rl.c + np.where(up, 0, rl.unjudged)
    # where the unjudged could turn the change round, nothing is shown
    still = np.sign(c_rl * base.n - c_base * rl.n) == np.sign(np.nan_to_num(shift))
    some = np.isfinite(shift) & still & (shift != 0)
    p_value = np.ones(len(base))
    p_value[some] = fisher_p(c_base[some], base.n[some], c_rl[some], rl.n[some])
    return shift, p_value


CELLS = 4_000_000
"""Cells of the tables that `fisher_p` holds at a time."""


def fisher_p(c_first: IntArray, n_first: IntArray, c_second: IntArray, n_second: IntArray) -> FloatArray:
    """Return Fisher's exact two-sided p-value of c_first of n_first against c_second of n_second.

    The sum of the hypergeometric probabilities of all splits of the successes that are no likelier than the one seen
    (Fisher 1934; R's and scipy's rule, with its relative tolerance of 1e-7).

        >>> fisher_p(np.array([0]), np.array([16]), np.array([6]), np.array([16])).round(3).tolist()
        [0.018]

    Args:
        c_first: successes, shape (P,).
        n_first: samples, shape (P,).
        c_second: successes of the other side, shape (P,).
        n_second: samples of the other side, shape (P,).

    Returns:
        p-values, shape (P,). Equal rows cost once.
    """
    rows, where = np.unique(np.stack([c_first, n_first, c_second, n_second], axis=1), axis=0, return_inverse=True)
    c, n, d, m = rows.T
    low, high = np.maximum(0, c + d - m), np.minimum(n, c + d)
    p_value = np.ones(len(rows))
    order = np.argsort(high - low, kind="stable")
    width = (high - low)[order] + 1
    at = 0
    while at < len(order):
        # rows of like width share a table
        end = at + max(1, CELLS // int(width[min(at + CELLS // int(width[at]), len(order)) - 1]))
        block = order[at:end]
        splits = low[block, None] + np.arange(int(width[at:end][-1]))
        inside = splits <= high[block, None]
        splits = np.minimum(splits, high[block, None])
        total = (c + d)[block, None]
        log_p = _log_choose(n[block, None], splits) + _log_choose(m[block, None], total - splits)
        log_p -= _log_choose((n + m)[block, None], total)
        seen = np.take_along_axis(log_p, (c - low)[block, None], axis=1)
        p_value[block] = np.where(inside & (log_p <= seen + 1e-7), np.exp(log_p), 0).sum(axis=1)
        at = end
    out: FloatArray = np.minimum(p_value, 1.0)[where.ravel()]
    return out


def _log_choose(n: IntArray, k: IntArray) -> FloatArray:
    out: FloatArray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return out


def adjusted(p_value: FloatArray) -> FloatArray:
    """Return the false discovery rate at which each p-value is just rejected (Benjamini & Hochberg 1995).

    >>> adjusted(np.array([0.01, 0.04, 0.5])).round(3).tolist()
    [0.03, 0.06, 0.5]
    """
    order = np.argsort(p_value, kind="stable")
    rate = p_value[order] * len(p_value) / np.arange(1, len(p_value) + 1)
    out = np.empty(len(p_value))
    out[order] = np.minimum(np.minimum.accumulate(rate[::-1])[::-1], 1.0)
    return out


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
