"""What a test may do with a value that stays with the program. The *text* of this module runs in the sandbox."""

import operator
from collections.abc import Callable
from typing import Any

_OPERATORS = (
    "eq ne lt le gt ge contains getitem setitem delitem add sub mul matmul truediv floordiv mod pow neg pos invert "
    "and_ or_ xor lshift rshift iadd isub imul index"
)
OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda value, *args, **kwargs: value(*args, **kwargs),
    "get": getattr, "set": setattr, "del": delattr, "next": next, "isinstance": isinstance, "iter": iter,
    "len": len, "str": str, "repr": repr, "hash": hash, "bool": bool, "abs": abs, "int": int, "float": float,
    "enter": lambda value: value.__enter__(), "exit": lambda value: value.__exit__(None, None, None),
    **{name: getattr(operator, name) for name in _OPERATORS.split()},
    "radd": lambda value, other: other + value, "rsub": lambda value, other: other - value,
    "rmul": lambda value, other: other * value, "rtruediv": lambda value, other: other / value,
}  # fmt: skip
"""What a test may ask to be done with a value that stays with the program."""
DUNDERS = {name: f"__{name.rstrip('_')}__" for name in OPERATIONS if name not in ("get", "set", "del", "isinstance")}
"""Of each operation the special method that a class has for it."""


def named(error: BaseException) -> list[str]:
    """Return the name of an exception, its message, and of a missing module the name."""
    try:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        return [type(error).__name__, str(error)[:300], str(missing or "")[:80]]
    except BaseException:
        return [type(error).__name__, "", ""]
