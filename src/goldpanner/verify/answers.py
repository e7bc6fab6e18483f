"""Typed answers: what an answer may be.

Every answer is of one type: a number or formula (with its unit), an option, words, a date or time, intervals, a list,
set or tuple, a matrix, an equation; or a formula that only a computer algebra system can read. `reading` reads them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from goldpanner.types import Cause
from goldpanner.verify.evaluate import exact_value
from goldpanner.verify.formula import Node
from goldpanner.verify.units import Units


@dataclass(frozen=True, slots=True)
class Value:
    """A number or a formula."""

    node: Node
    unit: Units | None = None
    percent: bool = False
    name: str = ""
    """What it is said to be the value of: `x` of `x = 5`."""
    others: tuple[Node, ...] = ()
    """Other readings of the same text: `1/2x`."""

    @property
    def type(self) -> str:
        """`number` if it is rational, else `formula`."""
        return "formula" if exact_value(self.node) is None else "number"

    @property
    def places(self) -> int | None:
        """Digits after the point of a plain decimal, so that it may be a rounded value; None for anything else."""
        node = self.node.args[0] if self.node.op == "-" else self.node
        if node.op != "number" or node.name != "decimal":
            return None
        places = 0
        while (node.value * 10**places).denominator != 1:
            places += 1
        return places


@dataclass(frozen=True, slots=True)
class Option:
    """One of several choices by its letter, or some of them by theirs, in order."""

    letter: str
    more: bool = False
    """Whether the option's own text follows."""
    type = "option"


@dataclass(frozen=True, slots=True)
class Text:
    """Text."""

    words: tuple[str, ...]
    type = "text"


class Moment(NamedTuple):
    """A date or a time of day; what is not said is None."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    minute: int | None = None
    """Of the day, by the clock of 24 hours if `sure`, else of its half."""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class When:
    """A date or a time of day."""

    moment: Moment
    type = "date or time"


@dataclass(frozen=True, slots=True)
class Items:
    """Several answers: a list or set (in any order), or a tuple."""

    items: tuple["Answer", ...]
    brackets: str = ""
    """`()`, `[]`, `{}`, or nothing for a list."""

    @property
    def type(self) -> str:
        """`tuple`, `set` or `list`."""
        return {"": "list", "{}": "set"}.get(self.brackets, "tuple")  # `[1, 2]` may be an interval, too: as_spans


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of real numbers."""

    low: Node
    high: Node
    closed: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Spans:
    """A union of intervals."""

    spans: tuple[Span, ...]
    type = "interval"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix, by rows."""

    rows: tuple[tuple["Answer", ...], ...]
    type = "matrix"


@dataclass(frozen=True, slots=True)
class Equation:
    """A line or a curve: left = right."""

    left: Node
    right: Node
    type = "equation"


@dataclass(frozen=True, slots=True)
class Algebra:
    """TeX that only a computer algebra system reads: integrals, sums, limits."""

    text: str
    type = "formula"


Answer = Value | Option | Text | When | Items | Spans | Matrix | Equation | Algebra


def as_spans(answer: Answer | None) -> Spans | None:
    """Return an answer read as intervals: `(a, b)` is one, `{a, b}` two points; None where it cannot be."""
    if isinstance(answer, Spans):
        return answer
    if not isinstance(answer, Items) or not all(isinstance(item, Value) for item in answer.items):
        return None
    nodes = [item.node for item in answer.items if isinstance(item, Value)]
    if answer.type == "set":
        return Spans(tuple(Span(node, node, (True, True)) for node in nodes))
    if answer.type == "tuple" and len(nodes) == 2:
        closed = answer.brackets == "[]"
        return Spans((Span(nodes[0], nodes[1], (closed, closed)),))
    return None


class Equality(NamedTuple):
    """What a comparison says."""

    equal: bool | None
    reason: str = ""
    """Why it is neither."""
    cause: Cause = Cause.OURS
    algebra: bool = False
    """Whether a computer algebra system may tell."""


SAME, DIFFERENT = Equality(True), Equality(False)
UNDECIDED = Equality(None, "the comparison cannot tell", algebra=True)


def all_equal(decisions: Iterable[Equality]) -> Equality:
    """Return SAME if all are, DIFFERENT if one is, else the first that is neither."""
    results = list(decisions)
    if any(decision.equal is False for decision in results):
        return DIFFERENT
    return next((decision for decision in results if decision.equal is None), SAME)
