"""Whether what a program printed or returned is what was expected.

Numbers are compared as numbers: within 1e-6, absolute or relative, where the *expected* one has a decimal point (or an
exponent); an expected integer needs an equal value (4.0 is 4, 12345678910.0 is not 12345678901). Anything else, 007
too, is text.
"""

import math
import re
from collections import deque
from collections.abc import KeysView, ValuesView
from decimal import Context, Decimal, InvalidOperation
from typing import Any

TOLERANCE = 1e-6
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,4})?")
_PRECISE = Context(prec=60, Emax=999_999, Emin=-999_999)
_TOLERANCE = Decimal("1e-6")


def printed_as(printed: str, expected: str) -> str | None:
    """Return None if two outputs are the same, else where they differ.

    Outputs are compared line by line and word by word: spaces at a line's ends, how many stand between two words, and
    empty lines at the end do not count (as in LiveCodeBench and DMOJ's standard checker).
    """
    ours, theirs = printed.strip().splitlines(), expected.strip().splitlines()
    for i, (one, other) in enumerate(zip(ours, theirs), 1):
        if one != other and not _line(one.split(), other.split()):
            return f"line {i}: expected {other.strip()[:80]!r}, printed {one.strip()[:80]!r}"
    if len(ours) != len(theirs):
        return f"expected {len(theirs)} lines, printed {len(ours)}: {printed.strip()[:80]!r}"
    return None


def _line(words: list[str], expected: list[str]) -> bool:
    return len(words) == len(expected) and all(map(word, words, expected))


def word(printed: str, expected: str) -> bool:
    """Return whether a printed word is the expected one."""
    if printed == expected:
        return True
    integer = _INTEGER.fullmatch(expected)
    if not (integer or _DECIMAL.fullmatch(expected)):
        return False
    if not (_INTEGER.fullmatch(printed) or _DECIMAL.fullmatch(printed)):
        return False
    try:
        one, other = Decimal(printed), Decimal(expected)
        if one == other:
            return True
        return not integer and abs(_PRECISE.subtract(one, other)) <= max(_TOLERANCE, _TOLERANCE * abs(other))
    except (InvalidOperation, ArithmeticError):
        return False


def same(value: Any, expected: Any) -> bool:
    """Return whether a returned value is the expected one: tuples, deques, ranges and views are lists, 1 is True."""
    if isinstance(expected, float):
        if not isinstance(value, (int, float)):
            return False
        try:
            return value == expected or math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        except OverflowError:
            return False
    sequences = (list, tuple, deque, range, KeysView, ValuesView)
    if isinstance(expected, (list, tuple)) and isinstance(value, sequences):
        return len(value) == len(expected) and all(same(a, b) for a, b in zip(value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same(value[key], expected[key]) for key in value)
    return bool(value == expected)
