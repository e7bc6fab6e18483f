"""Values between processes as JSON that keeps their types. Its *text* also runs inside: it imports no goldpanner.

Plain data cross by value: numbers, texts, bytes, lists, tuples, sets, dicts and their views, deques, ranges, decimals,
fractions, dates and times, builtins (`int`, `len`), numpy's numbers and arrays. What else a program returns stays where
it is; `other` may give a reference to it.
"""

import builtins
import sys
from collections.abc import Callable
from typing import Any

Other = Callable[[Any], Any]

MADE: dict[str, tuple[str, Callable[[Any], list[Any]]]] = {
    "Decimal": ("decimal", lambda value: [str(value)]),
    "Fraction": ("fractions", lambda value: [value.numerator, value.denominator]),
    "date": ("datetime", lambda value: [value.year, value.month, value.day]),
    "time": ("datetime", lambda value: [value.hour, value.minute, value.second, value.microsecond]),
    "timedelta": ("datetime", lambda value: [value.days, value.seconds, value.microseconds]),
    "datetime": (
        "datetime",
        lambda value: [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond],
    ),
}
"""Of each class its module, and what it is made anew from."""
VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}
HUGE = 13_000
"""Bits from which an integer crosses in hexadecimal: Python limits how many decimal digits it reads."""


class Opaque(Exception):
    """A value that is no plain data."""


def encode(value: Any, other: Other | None = None) -> Any:
    """Return plain data as JSON. Of any other value `other` gives the JSON; without it Opaque is raised."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__index__(value)
        return number if number.bit_length() < HUGE else {"int": hex(number)}
    if isinstance(value, float):
        return {"float": float.__repr__(value)}
    if isinstance(value, complex):
        return {"complex": [float.__repr__(value.real), float.__repr__(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, list):
        return [encode(item, other) for item in list.__iter__(value)]
    kinds: tuple[Any, ...] = (tuple, set, frozenset)
    for kind in kinds:
        if isinstance(value, kind):
            return {kind.__name__: [encode(item, other) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, other), encode(item, other)] for key, item in dict.items(value)]}
    return _rarer(value, other)


def _rarer(value: Any, other: Other | None) -> Any:
    kind = type(value)
    name = getattr(value, "__name__", None) if isinstance(value, (type, type(len))) else None
    if name is not None and getattr(builtins, name, None) is value:
        return {"builtin": name}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if kind in VIEWS:
        return {VIEWS[kind]: [encode(item, other) for item in value]}
    if kind.__module__ == "collections" and kind.__name__ == "deque":
        return {"deque": [encode(item, other) for item in value]}
    module, parts = MADE.get(kind.__name__, ("", None))
    if parts is not None and kind is getattr(sys.modules.get(module), kind.__name__, None):
        if getattr(value, "tzinfo", None) is None:
            return {kind.__name__: parts(value)}
    elif kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        inner = encode(value.tolist(), other)
        return {"ndarray": inner} if isinstance(inner, list) else inner
    if other is None:
        raise Opaque(kind.__name__)
    return other(value)


def decode(data: Any, other: Callable[[str, Any], Any] | None = None) -> Any:
    """Return the value that `encode` was given. Raises ValueError or TypeError on anything else.

    Of a reference and of an array `other` gives the value, from the kind ("ref", "ndarray") and the content.
    """
    if isinstance(data, list):
        return [decode(item, other) for item in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind == "float":
        return float(content)
    if kind == "int":
        return int(content, 16)
    if kind == "complex":
        return complex(float(content[0]), float(content[1]))
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "ref" or (kind == "ndarray" and other is not None):
        if other is None:
            raise ValueError("a reference, where there is none to refer to")
        return other(kind, content)
    if kind == "range":
        return range(*content)
    if kind == "builtin":
        return vars(builtins)[content]
    if kind in MADE:
        module: Any = __import__(MADE[kind][0])
        return getattr(module, kind)(*content)
    if kind == "dict":
        return {decode(key, other): decode(item, other) for key, item in content}
    return _collected(kind, [decode(item, other) for item in content])


def _collected(kind: str, items: list[Any]) -> Any:
    if kind == "keys":
        return dict.fromkeys(items).keys()
    if kind == "values":
        return dict(enumerate(items)).values()
    if kind == "items":
        return dict(items).items()
    if kind == "deque":
        from collections import deque

        return deque(items)
    builder: Callable[[Any], Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "ndarray": list}[kind]
    return builder(items)
