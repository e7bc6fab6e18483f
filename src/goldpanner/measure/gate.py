"""A comparison as a gate: which conditions fail, hold, or are left undecided by the samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure.changes import fisher_p
from goldpanner.measure.compare import Comparison
from goldpanner.measure.statements import Statement

Outcome = Literal["fails", "holds", "undecided"]
UNDECIDED: Literal["undecided"] = "undecided"
_FALLS, _WORDS, _COUNTS = ("worse", "narrowed"), ("sharpened", "expanded"), ("fell", "rose", "lost", "gained")
_CONDITION = re.compile(r"([a-z]+)\s*(?:>\s*([0-9.]+)\s*(%?))?")
GRAMMAR = (
    "worse, narrowed (also worse>0.02: only a drop of more than .02), fell>2%, rose, lost>3, gained, sharpened, "
    "expanded, undecided"
)


@dataclass(frozen=True)
class Condition:
    """One condition that must not hold."""

    text: str
    name: str
    limit: float
    share: bool
    """Whether the limit is a share of the problems."""


@dataclass(frozen=True)
class ConditionResult:
    """What a comparison says of one condition."""

    condition: str
    outcome: Outcome
    """`fails`: the condition is shown. `holds`: it is not, and the samples could have shown it."""
    reason: str


@dataclass(frozen=True)
class Gate:
    """What a comparison says of all conditions."""

    results: tuple[ConditionResult, ...]
    strict: bool
    """Whether an undecided condition stops the gate."""

    @property
    def exit_code(self) -> int:
        """0: passed. 1: a condition is shown. 3: undecided, and `undecided` is among the conditions."""
        outcomes = {each.outcome for each in self.results}
        if "fails" in outcomes:
            return 1
        return 3 if self.strict and UNDECIDED in outcomes else 0

    @property
    def summary(self) -> str:
        """One line."""
        decision = {0: "passed", 1: "failed", 3: "undecided"}[self.exit_code]
        return f"Gate {decision}: " + "; ".join(f"{r.condition}: {r.outcome} ({r.reason})" for r in self.results)

    def to_json(self) -> dict[str, object]:
        """Return the exit code and what is said of every condition."""
        results = [{"condition": r.condition, "outcome": r.outcome, "reason": r.reason} for r in self.results]
        return {"exit_code": self.exit_code, "results": results}


def parse_conditions(text: str) -> list[Condition]:
    """Return the conditions of a comma-separated list. Raises InputError naming the part that is none.

    >>> [(each.name, each.limit) for each in parse_conditions("narrowed,fell>2%")]
    [('narrowed', 0.0), ('fell', 0.02)]
    """
    conditions = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _CONDITION.fullmatch(part)
        names = (*_FALLS, *_WORDS, *_COUNTS, UNDECIDED)
        limited = match is not None and match[2] is not None
        if match is None or match[1] not in names or (limited and match[1] in (*_WORDS, UNDECIDED)):
            raise InputError(f"--fail-on {text!r}: {part!r} is no condition; write some of {GRAMMAR}")
        try:
            limit = float(match[2] or 0)
        except ValueError:
            raise InputError(f"--fail-on {text!r}: {match[2]!r} is no number; write, say, fell>2%") from None
        share = match[3] == "%"
        conditions.append(Condition(part, match[1], limit / 100 if share else limit, share))
    if not any(condition.name != UNDECIDED for condition in conditions):
        raise InputError(f"--fail-on {text!r} names no condition; write some of {GRAMMAR}")
    return conditions


def gate(found: Comparison, conditions: Sequence[Condition]) -> Gate:
    """Return what a comparison says of the conditions (`parse_conditions`)."""
    results = tuple(_rule(found, each) for each in conditions if each.name != UNDECIDED)
    return Gate(results, any(each.name == UNDECIDED for each in conditions))


def _rule(found: Comparison, condition: Condition) -> ConditionResult:
    if condition.name in _FALLS:
        return _fall(condition, found.at_one_try if condition.name == "worse" else found.at_k_tries)
    if condition.name in _WORDS:
        outcome: Outcome = UNDECIDED if "open" in found.words else "holds"
        outcome = "fails" if condition.name in found.words else outcome
        return ConditionResult(condition.text, outcome, found.verdict)
    return _count(condition, found)


def _fall(condition: Condition, statement: Statement) -> ConditionResult:
    """Return what is said of a drop of pass@k: shown, ruled out, or neither."""
    gap = statement.difference
    limit = condition.limit
    outcome: Outcome = "holds" if gap.low > -(limit or statement.margin) else UNDECIDED
    outcome = "fails" if gap.high < -limit else outcome
    if np.isnan(gap.low):
        outcome = UNDECIDED
    return ConditionResult(condition.text, outcome, f"pass@{statement.k} {gap:+}")


def _count(condition: Condition, found: Comparison) -> ConditionResult:
    """Return what is said of the number of problems that are shown to have changed."""
    changes = found.changes
    if condition.name in ("fell", "rose"):
        count = int((changes.fell if condition.name == "fell" else changes.rose).sum())
    else:
        count = changes.count("lost" if condition.name == "lost" else "gained", established=True)
    reason = f"{count} of {found.problems} problems"
    if count > condition.limit * (found.problems if condition.share else 1):
        return ConditionResult(condition.text, "fails", reason)
    n, m = (np.array([int(np.median(x.judged))]) for x in (changes.base, changes.rl))
    # the clearest change there can be: all right before, none after
    if fisher_p(n, n, np.zeros_like(m), m)[0] * found.problems > changes.fdr:
        return ConditionResult(
            condition.text, UNDECIDED, f"{reason}; with {n[0]} samples no change of a problem can be shown"
        )
    return ConditionResult(condition.text, "holds", reason)
