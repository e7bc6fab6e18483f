"""The process that runs math-verify: it imports it once, then serves in a forked child that may be killed at any time.
`work` does so for any library that judges a pair of texts.

A child answers one JSON line per task. When it dies, by a kill, a crash or its processor limit, the process forks
another, warm one within milliseconds; it ends when its standard input does.
"""

import json
import logging
import math
import os
import resource
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, TypedDict

from goldpanner.verify.evaluate import POSITIVE

MEMORY = 2 << 30
"""Bytes of address space of a child at most."""


class Equal(TypedDict):
    """What a library says of a right answer and an answer."""

    equal: bool | None
    """Whether they are equal; None where it cannot tell."""
    reason: str


Judge = Callable[[str, str], Equal]


def main() -> None:
    """Serve math-verify until standard input ends."""
    work(equal_by_math_verify, lambda: equal_by_math_verify(r"\frac{1}{2}", "0.5"))


def work(judge: Judge, warm: Callable[[], Any]) -> None:
    """Import and warm up a library, and keep one serving child alive until standard input ends."""
    logging.disable(logging.CRITICAL)  # math-verify warns that its own time limit is off; ours is the parent's kill
    sys.stdout = sys.stderr  # whatever a library prints must not come between the replies
    warm()
    while True:
        child = os.fork()
        if not child:
            serve(judge)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))


def serve(judge: Judge) -> None:
    """Answer tasks until standard input ends. Each has `seconds` of processor time, enforced by the kernel."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(2000)
    _say({"ready": os.getpid()})
    for line in iter(lambda: _line(0), b""):
        task = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(used.ru_utime + used.ru_stime + task["seconds"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        try:
            reply = judge(task["gold"], task["answer"])
        except Exception as error:
            reply = {"equal": None, "reason": f"{task['by']} raised {type(error).__name__}: {error}"[:200]}
        _say({"id": task["id"], **reply})


def equal_by_math_verify(gold: str, answer: str) -> Equal:
    """Return whether two formulas are equal, None where that is not shown, and why.

    math-verify's own word is not enough: it takes any two numbers below 1e-17 for equal, and says False of what it
    reads as something else. What it read must be equal, or differ, at several points, too.
    """
    right, parsed = _gold(gold), _parse(answer)
    if not right or not parsed:
        return {"equal": None, "reason": f"math-verify cannot read the {'answer' if right else 'right answer'}"}
    agreed = bool(math_verify().verify(right, parsed, timeout_seconds=None, raise_on_error=True))
    seen = _second_look(right[0], parsed[0])
    if seen is agreed:
        return {"equal": agreed, "reason": ""}
    return {"equal": None, "reason": f"math-verify says {agreed}, which its reading does not confirm"}


def _second_look(right: Any, found: Any) -> bool | None:
    """Return whether two expressions of sympy are equal at several points; None where they have no values there."""
    sympy = import_module("sympy")
    if not isinstance(right, sympy.Expr) or not isinstance(found, sympy.Expr):
        return None
    names = sorted(right.free_symbols | found.free_symbols, key=str)
    equal_at = []
    for at in POSITIVE:
        point = {name: sympy.Rational(at(i).numerator, at(i).denominator) for i, name in enumerate(names)}
        one, other = (complex(sympy.N(each.subs(point).doit(), 30)) for each in (right, found))
        if one != one or other != other:
            return None
        equal_at.append(abs(one - other) <= 1e-12 * max(abs(one), abs(other)))
    return all(equal_at) if len(set(equal_at)) == 1 else False


def math_verify() -> Any:
    """Return the library (optional, and without types)."""
    return import_module("math_verify")


def _parse(formula: str) -> list[Any]:
    parsed: list[Any] = math_verify().parse(
        f"${formula}$",
        [math_verify().LatexExtractionConfig()],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return parsed


_gold = lru_cache(maxsize=256)(_parse)


def _line(descriptor: int) -> bytes:
    """Read one line without a buffer, so that a child that dies takes no task but its own with it."""
    parts = bytearray()
    while byte := os.read(descriptor, 1):
        parts += byte
        if byte == b"\n":
            break
    return bytes(parts)


def _say(message: Mapping[str, object]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")
