"""Reading: from the text of an answer to its type and value. Linear in the text, but for its deepest brackets."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from goldpanner.verify import units
from goldpanner.verify.answers import (
    Algebra,
    Answer,
    Equation,
    Items,
    Matrix,
    Option,
    Span,
    Spans,
    Text,
    Value,
    When,
    as_spans,
)
from goldpanner.verify.evaluate import equal
from goldpanner.verify.formula import Node, Parser, Unreadable, rational, variables
from goldpanner.verify.tex import (
    INVISIBLE,
    LONGEST,
    PAIRS,
    Token,
    closes,
    plain,
    separators_in,
    split,
    tokens,
    without_braces,
)
from goldpanner.verify.texts import bare, count_in_words, is_prose, moment, words_of

Tokens = Sequence[Token]


INFINITY = Node("constant", name="inf")
_ALGEBRA = re.compile(
    r"\\(?:i*int|oint|sum|prod|lim|log|vec|hat|[bp]?mod|max|min|sup|inf|det|partial|nabla)(?![A-Za-z])"
)
"""What a computer algebra system may read; anything else would be read as something else."""
_MATRICES = ("pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array")
_RELATIONS = ("=", "<", ">", "le", "ge", "ne", "in", "approx")
_JOINED = ("or", "and")
_REALS = (("all", "real", "numbers"), ("all", "reals"), ("any", "real", "number"), ("all", "real", "number"))
_DENIALS = frozenset({"not", "never", "no", "isn", "neither", "nor", "false", "wrong"})


@lru_cache(maxsize=16384)
def read_answer(text: str, equations: bool = False) -> Answer | None:
    """Return the answer that a text is, None for what is no value of any type.

    `equations` keeps a single `left = right` as an equation; else what stands last is the value of what stands before.
    """
    if len(text) > LONGEST or INVISIBLE.search(text):
        return None
    if re.search(r"[A-Za-z]{2}|:|[0-9]{4}-", text) and (when := moment(bare(text).lower())) is not None:
        return When(when)
    stream = tokens(text)
    try:
        answer = _read(stream, equations) if stream else None
    except (Unreadable, IndexError):
        answer = None
    if answer is None and _ALGEBRA.search(text):
        return Algebra(plain(text))
    if answer is None and (words := words_of(text)) and is_prose(words):
        if words in _REALS:
            return _everything()
        counted = count_in_words(words)
        return Text(words) if counted is None else Value(rational(counted))
    return answer


# --- the parts of an answer


def _read(found: Tokens, equations: bool = False) -> Answer | None:
    if found[0].kind == "text" and len(found) > 1 and found[0].text.endswith(":"):
        return _read(found[1:], equations)
    found = without_braces(found)
    parts = split(found, ("cup",))
    if len(parts) > 1:
        return _union(parts)
    parts = _alternatives(found)
    if len(parts) > 1 and re.fullmatch(r"\w+ in mathbb \{ [ZNRQ] \}", " ".join(token.text for token in parts[-1])):
        return _read(found[: -len(parts[-1]) - 1])  # x = 2k\pi, k \in \mathbb{Z}
    related = [part for part in parts if len(split(part, _RELATIONS)) > 1]
    if len(parts) > 1 and (len(related) > 1 or (related and related[0] is not parts[0])):
        return _several([_read(part) for part in parts], found)
    sides = split(found, _RELATIONS)
    if len(sides) > 1:
        return _related(found, sides, equations)
    if len(parts) > 1:
        items = tuple(_read(part) for part in parts)
        return _several(items, found)
    return _whole(found)


def _alternatives(found: Tokens) -> list[list[Token]]:
    """Return the members of a list without brackets: between commas, semicolons, `and` and `or`."""
    parts = [part for each in split(found, (",", ";")) for part in split(each, _JOINED)]
    return [part for part in parts if part] if len(parts) > 1 else parts


def _several(items: Sequence[Answer | None], found: Tokens) -> Answer | None:
    if any(item is None for item in items):
        return None
    members = [item for item in items if item is not None]
    if any(isinstance(item, Spans) for item in members):
        if all(isinstance(item, Spans) for item in members) and len(split(found, ("or",))) == len(members):
            return Spans(tuple(span for item in members if isinstance(item, Spans) for span in item.spans))
        return None
    return _compound(members) or Items(tuple(part for item in members for part in _members(item)))


def _members(answer: Answer) -> tuple[Answer, ...]:
    """Return what a list has of one item: a +- stands for two."""
    return answer.items if isinstance(answer, Items) and not answer.brackets else (answer,)


def _union(parts: Sequence[Tokens]) -> Answer | None:
    spans: list[Span] = []
    for part in parts:
        piece = as_spans(_read(part))
        if piece is None:
            return None
        spans += piece.spans
    return Spans(tuple(spans))


def _related(found: Tokens, sides: Sequence[Tokens], equations: bool) -> Answer | None:
    signs = separators_in(found, _RELATIONS)
    if all(sign in ("=", "approx") for sign in signs):
        return _equated(sides, equations)
    if signs == ["in"]:
        inside = _read(sides[1]) if sides[0] and _is_name(sides[0], 0) else None
        return as_spans(inside) or inside
    if signs == ["ne"]:
        if not sides[0] or not (point := _formula(sides[1])):
            return None
        return Spans((Span(Node("-", (INFINITY,)), point, (False, False)), Span(point, INFINITY, (False, False))))
    return _inequality(sides, signs)


def _inequality(sides: Sequence[Tokens], signs: Sequence[str]) -> Spans | None:
    """Return the interval of `x < 5`, `5 > x` or `0 < x <= 5`; None for what is not solved for a variable."""
    nodes = [_formula(side) for side in sides]
    if any(sign not in ("<", ">", "le", "ge") for sign in signs) or any(node is None for node in nodes):
        return None
    parts = [node for node in nodes if node is not None]
    if len({sign in ("<", "le") for sign in signs}) > 1:
        return None
    if signs[0] in (">", "ge"):
        parts, signs = parts[::-1], signs[::-1]
    closed = [sign in ("le", "ge") for sign in signs]
    bare = [node.op == "variable" for node in parts]
    if len(parts) == 3 and bare[1]:
        return Spans((Span(parts[0], parts[2], (closed[0], closed[1])),))
    if len(parts) == 2 and bare[0] != bare[1]:
        if bare[0]:
            return Spans((Span(Node("-", (INFINITY,)), parts[1], (False, closed[0])),))
        return Spans((Span(parts[0], INFINITY, (closed[0], False)),))
    return None


def _equated(sides: Sequence[Tokens], equations: bool) -> Answer | None:
    """Return what `left = right` is: an equation, or the value of a name; None where values before the last differ."""
    if not sides[-1] or (not sides[0] and len(sides) > 2):
        return None
    if equations and len(sides) == 2:
        nodes = [_formula(side) for side in sides]
        if nodes[0] is not None and nodes[1] is not None and not _names(sides[0], nodes[0], nodes[1]):
            return Equation(nodes[0], nodes[1])
    answer = _read(sides[-1])
    last = answer.node if isinstance(answer, Value) else None
    for i, side in enumerate(sides[:-1]):
        if side and not (_is_name(side, i) or (last is not None and _is_value(side, last))):
            return None
    name = sides[0][0].text if len(sides[0]) == 1 and sides[0][0].kind == "letters" else ""
    return replace(answer, name=name) if isinstance(answer, Value) and name else answer


def _names(side: Tokens, left: Node, right: Node) -> bool:
    """Return whether the left side is but a name for the right one: `x` of `x = 5`, `f(x)` of `f(x) = 2x`."""
    call = len(side) == 4 and side[0].kind == "letters" and side[1].text == "(" and side[2].kind == "letters"
    return call or (left.op == "variable" and not variables(right))


def _is_value(side: Tokens, last: Node) -> bool:
    """Return whether a side before the last is the same value."""
    value = _read_or_none(side)
    return isinstance(value, Value) and equal(value.node, last) is True


def _is_name(side: Tokens, place: int) -> bool:
    """Return whether a side before the last names what stands there: `x`, `f(x)`, `p - q`, `\\text{total}`.

    It has letters, denies nothing, and, unless it is the first, does not run on from the value before it: `5 x`.
    """
    words = {word for token in side if token.kind in ("text", "letters") for word in token.text.lower().split()}
    if words & _DENIALS or any(token.text == "begin" for token in side):
        return False
    if place and side[0].kind == "number" and len(side) > 1 and side[1].gap:
        return False
    value = _read_or_none(side)
    named = value is None or (isinstance(value, Value) and bool(variables(value.node))) or isinstance(value, Option)
    return named and bool(words - {"e", "i", "pi", "sqrt"})


def _read_or_none(found: Tokens) -> Answer | None:
    try:
        return _read(found)
    except (Unreadable, IndexError):
        return None


def _whole(found: Tokens) -> Answer | None:
    """Read tokens that no comma, relation or union divides."""
    if not found:
        return None
    found = without_braces(found)
    if len(terms := split(found, (":",))) > 1:
        return _ratio(terms)
    if len(found) == 1 and found[0].text == "emptyset":
        return Items((), "{}")
    if [t.text for t in found] in (["mathbb", "{", "R", "}"], ["mathbb", "R"], ["reals"], ["R"]) and found[
        0
    ].kind == "command":
        return _everything()
    if any(token.text == "begin" for token in found):
        return _matrix(found)
    if found[0].text in PAIRS and closes(found, 0) == len(found) - 1:
        inner = found[1:-1]
        parts = split(inner, (",", ";"))
        if len(parts) > 1 or found[0].text in ("\\{", "langle") or (found[0].text == "[" and _is_matrix(parts)):
            return _bracketed(found[0].text, found[-1].text, parts)
    return _value(found)


def _everything() -> Spans:
    return Spans((Span(Node("-", (INFINITY,)), INFINITY, (False, False)),))


def _ratio(terms: Sequence[Tokens]) -> Answer | None:
    """Return `3:2` as 3/2, `1:2:3` as a tuple."""
    nodes = [_formula(term) for term in terms]
    sides = [node for node in nodes if node is not None]
    if len(sides) < len(nodes):
        return None
    return Value(Node("/", (sides[0], sides[1]))) if len(sides) == 2 else Items(tuple(map(Value, sides)), "()")


def _is_matrix(parts: Sequence[Tokens]) -> bool:
    return all(part and part[0].text == "[" for part in parts)


def _bracketed(opening: str, closing: str, parts: Sequence[Tokens]) -> Answer | None:
    """Return the tuple, set, interval or matrix between brackets."""
    if parts == [[]]:
        return Items((), "{}") if opening == "\\{" else None
    items = [_read(part) if part else None for part in parts]
    if any(item is None for item in items):
        return None
    members = [member for item in items if item is not None for member in _members(item)]
    if opening == "[" and all(isinstance(item, Items) and item.brackets == "[]" for item in members):
        rows = tuple(item.items for item in members if isinstance(item, Items))
        return Matrix(rows) if len(set(map(len, rows))) == 1 else None
    endless = any(isinstance(item, Value) and any(n.name == "inf" for n in item.node.walk()) for item in members)
    ends = [item.node for item in members if isinstance(item, Value)]
    if opening in "([" and len(ends) == len(members) == 2 and (endless or opening + closing not in ("()", "[]")):
        return Spans((Span(ends[0], ends[1], (opening == "[", closing == "]")),))
    if opening == "\\{":
        return Items(tuple(members), "{}") if closing == "\\}" else None
    if opening + closing in ("()", "[]") or opening == "langle":
        return Items(tuple(members), "[]" if opening == "[" else "()")
    return None


def _matrix(found: Tokens) -> Answer | None:
    """Return the matrix of a TeX environment, a factor before it multiplied in; None for any other environment."""
    begin = next(i for i, token in enumerate(found) if token.text == "begin")
    end = max((i for i, token in enumerate(found) if token.text == "end"), default=-1)
    if (
        end < 0
        or [t.text for t in found[begin + 1 : begin + 4 : 2]] != ["{", "}"]
        or found[begin + 2].text not in _MATRICES
    ):
        return None
    before, after = list(found[:begin]), list(found[end + 4 :])
    if before and after and before[-1].text in ("(", "[") and after[0].text in (")", "]"):
        before, after = before[:-1], after[1:]
    start = begin + 4
    if found[begin + 2].text == "array" and found[start].text == "{":
        start = closes(found, start) + 1
    rows = [split(row, ("&",)) for row in split(found[start:end], ("\\",))]
    rows = [row for row in rows if any(row)]
    factor = _formula(before) if before else None
    if after or not rows or len(set(map(len, rows))) > 1 or (before and factor is None):
        return None
    entries = [[_read(cell) if cell else None for cell in row] for row in rows]
    if any(entry is None for row in entries for entry in row):
        return None
    return Matrix(tuple(tuple(_scaled(factor, entry) for entry in row if entry is not None) for row in entries))


def _scaled(factor: Node | None, entry: Answer) -> Answer:
    return (
        replace(entry, node=Node("*", (factor, entry.node)))
        if factor is not None and isinstance(entry, Value)
        else entry
    )


# --- numbers and formulas


def _formula(found: Tokens) -> Node | None:
    """Return the formula that all of the tokens are, None where they are none."""
    try:
        parser = Parser(without_braces(found))
        node = parser.sum()
    except (Unreadable, IndexError):
        return None
    return node if parser.done else None


def _value(found: Tokens) -> Answer | None:
    """Return a number or formula with its unit; of one with +- the list of both values."""
    found, sign = list(found), ""
    at = 1 if found[0].text == "-" else 0
    if at < len(found) and found[at].text in units.MONEY:
        sign = found.pop(at).text
    if not found:
        return None
    parser = Parser(found)
    node = parser.sum()
    unit = units.after(found[parser.at :] if parser.tokens == found else parser.tokens[parser.at :])
    if unit is None:
        return _compound(_measured(found))
    others: tuple[Node, ...] = ()
    if parser.loose:
        tight = Parser(found, tight=True)
        others = (tight.sum(),)
    value = Value(node, unit.unit or units.MONEY.get(sign), unit.percent, others=others)
    if unit.times != 1:
        value = replace(value, node=Node("*", (rational(unit.times), node)))
    outer = value.node.args[0] if value.node.op == "-" else value.node
    if outer.op in ("percent", "degree"):  # a sign at the end is a unit
        inner = outer.args[0] if outer is value.node else Node("-", outer.args)
        percent = outer.op == "percent"
        value = replace(value, node=inner, percent=percent, unit=value.unit if percent else units.DEGREES)
    signs = [each for each in value.node.walk() if each.op in ("pm", "mp")]
    if not signs:
        return value
    if len(signs) > 4:
        return None
    return Items(tuple(replace(value, node=_signed(value.node, upper)) for upper in (True, False)))


def _measured(found: Tokens) -> list[Answer]:
    """Return the values of `2 hours 30 minutes`, each with its unit; [] where they are none."""
    starts = [i for i, token in enumerate(found) if token.kind == "number" and (not i or found[i - 1].kind != "sign")]
    parts = (
        [found[a:b] for a, b in zip(starts, [*starts[1:], len(found)])] if starts[:1] == [0] and len(starts) > 1 else []
    )
    values = [_read_or_none(part) for part in parts]
    return [value for value in values if value is not None] if None not in values else []


def _compound(parts: Sequence[Answer]) -> Value | None:
    """Return the sum of a quantity in several units of one kind, the largest first; None for anything else."""
    values = [part for part in parts if isinstance(part, Value) and part.unit is not None and part.unit.known]
    measures = [value.unit for value in values if value.unit is not None]
    factors = [unit.factor for unit in measures]
    if len(parts) < 2 or len(values) < len(parts) or len({unit.kinds for unit in measures}) > 1:
        return None
    if factors != sorted(set(factors), reverse=True):
        return None
    node = values[0].node
    for value, factor, last in zip(values[1:], factors[1:], factors):
        node = Node("+", (Node("*", (rational(last / factor), node)), value.node))
    return Value(node, measures[-1])


def _signed(node: Node, upper: bool) -> Node:
    """Return a formula with the upper or the lower sign of its every +-."""
    args = tuple(_signed(arg, upper) for arg in node.args)
    if node.op not in ("pm", "mp"):
        return replace(node, args=args)
    second = args[1] if (node.op == "pm") is upper else Node("-", (args[1],))
    return second if args[0] == rational(0) else Node("+", (args[0], second))


_READINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"(-?[0-9]+),([0-9]+)"), lambda m: f"{m[1]}.{m[2]}"),
    (
        re.compile(r"(-?[0-9]{1,3}(?:\.[0-9]{3})+)(?:,([0-9]+))?"),
        lambda m: m[1].replace(".", "") + (f".{m[2]}" if m[2] else ""),
    ),
    (
        re.compile(r"(-?[0-9]{1,3}(?:[, _]|\\[ ,])(?:[0-9]{2,3}(?:[, _]|\\[ ,]))*[0-9]{3})"),
        lambda m: re.sub(r"[^0-9-]", "", m[1]),
    ),
    (re.compile(r"(-?[0-9]*\.[0-9]*)\(([0-9]+)\)"), lambda m: f"{m[1]}\\overline{{{m[2]}}}"),
)


def other_readings(text: str) -> list[Value]:
    """Return other numbers that a number's spelling may mean: decimal commas, points or spaces that group digits.

    `3,5` may be 3.5, `1.234` may be 1234, `12,34,567` and `1_000` are grouped otherwise than in threes or by a comma.
    """
    text = re.sub(r"\{,\}", ",", plain(text)).strip(" $%")
    readings = [
        read_answer(write(match)) for pattern, write in _READINGS if (match := pattern.fullmatch(text)) is not None
    ]
    return [value for value in readings if isinstance(value, Value)]
