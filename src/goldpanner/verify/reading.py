"""Reading: from the text of an answer to its type and value. Linear in the text, but for its deepest brackets."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

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
from goldpanner.verify.formula import Node, Unreadable, rational, variables
from goldpanner.verify.quantities import compound, formula_of, quantity
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
    except (Unreadable, IndexError, RecursionError):
        answer = None
    if answer is None and _ALGEBRA.search(text):
        return Algebra(plain(text))
    if answer is None and (words := words_of(text)) and is_prose(words):
        if words in _REALS:
            return _everything()
        count = count_in_words(words)
        return Text(words) if count is None else Value(rational(count))
    return answer


# --- the parts of an answer


def _read(stream: Tokens, equations: bool = False) -> Answer | None:
    if stream[0].kind == "text" and len(stream) > 1 and stream[0].text.endswith(":"):
        return _read(stream[1:], equations)
    stream = without_braces(stream)
    parts = split(stream, ("cup",))
    if len(parts) > 1:
        return _union(parts)
    parts = _alternatives(stream)
    if len(parts) > 1 and re.fullmatch(r"\w+ in mathbb \{ [ZNRQ] \}", " ".join(token.text for token in parts[-1])):
        return _read(stream[: -len(parts[-1]) - 1])  # x = 2k\pi, k \in \mathbb{Z}
    related = [part for part in parts if len(split(part, _RELATIONS)) > 1]
    if len(parts) > 1 and (len(related) > 1 or (related and related[0] is not parts[0])):
        return _several([_read(part) for part in parts], stream)
    sides = split(stream, _RELATIONS)
    if len(sides) > 1:
        return _related(stream, sides, equations)
    if len(parts) > 1:
        items = tuple(_read(part) for part in parts)
        return _several(items, stream)
    return _whole(stream)


def _alternatives(stream: Tokens) -> list[list[Token]]:
    """Return the members of a list without brackets: between commas, semicolons, `and` and `or`."""
    parts = [part for each in split(stream, (",", ";")) for part in split(each, _JOINED)]
    return [part for part in parts if part] if len(parts) > 1 else parts


def _several(items: Sequence[Answer | None], stream: Tokens) -> Answer | None:
    if any(item is None for item in items):
        return None
    members = [item for item in items if item is not None]
    if any(isinstance(item, Spans) for item in members):
        if all(isinstance(item, Spans) for item in members) and len(split(stream, ("or",))) == len(members):
            return Spans(tuple(span for item in members if isinstance(item, Spans) for span in item.spans))
        return None
    return compound(members) or Items(tuple(part for item in members for part in _members(item)))


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


def _related(stream: Tokens, sides: Sequence[Tokens], equations: bool) -> Answer | None:
    signs = separators_in(stream, _RELATIONS)
    if all(sign in ("=", "approx") for sign in signs):
        return _equated(sides, equations)
    if signs == ["in"]:
        inside = _read(sides[1]) if sides[0] and _is_name(sides[0], 0) else None
        return as_spans(inside) or inside
    if signs == ["ne"]:
        if not sides[0] or not (point := formula_of(sides[1])):
            return None
        return Spans((Span(Node("-", (INFINITY,)), point, (False, False)), Span(point, INFINITY, (False, False))))
    return _inequality(sides, signs)


def _inequality(sides: Sequence[Tokens], signs: Sequence[str]) -> Spans | None:
    """Return the interval of `x < 5`, `5 > x` or `0 < x <= 5`; None for what is not solved for a variable."""
    nodes = [formula_of(side) for side in sides]
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
        nodes = [formula_of(side) for side in sides]
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


def _read_or_none(stream: Tokens) -> Answer | None:
    try:
        return _read(stream)
    except (Unreadable, IndexError):
        return None


def _whole(stream: Tokens) -> Answer | None:
    """Read tokens that no comma, relation or union divides."""
    if not stream:
        return None
    stream = without_braces(stream)
    if len(terms := split(stream, (":",))) > 1:
        return _ratio(terms)
    if len(stream) == 1 and stream[0].text == "emptyset":
        return Items((), "{}")
    if [t.text for t in stream] in (["mathbb", "{", "R", "}"], ["mathbb", "R"], ["reals"], ["R"]) and stream[
        0
    ].kind == "command":
        return _everything()
    if any(token.text == "begin" for token in stream):
        return _matrix(stream)
    if stream[0].text in PAIRS and closes(stream, 0) == len(stream) - 1:
        inner = stream[1:-1]
        parts = split(inner, (",", ";"))
        if len(parts) > 1 or stream[0].text in ("\\{", "langle") or (stream[0].text == "[" and _is_matrix(parts)):
            return _bracketed(stream[0].text, stream[-1].text, parts)
    return quantity(stream)


def _everything() -> Spans:
    return Spans((Span(Node("-", (INFINITY,)), INFINITY, (False, False)),))


def _ratio(terms: Sequence[Tokens]) -> Answer | None:
    """Return `3:2` as 3/2, `1:2:3` as a tuple."""
    nodes = [formula_of(term) for term in terms]
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


def _matrix(stream: Tokens) -> Answer | None:
    """Return the matrix of a TeX environment, a factor before it multiplied in; None for any other environment."""
    begin = next(i for i, token in enumerate(stream) if token.text == "begin")
    end = max((i for i, token in enumerate(stream) if token.text == "end"), default=-1)
    if (
        end < 0
        or [t.text for t in stream[begin + 1 : begin + 4 : 2]] != ["{", "}"]
        or stream[begin + 2].text not in _MATRICES
    ):
        return None
    before, after = list(stream[:begin]), list(stream[end + 4 :])
    if before and after and before[-1].text in ("(", "[") and after[0].text in (")", "]"):
        before, after = before[:-1], after[1:]
    start = begin + 4
    if stream[begin + 2].text == "array" and stream[start].text == "{":
        start = closes(stream, start) + 1
    rows = [split(row, ("&",)) for row in split(stream[start:end], ("\\",))]
    rows = [row for row in rows if any(row)]
    factor = formula_of(before) if before else None
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
