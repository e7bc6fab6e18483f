"""Whether two formulas are equal: exactly where they are rational, else numerically at several points.

A difference counts only where it is shown: far above what the arithmetic itself may err, at every kind of point.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from typing import Any

from goldpanner.verify.formula import Node, variables
from goldpanner.verify.tex import FUNCTIONS

DIGITS = 50
"""Decimal digits of a numeric value; a second one with half of them shows how far it may be wrong."""
_BITS = 40_000
"""Size of a number that is computed exactly at most."""


class Undefined(Exception):
    """A formula has no value there: a division by zero, a function that is not known."""


class TooLarge(Undefined):
    """A value on the way is beyond all bounds."""


# --- exactly


def exact_value(node: Node) -> Fraction | None:
    """Return the value of a formula without variables where it is rational and this shows it; else None."""
    return node.value if node.op in ("number", "based") else _rational(node)


@lru_cache(maxsize=65536)
def _rational(node: Node) -> Fraction | None:
    try:
        return _exact(node)
    except (Undefined, ZeroDivisionError, OverflowError):
        return None


def _exact(node: Node) -> Fraction:
    if node.op in ("number", "based"):
        return node.value
    if node.op in ("variable", "constant"):
        raise Undefined
    args = [_exact(arg) for arg in node.args]
    match node.op:
        case "+":
            return _bounded(args[0] + args[1])
        case "-":
            return -args[0]
        case "*":
            return _bounded(args[0] * args[1])
        case "/":
            return _bounded(args[0] / args[1])
        case "percent":
            return args[0] / 100
        case "^":
            return _power(args[0], args[1])
        case "root":
            return _root(args[0], args[1])
        case "!" if args[0].denominator == 1 and 0 <= args[0] <= 1000:
            return Fraction(math.factorial(int(args[0])))
        case "call":
            return _called(node.name, args)
    raise Undefined


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > _BITS:
        raise Undefined
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _root(_power(base, Fraction(exponent.numerator)), Fraction(exponent.denominator))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * max(bits - 1, 1) > _BITS and abs(base) not in (0, 1):
        raise Undefined
    return Fraction(base ** int(exponent))


def _root(value: Fraction, degree: Fraction) -> Fraction:
    n = int(degree)
    if degree.denominator != 1 or not 2 <= n <= 64 or (value < 0 and n % 2 == 0):
        raise Undefined
    above, below = (_whole_root(abs(part), n) for part in (value.numerator, value.denominator))
    if above**n != abs(value.numerator) or below**n != value.denominator:
        raise Undefined
    return Fraction(above, below) * (-1 if value < 0 else 1)


def _whole_root(value: int, n: int) -> int:
    """Return the integer n-th root, rounded down, by Newton's method."""
    root = 1 << -(-value.bit_length() // n)
    while (lower := ((n - 1) * root + value // root ** (n - 1)) // n) < root:
        root = lower
    return root


def _called(name: str, args: Sequence[Fraction]) -> Fraction:
    whole = all(arg.denominator == 1 for arg in args)
    match name:
        case "abs":
            return abs(args[0])
        case "floor" | "ceil":
            return Fraction(math.floor(args[0]) if name == "floor" else math.ceil(args[0]))
        case "max" | "min":
            return max(args) if name == "max" else min(args)
        case "gcd" | "lcm" if whole:
            return Fraction((math.gcd if name == "gcd" else math.lcm)(*map(int, args)))
        case "binom" if whole and len(args) == 2 and 0 <= args[0] <= 1000 and args[1] >= 0:
            return Fraction(math.comb(int(args[0]), int(args[1])))
    raise Undefined


# --- numerically

_contexts = threading.local()


def _context(digits: int) -> Any:
    """Return this thread's arithmetic of so many digits (mpmath, which has no types)."""
    contexts: dict[int, Any] = _contexts.__dict__.setdefault("known", {})
    if digits not in contexts:
        contexts[digits] = import_module("mpmath").ctx_mp.MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


def value_at(node: Node, point: Mapping[str, Fraction], digits: int, logarithm: int = 10) -> Any:
    """Return a formula's value at a point, with about so many digits. Raises Undefined.

    `logarithm` is the base of a log that names none; 0 stands for e.
    """
    ctx = _context(digits)
    try:
        value = _value(node, {name: _number(ctx, at) for name, at in point.items()}, ctx, logarithm)
    except _ERRORS as error:
        raise Undefined(str(error)) from None
    if not ctx.isfinite(value):
        raise Undefined("no finite value")
    return value


_ERRORS = (ZeroDivisionError, ValueError, OverflowError, TypeError, NotImplementedError)


def _number(ctx: Any, rational: Fraction) -> Any:
    return ctx.mpf(rational.numerator) / rational.denominator


def _value(node: Node, point: Mapping[str, Any], ctx: Any, logarithm: int) -> Any:
    if node.op in ("number", "based"):
        return _number(ctx, node.value)
    if node.op == "variable":
        return point[node.name]
    if node.op == "constant":
        if node.name == "inf":
            raise TooLarge("an infinity in a formula")
        return {"pi": ctx.pi, "e": ctx.e, "i": ctx.j}[node.name] * 1
    args = [_value(arg, point, ctx, logarithm) for arg in node.args]
    match node.op:
        case "+":
            return args[0] + args[1]
        case "-":
            return -args[0]
        case "*":
            return args[0] * args[1]
        case "/":
            return args[0] / args[1]
        case "^":
            return _raised(ctx, args[0], args[1])
        case "percent":
            return args[0] / 100
        case "degree":
            return args[0] * ctx.pi / 180
        case "root":
            return _rooted(ctx, args[0], args[1])
        case "!":
            _small(ctx, args[0], 2**40)
            return ctx.gamma(args[0] + 1)
        case "call":
            return _applied(ctx, node.name, args, logarithm)
    raise Undefined(node.op)


def _small(ctx: Any, argument: Any, most: float) -> None:
    if not abs(argument) <= most:
        raise TooLarge("a number beyond all bounds")


def _raised(ctx: Any, base: Any, exponent: Any) -> Any:
    if base != 0:
        _small(ctx, exponent * ctx.log(abs(base)), 2.0**80)
    return ctx.power(base, exponent)


def _rooted(ctx: Any, argument: Any, degree: Any) -> Any:
    if ctx.im(argument) == 0 and ctx.re(argument) < 0 and ctx.isint(degree) and int(degree) % 2:
        return -ctx.root(-ctx.re(argument), int(degree))
    return ctx.sqrt(argument) if degree == 2 else _raised(ctx, argument, 1 / degree)


def _applied(ctx: Any, name: str, args: Sequence[Any], logarithm: int) -> Any:
    first = args[0]
    if name in ("log", "ln"):
        base = args[1] if len(args) > 1 else (logarithm if name == "log" else 0)
        return ctx.log(first) / ctx.log(base) if base else ctx.log(first)
    if name in ("exp", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc"):
        _small(ctx, first, 2.0**40)
    simple = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "fabs"}
    if len(args) == 1 and name in FUNCTIONS and name not in ("gcd", "lcm", "max", "min"):
        return getattr(ctx, simple.get(name, name))(first)
    if name == "binom" and len(args) == 2:
        _small(ctx, first, 2.0**40)
        return ctx.binomial(*args)
    if name in ("max", "min") and not any(map(ctx.im, args)):
        return (max if name == "max" else min)(args)
    raise Undefined(name)


# --- comparing

_SEEDS = (0.7391, 1.3247, 0.4142, 1.6180, 0.5671, 1.2020, 0.9159, 1.4513, 0.6434, 1.7632, 0.2614, 1.1865)
"""Irregular positive numbers: no identity that is not one holds at them."""
POSITIVE: tuple[Callable[[int], Fraction], ...] = (
    lambda i: Fraction(_SEEDS[i % 12]) + Fraction(i, 7919),
    lambda i: 1 + Fraction(_SEEDS[(i + 5) % 12]) * Fraction(17, 13) + Fraction(i, 6007),
    lambda i: Fraction(_SEEDS[(i + 3) % 12]) * Fraction(5, 31) + Fraction(i, 9973),
)
NEGATIVE: tuple[Callable[[int], Fraction], ...] = (
    lambda i: -POSITIVE[0](i + 1) * Fraction(11, 7),
    lambda i: -POSITIVE[1](i + 1) * Fraction(11, 7),
)
_WHOLE = ((2, 3, 5, 7), (7, 4, 3, 6), (3, 8, 2, 5))
WHOLE = tuple((lambda i, row=row: Fraction(row[i % 4] + i // 4)) for row in _WHOLE)


def relation(one: Node, other: Node, point: Mapping[str, Fraction], logarithm: int = 10) -> bool | None:
    """Return whether two formulas are equal at a point; None where the arithmetic is too coarse to say.

    Both are computed twice, with 50 and with 25 digits: the change bounds what each may be wrong by. Raises Undefined.
    """
    fine = [value_at(node, point, DIGITS, logarithm) for node in (one, other)]
    coarse = [value_at(node, point, DIGITS // 2, logarithm) for node in (one, other)]
    gap = abs(fine[0] - fine[1])
    size = max(map(abs, fine))
    if gap == 0:
        return True
    error = sum(abs(a - b) for a, b in zip(fine, coarse))
    if gap <= error * 10 ** (5 - DIGITS // 2) + size * 10 ** (5 - DIGITS):
        return True
    return False if gap > 1000 * error + size * 10 ** (-DIGITS // 2) else None


def equal(one: Node, other: Node) -> bool | None:
    """Return whether two formulas are equal, None where that is not decided.

    Rational values are compared exactly. Others must agree at positive and at negative points; they differ if they do
    so at positive points and at whole ones: `(-1)^n` and `cos(n pi)` agree at whole ones alone, `sqrt(x^2)` and `x` at
    positive ones.
    """
    values = exact_value(one), exact_value(other)
    if values[0] is not None and values[1] is not None:
        return values[0] == values[1]
    ends = _infinite(one), _infinite(other)
    if one == other or any(ends):
        return one == other or ends[0] == ends[1]
    logs = any(
        each.op == "call" and each.name == "log" and len(each.args) == 1 for n in (one, other) for each in n.walk()
    )
    results = {_at_points(one, other, base) for base in ((10, 0) if logs else (10,))}
    return results.pop() if len(results) == 1 else None


def beyond(node: Node) -> bool:
    """Return whether a formula is beyond all bounds: `9^{9^{9^9}}`."""
    try:
        value_at(node, {name: POSITIVE[0](i) for i, name in enumerate(sorted(variables(node)))}, DIGITS)
    except TooLarge:
        return True
    except Undefined:
        return False
    return False


def _infinite(node: Node) -> int:
    """Return 1 or -1 for what is written as an infinity, else 0."""
    sign, inner = (-1, node.args[0]) if node.op == "-" else (1, node)
    return sign if inner.op == "constant" and inner.name == "inf" else 0


def _at_points(one: Node, other: Node, logarithm: int) -> bool | None:
    names = sorted(variables(one) | variables(other))

    def relations(kinds: Sequence[Callable[[int], Fraction]]) -> list[bool | None]:
        results: list[bool | None] = []
        for at in kinds[: len(kinds) if names else 1]:
            try:
                results.append(relation(one, other, {name: at(i) for i, name in enumerate(names)}, logarithm))
            except Undefined:
                continue
        return results

    positive = relations(POSITIVE)
    if not positive or None in positive:
        return None
    if all(positive):
        return True if not names or all(relations(NEGATIVE)) else None
    if not names:
        return False
    whole = relations(WHOLE)
    if whole and all(each is True for each in whole):
        return None
    return False


def renamed(one: Node, other: Node) -> bool:
    """Return whether formulas of other variables are equal once these have the same names, and more than a name."""
    names, others = sorted(variables(one)), sorted(variables(other))
    if names == others or len(names) != len(others) or "variable" in (one.op, other.op):
        return False
    return _at_points(one, _with_names(other, dict(zip(others, names))), 10) is True


def _with_names(node: Node, names: Mapping[str, str]) -> Node:
    if node.op == "variable":
        return replace(node, name=names[node.name])
    return replace(node, args=tuple(_with_names(arg, names) for arg in node.args))


def _real(node: Node) -> Fraction | None:
    """Return a real value without variables, to 50 digits if it is not rational; None where it is none, or too long
    to be written out.
    """
    if (rational := exact_value(node)) is not None:
        return rational
    try:
        value = value_at(node, {}, DIGITS)
    except (Undefined, KeyError):
        return None
    ctx, real = _context(DIGITS), value.real
    if value.imag or (real and abs(ctx.mag(real)) > _BITS):
        return None
    return Fraction(ctx.nstr(real, DIGITS))


def close(expected: Node, answer: Node, tolerance: float) -> bool:
    """Return whether real values are equal within a relative tolerance."""
    one, other = _real(expected), _real(answer)
    return one is not None and other is not None and abs(one - other) <= Fraction(tolerance) * abs(one)


def rounds_to(precise: Node, rounded: Node, places: int) -> bool:
    """Return whether a decimal number is a value rounded to, or cut after, so many places after the point."""
    one, other = _real(precise), _real(rounded)
    if one is None or other is None or (one > 0) != (other > 0):
        return False
    unit = Fraction(1, 10**places)
    return -unit / 2 <= abs(one) - abs(other) < unit


# --- curves


def vanishes_on(curve: Node, other: Node) -> bool | None:
    """Return whether `other` is 0 wherever `curve` is; None where no points of the curve can be computed.

    Points are found where `curve` is of degree 2 at most in some variable: the others are set, and it is solved for it.
    All such variables are taken in turn: of several branches, one may hold no point for some of them.
    """
    along = [[_vanishes(curve, other, name, at) for at in POSITIVE] for name in sorted(variables(curve))]
    decided = [all(results) for results in along if None not in results]
    return all(decided) if decided else None


def _vanishes(curve: Node, other: Node, name: str, at: Callable[[int], Fraction]) -> bool | None:
    ctx = _context(DIGITS)
    names = sorted(variables(curve) | variables(other))
    point = {each: _number(ctx, at(i)) for i, each in enumerate(names)}

    def along(node: Node, x: Any) -> Any:
        return _value(node, {**point, name: x}, ctx, 10)

    try:
        y = [along(curve, ctx.mpf(x)) for x in (-1, 0, 1, 2, 3)]
        a, b, c = (y[2] + y[0] - 2 * y[1]) / 2, (y[2] - y[0]) / 2, y[1]
        tiny = max(map(abs, y)) * 10 ** (10 - DIGITS)
        if any(abs(a * x * x + b * x + c - y[x + 1]) > tiny for x in (2, 3)) or max(abs(a), abs(b)) <= tiny:
            return None
        root = ctx.sqrt(b * b - 4 * a * c)
        roots = [-c / b] if abs(a) <= tiny else [(-b + root) / (2 * a), (-b - root) / (2 * a)]
        size = max(abs(along(other, ctx.mpf(x))) for x in (-1, 0, 1, 2))
        return all(abs(along(other, x)) <= size * 10 ** (15 - DIGITS) * (1 + abs(x)) ** 4 for x in roots)
    except (*_ERRORS, Undefined):
        return None
