"""Model-written Python against tests, in a sandbox; answers are compared where the program does not run.

`problem.meta["tests"]` lists the tests, of three kinds that may be mixed:

- `{"stdin": "3 4\\n", "stdout": "7\\n"}`: the whole program; its output is compared line by line, spaces at line ends
  aside;
- `{"call": "add", "args": [3, 4], "returns": 7}`: one call (`Solution().add` for a method), compared here, floats
  within 1e-9, tuples as lists;
- a text of Python that asserts (`"assert add(3, 4) == 7"`, HumanEval's `check`): it runs in a sandbox of its own, and
  what it calls is asked of the program's sandbox. Arguments cross by value: a function that works in place on what it
  is given does not show.

`problem.meta["prefix"]`, where there is one, is what the completion goes on from (HumanEval's prompt).
"""

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify.base import counted, unjudged
from goldpanner.verify.sandbox.confined import asked, decode, encode
from goldpanner.verify.sandbox.sandbox import Limits, Running, Sandbox, Stopped, ending, find

_FENCE = re.compile(r"^[^`\n]*```([^`\n]*)\n(.*?)(?:```|\Z)", re.DOTALL | re.MULTILINE)
_BARE = re.compile(r"^[ \t]*```[ \t]*\r?$", re.MULTILINE)
_PYTHON = ("python", "python3", "py")


class _Wrong(Exception):
    """The program failed a test; the message says how."""


class _Unjudged(Exception):
    """A test said nothing of the program; the message says why."""


@dataclass(frozen=True)
class Code:
    """CORRECT if the program passes every test of the problem; see the module for the tests.

    WRONG: it fails one, raises, ends early, does not compile, prints too much, or uses up its processor time or memory
    (all of them properties of the program). UNJUDGED: no program in the completion, no tests, a test that is broken, a
    value that is no plain data, no answer within the limit by the clock (the machine may be busy), a sandbox that
    fails.

    Raises InputError where no sandbox works, unless `unconfined`: the program then runs with the user's rights.
    """

    limits: Limits = field(default_factory=Limits)
    unconfined: bool = False
    workers: int = 1
    """Programs that `judge_many` runs at once."""
    sandbox: Sandbox = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"code: workers is {self.workers!r}; give at least 1")
        object.__setattr__(self, "sandbox", find(self.unconfined))

    @property
    def id(self) -> str:
        """`code@2+bubblewrap`: with the sandbox, since its Python runs the program."""
        return f"code@2+{self.sandbox.name}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises, and leaves no process behind."""
        text = counted(self.id, completion)
        if isinstance(text, Verdict):
            return text
        program = extract(text, problem)
        if program is None:
            return unjudged(self.id, "the completion holds no program", Cause.MODEL)
        shown = program[:200]
        try:
            tests = _tests(problem)
            self._run(program, tests)
        except _Wrong as wrong:
            return Verdict(Outcome.WRONG, self.id, shown, str(wrong)[:300])
        except _Unjudged as silent:
            return Verdict(Outcome.UNJUDGED, self.id, shown, str(silent)[:300])
        except (OSError, RecursionError) as error:
            return Verdict(Outcome.UNJUDGED, self.id, shown, f"the verifier failed: {error!r}"[:300])
        return Verdict(Outcome.CORRECT, self.id, shown)

    def judge_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """Return the verdict on each pair."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda pair: self(*pair), pairs))

    def _run(self, program: str, tests: Sequence[Any]) -> None:
        texts = [test for test in tests if isinstance(test, str)]
        calls = [test for test in tests if not isinstance(test, str) and "call" in test]
        if texts or calls:
            with _Served(self, program) as served:
                for test in calls:
                    served.check(test)
                if texts:
                    self._assert(served, "\n".join(texts))
        for test in tests:
            if not isinstance(test, str) and "call" not in test:
                self._script(program, test)

    def _script(self, program: str, test: Mapping[str, Any]) -> None:
        with self.sandbox.start("script", program, self.limits) as running:
            running.send(str(test["stdin"]).encode("utf-8", "surrogatepass"), end=True)
            _started(running, b"started")
            out, status = _heard(running.rest)
            if status:
                raise _Wrong(ending(status, running.error, self.limits))
        printed, expected = _lines(out.decode("utf-8", "replace")), _lines(str(test["stdout"]))
        if printed != expected:
            raise _Wrong(f"for {str(test['stdin'])[:60]!r} expected {expected[:5]}, printed {printed[:5]}")

    def _assert(self, served: "_Served", test: str) -> None:
        """Run test code in a sandbox of its own; pass its calls on to the program's, and the answers back."""
        with self.sandbox.start("test", test, self.limits) as tester:
            _started(tester, b'"started"')
            while True:
                try:
                    said = json.loads(tester.line())
                except Stopped as stop:
                    raise _Unjudged(f"the test did not end: {stop}") from None
                if "passed" in said:
                    return
                if "failed" in said:
                    raise _Wrong(f"test failed: {said['failed']}")
                if "broken" in said:
                    raise _Unjudged(f"the test is broken: {said['broken']}")
                tester.send(json.dumps(served.ask(said)).encode() + b"\n")


class _Served:
    """The program, loaded once in its sandbox, its functions called on plain data."""

    def __init__(self, code: Code, program: str) -> None:
        self._code, self._running = code, code.sandbox.start("serve", program, code.limits)

    def __enter__(self) -> "_Served":
        try:
            _started(self._running, b'"started"')
            self._reply(wanted="loaded")
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the program's reply to a call: `value`, or `raised`, in the form of `confined.encode`."""
        self._running.send(json.dumps(request).encode() + b"\n")
        reply: dict[str, Any] = self._reply()
        return reply

    def check(self, test: Mapping[str, Any]) -> None:
        """Make one call and compare what it returns."""
        reply = self.ask({"call": str(test["call"]), "args": encode(tuple(test.get("args", ()))), "kwargs": encode({})})
        called = f"{test['call']}({', '.join(map(repr, test.get('args', ())))})"[:120]
        if "raised" in reply:
            raise _Wrong(f"{called} raised {': '.join(reply['raised'])}")
        if not same(value := decode(reply["value"]), test["returns"]):
            raise _Wrong(f"{called} is {test['returns']!r}, returned {value!r}"[:300])

    def _reply(self, wanted: str | None = None) -> Any:
        """Return the next message, its form checked: the program may have forged it."""
        line = _heard(self._running.line)
        try:
            reply = json.loads(line)
            if wanted is not None and reply == wanted:
                return reply
            if isinstance(reply.get("opaque"), str):
                raise _Unjudged(f"the program returned {reply['opaque']}, which is no plain data")
            if "raised" in reply:
                kind, message = map(str, reply["raised"])
                if wanted is not None:
                    raise _Wrong(f"the program raised {kind}: {message}")
                return {"raised": [kind, message]}
            decode(value := reply["value"])
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
            raise _Wrong(f"the program's reply cannot be read: {type(error).__name__}") from None
        return {"value": value}


def extract(text: str, problem: Problem) -> str | None:
    """Return the one program that is judged, None if there is none; docs/verifiers.md states the rule.

    A text without a fence, or a block that begins indented, goes on from the problem's prefix. Before any other block
    only the prefix's imports are put.
    """
    meta = problem.meta if isinstance(problem.meta, Mapping) else {}
    prefix = given if isinstance(given := meta.get("prefix"), str) else ""
    if "```" not in text:
        return prefix + text if text.strip() else None
    imports = "".join(line + "\n" for line in prefix.splitlines() if line.startswith(("import ", "from ")))
    programs = [
        (prefix if block.lstrip("\r\n")[:1] in " \t" else imports) + block for block in _blocks(text) if block.strip()
    ]
    names = "|".join(map(re.escape, wanted(meta.get("tests"))))
    defines = re.compile(rf"^(?:(?:async +)?def +|class +)(?:{names})\b|^(?:{names}) *=(?!=)", re.MULTILINE)
    found = [program for program in programs if names and defines.search(program)] or programs
    return found[-1] if found else None


def wanted(tests: Any) -> set[str]:
    """Return the names that tests expect of a program."""
    found = set()
    for test in tests if isinstance(tests, (list, tuple)) else ():
        if isinstance(test, str):
            with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                tree = ast.parse(test)
                found |= asked(tree) - _bound(tree)
        elif isinstance(test, Mapping) and "call" in test:
            found.add(str(test["call"]).partition(".")[0].removesuffix("()"))
    return found


def _blocks(text: str) -> list[str]:
    """Return the blocks tagged as Python, else those without a tag; the last may have no end.

    A single bare fence either ends a block that the prompt began or begins one: both sides of it are blocks.
    """
    bare = _BARE.search(text)
    if bare and text.count("```") == 1:
        return [text[: bare.start()], text[bare.end() :]]
    found = [(info.lower().split()[:1], block) for info, block in _FENCE.findall(text)]
    return [block for tag, block in found if tag and tag[0] in _PYTHON] or [block for tag, block in found if not tag]


def _bound(tree: ast.AST) -> set[str]:
    """Return the names that a test gives a meaning itself."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.partition(".")[0])
    return found


def same(value: Any, expected: Any) -> bool:
    """Return whether plain data are equal: floats within 1e-9, tuples as lists, True and 1 told apart."""
    if isinstance(value, bool) != isinstance(expected, bool):
        return False
    if isinstance(value, float) or isinstance(expected, float):
        if not isinstance(value, (int, float)) or not isinstance(expected, (int, float)):
            return False
        try:
            return value == expected or math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12)
        except OverflowError:
            return False
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(same(a, b) for a, b in zip(value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same(value[key], expected[key]) for key in value)
    return bool(value == expected)


def _tests(problem: Problem) -> list[Any]:
    tests = problem.meta.get("tests") if isinstance(problem.meta, Mapping) else None
    if not isinstance(tests, (list, tuple)) or not tests:
        raise _Unjudged("the problem has no meta['tests']")
    for test in tests:
        keys = set(test) if isinstance(test, Mapping) else set()
        if not isinstance(test, str) and not {"stdin", "stdout"} <= keys and not {"call", "returns"} <= keys:
            raise _Unjudged(f"{str(test)[:80]!r} is no test; give stdin and stdout, call and returns, or Python text")
    return list(tests)


def _started(running: Running, word: bytes) -> None:
    """Wait for the sandbox's own first word: without it nothing was said of the program."""
    try:
        if running.line() != word:
            raise _Unjudged("the sandbox did not start")
    except Stopped as stop:
        raise _Unjudged(f"the sandbox did not start: {stop}") from None


def _heard(listen: Any) -> Any:
    try:
        return listen()
    except Stopped as stop:
        if stop.kind == "time":
            raise _Unjudged(str(stop)) from None
        raise _Wrong(f"the program ended: {stop}" if stop.kind == "ended" else str(stop)) from None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
