"""What a comparison says in words: at one try, at K tries, how many tries the base needs, and who changed.

A word never depends on the number of samples for its meaning: what it speaks of (K tries, R tries, which problems)
stands in its sentence. `benchmarks/truth_words.py` defines when each word is false in terms of the true P, and counts
how often that happens.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from goldpanner.measure.changes import Changes
from goldpanner.measure.equivalent import EquivalentK
from goldpanner.measure.passk import Band
from goldpanner.measure.thresholds import FURTHEST, NEAR
from goldpanner.types import Counts, Estimate

Word = Literal["sharpened", "expanded", "open", "better", "worse", "higher", "narrowed", "no difference shown"]
"""
- sharpened: RL is shown better at one try or higher at K tries, and the base comes within `NEAR` of RL's pass@K in at
  most R tries.
- expanded: RL is shown higher at K tries, and the base needs more than R tries to come that near.
- open: RL is shown better or higher, and the samples do not decide between these two.
- worse: RL is shown worse at one try, and not lower at K. narrowed: RL is shown lower at K.
- better (at one try), higher (at K): in place of the first three, where two systems are compared as they were run.

Two may stand together: a curve that rises at one try and falls at K is sharpened and narrowed."""
MARGIN = 0.1
"""A difference of pass@k that matters: where a larger one could go unseen, the question is undecided."""


@dataclass(frozen=True)
class Statement:
    """What is shown of pass@k at one k."""

    k: int
    base: Estimate
    rl: Estimate
    difference: Estimate
    """RL minus base."""
    margin: float = MARGIN

    @property
    def sign(self) -> int:
        """1: RL is shown higher; -1: lower; 0: no difference is shown."""
        return int(self.difference.low > 0) - int(self.difference.high < 0)

    @property
    def undecided(self) -> bool:
        """Whether no difference is shown, and one that matters could hide in the interval."""
        return not self.sign and not max(self.difference.high, -self.difference.low) <= self.margin

    @property
    def word(self) -> str:
        """better or worse at one try, higher or lower at more; no difference shown."""
        if not self.sign:
            return "no difference shown"
        return {1: ("better", "higher"), -1: ("worse", "lower")}[self.sign][self.k > 1]

    @property
    def sentence(self) -> str:
        """The statement with its numbers."""
        tries = "one try" if self.k == 1 else f"{self.k:,} tries"
        gap = self.difference
        if np.isnan(gap.value):
            return f"At {tries} nothing is known: a problem has no judged sample."
        ends = f"{gap.level:.0%} interval {gap.low:+.3f} to {gap.high:+.3f}"
        values = f"from {self.base.value:.3f} to {self.rl.value:.3f}"
        if self.sign:
            verb = "rises" if self.sign > 0 else "falls"
            return f"At {tries} RL is {self.word}: pass@{self.k} {verb} {values}, by {gap.value:+.3f} ({ends})."
        text = f"At {tries} no difference is shown: pass@{self.k} goes {values}, by {gap.value:+.3f} ({ends})."
        hidden = max(gap.high, -gap.low)
        return f"{text[:-1]}; a difference of {min(hidden, 1):.2f} could go unseen." if self.undecided else text

    def to_json(self) -> dict[str, object]:
        """Return k, the word, both values and the difference."""
        ends = {"base": self.base, "rl": self.rl, "difference": self.difference}
        return {"k": self.k, "word": self.word, "undecided": self.undecided} | {
            name: estimate.to_json() for name, estimate in ends.items()
        }


def statement_at(k: int, base: Band, rl: Band, gap: Band, margin: float = MARGIN) -> Statement:
    """Return the statement at one k of the grid.

    Args:
        k: number of tries, one of the grid of `gap`.
        base: pass@k before RL.
        rl: pass@k after RL.
        gap: their difference.
        margin: difference of pass@k that matters.
    """
    return Statement(k, base.at(k), rl.at(k), gap.at(k), margin)


def words_for(one: Statement, last: Statement, needed: EquivalentK, systems: bool = False) -> tuple[Word, ...]:
    """Return the words (`Word`) that three statements add up to, at least one; of `systems` none on the models."""
    words: list[Word] = []
    if systems:
        words += ["better"] if one.sign > 0 else []
        words += ["higher"] if last.sign > 0 and last.k > 1 else []
    elif one.sign > 0 or last.sign > 0:
        if needed.reached:
            words.append("sharpened")
        else:
            words.append("expanded" if needed.beyond and last.sign > 0 else "open")
    if one.sign < 0 and last.sign >= 0:
        words.append("worse")
    if last.sign < 0:
        words.append("narrowed")
    return tuple(words) or ("no difference shown",)


def equivalent_k_sentence(needed: EquivalentK, words: tuple[Word, ...], base: Counts, rl: Counts) -> str:
    """Say how many tries the base needs for what RL has at K, and what would decide an open answer."""
    if np.isnan(needed.k.value):
        return ""
    target = f"within {NEAR:g} of RL's pass@{needed.tries}"
    k = needed.k
    if k.high <= 1:
        return f"The base's pass@1 is already {target}."
    ends = f"{_tries(k.low)} to {_tries(k.high)} tries, {k.level:.0%} interval"
    if "expanded" in words:
        return f"The base needs more than {needed.within:,} tries to come {target} ({ends})."
    if "open" not in words:
        limit = f", no more than {needed.within:,}" if "sharpened" in words else ""
        return f"The base comes {target} in {_tries(k.value)} tries ({ends}){limit}."
    text = f"It is open whether the base comes {target} in {needed.within:,} tries ({ends})."
    rows = (base.c == 0) & (rl.c > 0)
    count, need = int(rows.sum()), int(np.ceil(needed.within * np.log(20)))
    if not count:
        return f"{text} More problems would decide."
    which = f"the {count} problems that only RL solved" if count > 1 else "the problem that only RL solved"
    return (
        f"{text} About {need:,} samples of the base on {which} would decide it, or the log-probabilities of RL's "
        "correct answers under the base (goldpanner score)."
    )


def changes_sentence(found: Changes) -> str:
    """Say how many problems rose, fell, were gained and were lost."""
    rose, fell = int(found.rose.sum()), int(found.fell.sum())
    gained, lost = (f"{found.count(x)} ({found.count(x, established=True)} beyond chance)" for x in ("gained", "lost"))
    return (
        f"Of {len(found.ids)} problems {rose} rose and {fell} fell (exact tests, false discovery rate "
        f"{found.fdr:.0%}). Only RL solved {gained}, only the base {lost}."
    )


def _tries(k: float) -> str:
    if np.isinf(k):
        return f"more than {FURTHEST:,}"
    return f"{k:,.0f}"
