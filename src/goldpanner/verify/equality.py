"""Whether an answer is the expected one: by the expected answer's type, exactly where that can be.

A Equality says equal, different, or neither with whose doing that is: ours where only this comparison cannot tell, the
model's where its answer is no value of any type, or not in the form that was asked for.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from goldpanner.types import Cause
from goldpanner.verify import evaluate, units
from goldpanner.verify.answers import (
    DIFFERENT,
    SAME,
    UNDECIDED,
    Algebra,
    Answer,
    Equality,
    Equation,
    Items,
    Matrix,
    Option,
    Spans,
    Text,
    Value,
    When,
    all_equal,
)
from goldpanner.verify.formula import Node, rational, variables
from goldpanner.verify.quantities import other_readings
from goldpanner.verify.reading import read_answer
from goldpanner.verify.spans import same_intervals
from goldpanner.verify.tex import tokens, written
from goldpanner.verify.texts import read_option, same_moment, words_of

TOLERANCE = 1e-6
"""Relative; used only where the expected number is written with a decimal point."""


def compare_answers(expected: Answer, right: str, text: str, tolerance: float = TOLERANCE) -> Equality:
    """Return whether the answer `text` is the expected one, which stands as `right` in the problem."""
    if written(tokens(text)) == written(tokens(right)):
        return SAME
    if isinstance(expected, Option):
        return _option(expected, text)
    if isinstance(expected, Text):
        return _words(expected, text)
    answer = read_answer(text, isinstance(expected, Equation))
    if answer is None or isinstance(answer, Text):
        return _unread(expected, text, answer, tolerance)
    if isinstance(answer, Algebra) or isinstance(expected, Algebra):
        return Equality(None, "it takes a computer algebra system", algebra=True)
    decision = same_answer(expected, answer, tolerance)
    if decision.equal is False and isinstance(answer, Value | Items):
        for one in (expected, *other_readings(right)):
            for other in (answer, *other_readings(text)):
                if same_answer(one, other, tolerance).equal:
                    return Equality(None, "a number can be read in two ways")
    return decision


def same_answer(expected: Answer, answer: Answer, tolerance: float = TOLERANCE) -> Equality:
    """Return whether two answers are equal; those of different types are not, unless one may stand for the other."""
    if isinstance(expected, Value) and isinstance(answer, Value):
        return _values(expected, answer, tolerance)
    if isinstance(expected, Equation):
        return _equations(expected, answer)
    if isinstance(expected, When):
        if not isinstance(answer, When):
            return DIFFERENT
        decision = same_moment(expected.moment, answer.moment)
        return Equality(decision, "" if decision is not None else "one leaves open what the other says")
    if isinstance(expected, Matrix) or isinstance(answer, Matrix):
        return _matrices(expected, answer, tolerance)
    if isinstance(expected, Spans) or isinstance(answer, Spans):
        return same_intervals(expected, answer)
    if isinstance(expected, Items) or isinstance(answer, Items):
        return _items(expected, answer, tolerance)
    if isinstance(expected, Option | Text) and type(expected) is type(answer):
        return Equality(expected == answer)
    return DIFFERENT


# --- options and words


def _option(expected: Option, text: str) -> Equality:
    answer = read_option(text)
    if answer is None:
        return Equality(None, "no option is named", Cause.MODEL)
    return Equality(answer.letter == expected.letter)


_ALIKE = (
    ("no solution", "no solutions", "none", "no real solution", "no real solutions", "empty set"),
    ("dne", "does not exist", "undefined", "not defined"),
    ("yes", "true", "correct"),
    ("no", "false", "incorrect"),
    ("infinity", "infinite", "unbounded", "infinitely many"),
)
"""Phrases that may stand for one another."""
_DENIALS = frozenset({"not", "never", "no", "neither", "isn't"})
_BOUNDS = frozenset({"or", "more", "less", "least", "most", "over", "under", "between", "than"})


def _words(expected: Text, text: str) -> Equality:
    words = words_of(text)
    if words == expected.words:
        return SAME
    answer = read_answer(text)
    if not words and answer is None:
        return Equality(None, "the declared answer is empty", Cause.MODEL)
    phrases = {" ".join(expected.words), "no solution" if answer == Items((), "{}") else " ".join(words)}
    if any(phrases <= set(group) for group in _ALIKE):
        return Equality(None, "another word for it")
    one, other = set(expected.words), set(words)
    if (other - one) & _DENIALS or not other or not (one <= other or other <= one):
        values = any(word.isdigit() for word in one) and isinstance(answer, Value | Items)
        return Equality(None, "a value where words are expected") if values else DIFFERENT
    more = len(words) - len(expected.words) > 3 or re.search(r"[,;/|]|\b(?:and|or)\b", text)
    reason = f"expected the words {' '.join(expected.words)!r} alone"
    return Equality(None, reason, Cause.MODEL if more else Cause.OURS)


def _unread(expected: Answer, text: str, answer: Text | None, tolerance: float) -> Equality:
    """Judge what is no value: right if it can be no other, ours if the one number in it is the expected one."""
    if expected == Items((), "{}") and answer is not None and " ".join(answer.words) in _ALIKE[0]:
        return Equality(None, "words for the empty set")
    if isinstance(expected, Value) and any(
        same_answer(expected, each, tolerance).equal for each in other_readings(text)
    ):
        return Equality(None, f"{text[:40]!r} can be read as two numbers")
    numbers = [token.text for token in tokens(text) if token.kind == "number"]
    words = set(answer.words) if answer is not None else set()
    if isinstance(expected, Value) and words and len(numbers) == 1 and not words & (_DENIALS | _BOUNDS):
        only = read_answer(numbers[0])
        if only is not None and same_answer(expected, only, tolerance).equal:
            return Equality(None, "words around the right number")
    return Equality(None, "no value of any type" if answer is None else "words where a value is expected", Cause.MODEL)


# --- numbers and formulas


def _values(expected: Value, answer: Value, tolerance: float) -> Equality:
    decisions = [_one_reading(replace_node(expected, one), replace_node(answer, other), tolerance)
                 for one in (expected.node, *expected.others) for other in (answer.node, *answer.others)]  # fmt: skip
    if len({decision.equal for decision in decisions}) > 1:
        return Equality(None, "it can be read in two ways")
    decision = decisions[0]
    if decision.equal and expected.name and answer.name and expected.name != answer.name:
        return Equality(None, f"the value of {answer.name}, not of {expected.name}")
    return decision


def replace_node(value: Value, node: Node) -> Value:
    """Return a value with another formula."""
    return Value(node, value.unit, value.percent, value.name)


def _one_reading(expected: Value, answer: Value, tolerance: float) -> Equality:
    bases = [value.node.name if value.node.op == "based" else "" for value in (expected, answer)]
    if bases[0] != bases[1] and set(bases) != {"", "10"}:
        if evaluate.equal(expected.node, answer.node):
            return Equality(None, f"expected in base {bases[0] or 10}", Cause.MODEL)
        return Equality(None, "the base is left out") if _in_base(answer.node, expected.node) else DIFFERENT
    one, other = expected.unit, answer.unit
    if one and other and one.known and other.known:
        if one.kinds != other.kinds:
            decision = _numbers(expected, answer, tolerance)
            return Equality(None, "another unit") if decision.equal else decision
        if one.factor != other.factor:
            return _numbers(_times(expected, one.factor), _times(answer, other.factor), tolerance)
    if units.DEGREES in (one, other) and None in (one, other):
        radians = [_times(v, Node("degree", (rational(1),))) if v.unit else v for v in (expected, answer)]
        decision = _numbers(radians[0], radians[1], tolerance)
        if decision.equal or any(each.name == "pi" for v in (expected, answer) for each in v.node.walk()):
            return decision
    if expected.percent != answer.percent:
        return _per_cent(expected, answer, tolerance)
    return _numbers(expected, answer, tolerance)


def _in_base(node: Node, based: Node) -> bool:
    """Return whether the digits of a number, read in its base, are a based number."""
    try:
        return node.op == "number" and int(str(node.value), int(based.name)) == based.value
    except ValueError:
        return False


def _times(value: Value, factor: Fraction | Node) -> Value:
    node = factor if isinstance(factor, Node) else rational(factor)
    return replace_node(value, Node("*", (node, value.node)))


def _per_cent(expected: Value, answer: Value, tolerance: float) -> Equality:
    """Compare where one side has a per cent sign: it is a hundredth, or a unit that is set aside (not below 1)."""
    in_percent = [v if v.percent else _times(v, Fraction(100)) for v in (expected, answer)]
    exactly = _numbers(in_percent[0], in_percent[1], tolerance)
    aside = _numbers(expected, answer, tolerance)
    if exactly.equal or not aside.equal:
        return exactly
    small = evaluate.exact_value(expected.node)
    if small is not None and abs(small) < 1:
        return Equality(None, "it can be read in two ways: per cent, or not")
    return aside


def _numbers(expected: Value, answer: Value, tolerance: float) -> Equality:
    equal = evaluate.equal(expected.node, answer.node)
    if equal is None and evaluate.beyond(answer.node):
        return Equality(None, "a number beyond all bounds", Cause.MODEL)
    if equal is not False:
        return SAME if equal else UNDECIDED
    if variables(expected.node) | variables(answer.node):
        return _letters(expected, answer, tolerance)
    rounded = any(node.op == "number" and node.name == "decimal" for node in expected.node.walk())
    if rounded and evaluate.close(expected.node, answer.node, tolerance):
        return SAME
    if (
        expected.places
        and evaluate.rounds_to(answer.node, expected.node, expected.places)
        and _finer(answer, expected.places)
    ):
        return Equality(None, "the expected number may be this one, rounded")
    whole = (exact := evaluate.exact_value(expected.node)) is not None and exact.denominator == 1
    rounded_answer = answer.places and not whole and _digits(answer) > 1
    if rounded_answer and evaluate.rounds_to(expected.node, answer.node, answer.places or 0):
        return Equality(None, "it may be the expected number, rounded")
    return DIFFERENT


def _finer(answer: Value, places: int) -> bool:
    """Return whether a value is more precise than a number of so many digits after the point."""
    return answer.places is None or answer.places > places


def _digits(answer: Value) -> int:
    """Return the significant digits of a decimal."""
    value = answer.node.args[0].value if answer.node.op == "-" else answer.node.value
    return len(str(abs(value.numerator * 10 ** (answer.places or 0) // value.denominator)))


def _letters(expected: Value, answer: Value, tolerance: float) -> Equality:
    """Tell a number with a one-letter unit, `5 m`, from a product, and other names of variables from other formulas."""
    if evaluate.renamed(expected.node, answer.node):
        return Equality(None, "the same with other letters")
    node = answer.node
    letter = node.args[1].name if node.op == "*" and node.args[1].op == "variable" else ""
    unit = bool(letter) and letter in "mgsLlhNJWVAKCF" and not variables(expected.node)
    if unit and _numbers(expected, replace_node(answer, node.args[0]), tolerance).equal:
        return Equality(None, f"{letter!r} may be a unit")
    return DIFFERENT


# --- several values


def _items(expected: Answer, answer: Answer, tolerance: float) -> Equality:
    if not (isinstance(expected, Items) and isinstance(answer, Items)):
        several, single = (expected, answer) if isinstance(expected, Items) else (answer, expected)
        assert isinstance(several, Items)
        if len(several.items) == 1 and (several.type != "tuple"):
            return same_answer(several.items[0], single, tolerance)
        return DIFFERENT
    ordered = (expected.type == "tuple", answer.type == "tuple")
    if {expected.type, answer.type} == {"list", "set"} and _sets_in(expected) != _sets_in(answer):
        return DIFFERENT
    if all(ordered):
        decision = _in_order(expected.items, answer.items, tolerance)
        if decision.equal and expected.brackets != answer.brackets and len(expected.items) == 2:
            return Equality(None, "other brackets: a pair, or an interval?")
        return decision
    decision = _in_any_order(expected.items, answer.items, tolerance)
    if decision.equal is not False and any(ordered):
        return Equality(None, "in brackets, or not?")
    return decision


def _sets_in(answer: Items) -> int:
    return sum(isinstance(item, Items) and item.type == "set" for item in answer.items)


def _in_order(expected: Sequence[Answer], answer: Sequence[Answer], tolerance: float) -> Equality:
    if len(expected) != len(answer):
        return DIFFERENT
    return all_equal(same_answer(one, other, tolerance) for one, other in zip(expected, answer))


def _in_any_order(expected: Sequence[Answer], answer: Sequence[Answer], tolerance: float) -> Equality:
    if max(len(expected), len(answer)) > 30:
        return Equality(None, "more than 30 values")
    names = [[_name(item) for item in items] for items in (expected, answer)]
    if sorted(names[0]) == sorted(names[1]) and len(set(names[0])) == len(names[0]) and all(names[0]):
        return _in_order(sorted(expected, key=_name), sorted(answer, key=_name), tolerance)
    table = [[same_answer(one, other, tolerance) for other in answer] for one in expected]
    rows = [[decision.equal for decision in row] for row in table]
    columns = list(zip(*rows)) if rows else []
    if len(expected) == len(answer) and _matched(rows, lambda equal: equal is True):
        return SAME
    if any(all(e is False for e in line) for line in (*rows, *columns)) or not expected or not answer:
        return DIFFERENT if expected or answer else SAME
    if len(expected) == len(answer):
        if not _matched(rows, lambda equal: equal is not False):
            return DIFFERENT
        return next(d for row in table for d in row if d.equal is None)
    return Equality(None, "a value is repeated")


def _name(answer: Answer) -> str:
    return answer.name if isinstance(answer, Value) else ""


def _matched(rows: Sequence[Sequence[bool | None]], fits: Callable[[bool | None], bool]) -> bool:
    """Return whether every row has a column of its own that fits (augmenting paths)."""
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, equal in enumerate(rows[row]):
            if fits(equal) and column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(rows)))


def _matrices(expected: Answer, answer: Answer, tolerance: float) -> Equality:
    if isinstance(expected, Matrix) and isinstance(answer, Matrix):
        if [len(row) for row in expected.rows] != [len(row) for row in answer.rows]:
            return DIFFERENT
        return _in_order([e for row in expected.rows for e in row], [e for row in answer.rows for e in row], tolerance)
    matrix, other = (expected, answer) if isinstance(expected, Matrix) else (answer, expected)
    assert isinstance(matrix, Matrix)
    entries = [entry for row in matrix.rows for entry in row]
    if 1 in (len(matrix.rows), len(matrix.rows[0])) and isinstance(other, Items) and other.type == "tuple":
        decision = _in_order(entries, other.items, tolerance)
        return Equality(None, "a vector in another notation") if decision.equal else decision
    return same_answer(entries[0], other, tolerance) if len(entries) == 1 else DIFFERENT


# --- equations


def _equations(expected: Equation, answer: Answer) -> Equality:
    if not isinstance(answer, Equation):
        if isinstance(answer, Value) and expected.left.op == "variable":
            decision = evaluate.equal(expected.right, answer.node)
            return Equality(None, "one side of the equation") if decision else DIFFERENT
        return DIFFERENT
    one, other = (Node("+", (each.left, Node("-", (each.right,)))) for each in (expected, answer))
    both = [evaluate.vanishes_on(one, other), evaluate.vanishes_on(other, one)]
    if False in both:
        return DIFFERENT
    return UNDECIDED if None in both else SAME
