"""Numbers and formulas with their units: the quantity that tokens are, and other readings of a number's spelling."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from goldpanner.verify import units
from goldpanner.verify.answers import Answer, Items, Value
from goldpanner.verify.formula import Node, Parser, Unreadable, rational
from goldpanner.verify.tex import Token, plain, tokens, without_braces

Tokens = Sequence[Token]


def formula_of(stream: Tokens) -> Node | None:
    """Return the formula that all of the tokens are, None where they are none."""
    try:
        parser = Parser(without_braces(stream))
        node = parser.sum()
    except (Unreadable, IndexError):
        return None
    return node if parser.done else None


def quantity(stream: Tokens) -> Answer | None:
    """Return a number or formula with its unit; of one with +- the list of both values."""
    stream, sign = list(stream), ""
    if len(stream) > 1 and stream[-1].text == "ldots" and "." in stream[-2].text:
        stream.pop()  # 0.333...: a decimal that goes on
    at = 1 if stream[0].text == "-" else 0
    if at < len(stream) and stream[at].text in units.MONEY:
        sign = stream.pop(at).text
    if not stream:
        return None
    parser = Parser(stream)
    node = parser.sum()
    rest = units.after(stream[parser.at :] if parser.tokens == stream else parser.tokens[parser.at :])
    if rest is None:
        return compound(_measured(stream))
    others: tuple[Node, ...] = ()
    if parser.loose:
        tight = Parser(stream, tight=True)
        others = (tight.sum(),)
    value = Value(node, rest.unit or units.MONEY.get(sign), rest.percent, others=others)
    if rest.times != 1:
        value = replace(value, node=Node("*", (rational(rest.times), node)))
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


def _quantity_or_none(stream: Tokens) -> Answer | None:
    try:
        return quantity(stream) if stream else None
    except (Unreadable, IndexError):
        return None


def _measured(stream: Tokens) -> list[Answer]:
    """Return the values of `2 hours 30 minutes`, each with its unit; [] where they are none."""
    starts = [i for i, token in enumerate(stream) if token.kind == "number" and (not i or stream[i - 1].kind != "sign")]
    if starts[:1] != [0] or len(starts) < 2:
        return []
    parts = [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)])]
    values = [_quantity_or_none(part) for part in parts]
    return [value for value in values if value is not None] if None not in values else []


def compound(parts: Sequence[Answer]) -> Value | None:
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
    matches = [(pattern.fullmatch(text), write) for pattern, write in _READINGS]
    values = [_quantity_or_none(tokens(write(match))) for match, write in matches if match is not None]
    return [value for value in values if isinstance(value, Value)]
