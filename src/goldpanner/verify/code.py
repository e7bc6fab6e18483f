"""Model-written Python against tests, in a sandbox; answers are compared where the program does not run.

`problem.meta["tests"]` lists the tests, of three kinds that may be mixed:

- `{"stdin": "3 4\\n", "stdout": "7\\n"}`: the whole program; `verify.compare` says when outputs are the same;
- `{"call": "add", "args": [3, 4], "returns": 7}`: one call (`Solution().add` for a method), compared here; `accepts`
  lists several right values;
- a text of Python that asserts (`"assert add(3, 4) == 7"`, HumanEval's `check`, tests for pytest or unittest): it runs
  in a sandbox of its own, and what it calls is asked of the program's sandbox.

`problem.meta["prefix"]` is what the completion goes on from (HumanEval's prompt); `meta["checker"]` a text of Python
that defines `check(input, output, expected)`, for problems with several right outputs; with `meta["in_place"]` tests
see what a function did to its arguments (elsewhere only where they do not look at what it returns).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypedDict

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify.base import counted, unjudged
from goldpanner.verify.code_tests import ProgramTest, Tests, extract, fault, lacking, prefix_of, tests_of, wanted
from goldpanner.verify.compare import printed_as, same
from goldpanner.verify.sandbox.running import Limits, Spoken, Stopped
from goldpanner.verify.sandbox.sandbox import Sandbox, find
from goldpanner.verify.sandbox.values import decode, encode

HINT = "GOLDPANNER_SANDBOX_PYTHON names a Python that has it"
_NO_MODULE = re.compile(r"No module named '[\w.]+'")
_MISSING = re.compile(rb"^ModuleNotFoundError: No module named '([\w.]+)'", re.MULTILINE)


class CallReply(TypedDict, total=False):
    """What a program's side says of a call, its form checked."""

    value: object
    """What it returned, as JSON."""
    after: object
    """The arguments after the call, where the program changed them."""
    opaque: str
    """What it returned, in words, where that is no plain data."""
    raised: list[str]
    """Kind and message of the exception."""
    end: bool
    """Whether an iterator came to its end."""
    printed: str


class _Wrong(Exception):
    """The program failed a test; the message says how."""


class _Unjudged(Exception):
    """The verdict says nothing of right or wrong; the message says why."""

    def __init__(self, why: str, cause: Cause = Cause.OURS) -> None:
        super().__init__(why)
        self.cause = cause


@dataclass(frozen=True)
class Code:
    """CORRECT if the program passes every test of the problem; see the module for the tests.

    WRONG: it fails one, raises, ends early, does not compile, prints too much, or uses up its processor time or memory
    (all of them properties of the program). UNJUDGED by the model's doing: no program in the completion, a value that
    the test cannot look at, a program that waits until its time is over. UNJUDGED by ours: no tests, a test that is
    broken, a module that judges have and this sandbox lacks, a busy machine, a sandbox that fails.

    `python` names the interpreter for programs, with its packages; `url` a server that speaks SandboxFusion's protocol.
    Raises InputError where no sandbox works, unless `unconfined`: the program then runs with the user's rights.
    """

    limits: Limits = field(default_factory=Limits)
    unconfined: bool = False
    workers: int = 1
    """Programs that `judge_many` runs at once."""
    python: str | None = None
    url: str | None = None
    sandbox: Sandbox = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"code: workers is {self.workers!r}; give at least 1")
        object.__setattr__(self, "sandbox", find(self.unconfined, self.python, self.url))

    @property
    def id(self) -> str:
        """`code@4+bubblewrap-3.11`: with the sandbox and its Python, since they run the program."""
        return f"code@4+{self.sandbox.id}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises, and leaves no process behind."""
        text = counted(self.id, completion)
        if isinstance(text, Verdict):
            return text
        program = extract(text, problem)
        if program is None:
            return unjudged(self.id, "the completion holds no program", Cause.MODEL)
        return self.judge(problem, program)

    def judge_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """Return the verdict on each pair."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda pair: self(*pair), pairs))

    def judge(self, problem: Problem, program: str) -> Verdict:
        """Return the verdict on a program; never raises."""
        shown = program[:200]
        try:
            self._run(program, tests_of(problem))
        except _Wrong as wrong:
            return Verdict(Outcome.WRONG, self.id, shown, str(wrong)[:300])
        except _Unjudged as silent:
            return unjudged(self.id, str(silent)[:300], silent.cause, shown)
        except (OSError, RecursionError, ValueError) as error:
            return unjudged(self.id, f"the verifier failed: {error}"[:300], extracted=shown)
        return Verdict(Outcome.CORRECT, self.id, shown)

    def fault(self, problem: Problem) -> str | None:
        """Return why a problem cannot judge programs, None if it can: to be asked before anything is drawn.

        Its tests must ask something, its reference (`problem.answer`, after the prefix) must be CORRECT, and neither an
        empty program may be nor one whose functions return nothing.
        """
        try:
            tests = tests_of(problem)
        except ValueError as error:
            return str(error)
        if (why := fault(tests)) is not None:
            return why
        names = wanted(list(problem.meta["tests"]))
        empty = "".join(f"def {name}(*_, **__): pass\n" for name in sorted(names))
        for program, what in (("pass\n", "an empty program"), (empty, "a program that returns nothing")):
            if program and self.judge(problem, program).correct:
                return f"{what} passes the tests"
        if problem.answer.strip():
            verdict = self.judge(problem, _reference(problem))
            if not verdict.correct:
                return f"its reference is {verdict.outcome.value}: {verdict.reason}"
        return None

    def _run(self, program: str, tests: Tests) -> None:
        if (why := fault(tests)) is not None:
            raise _Unjudged(why)
        with self._checker(tests.checker) as check:
            if tests.calls:
                with _Served(self, program) as served:
                    served.check(tests.calls, check)
            if tests.texts:
                self._assert(program, tests)
            for test in tests.scripts:
                self._script(program, test, check)

    def _script(self, program: str, test: ProgramTest, check: "_Check | None") -> None:
        stdin = str(test["stdin"])
        room = max(self.limits.output_kb, 2 * len(str(test.get("stdout") or "")) // 1024)
        limits = replace(self.limits, output_kb=room)
        with self.sandbox.start("script", program, limits, stdin=stdin) as running:
            _started(running, b"started")
            out, status = _heard(running.rest)
            if status:
                try:
                    why = running.ending(status)
                except Stopped as stop:
                    raise _Unjudged(str(stop)) from None
                missing = _MISSING.findall(running.error)
                _module_missing(program, missing[-1].decode() if missing else "")
                raise _Wrong(why)
        printed, expected = out.decode("utf-8", "replace"), test.get("stdout")
        if check is not None:
            difference = None if check(stdin, printed, expected) else f"the checker refuses {printed[:120]!r}"
        else:
            difference = printed_as(printed, str(expected))
        if difference:
            raise _Wrong(f"for {stdin[:60]!r} {difference}")

    def _assert(self, program: str, tests: Tests, in_place: bool = False) -> None:
        """Run test code in a sandbox of its own; pass its calls on to the program's, and the answers back."""
        text, in_place = "\n".join(tests.texts), in_place or tests.in_place
        with (
            _Served(self, program) as served,
            self.sandbox.start("test", text, self.limits, in_place=in_place) as tester,
        ):
            served.loaded()
            _started(tester, b'"started"')
            questions = 0
            while True:
                try:
                    reply = json.loads(tester.line())
                except Stopped as stop:
                    ours = stop.kind in ("busy", "failed") or not questions
                    raise _Unjudged(f"the test did not end: {stop}", Cause.OURS if ours else Cause.MODEL) from None
                if "do" not in reply:
                    break
                questions += 1
                tester.send(json.dumps(served.ask(reply)).encode() + b"\n")
        if "passed" in reply:
            return
        if "broken" in reply:
            lacks = _NO_MODULE.search(reply["broken"])
            raise _Unjudged(f"the test is broken: {reply['broken']}" + (f"; {HINT}" if lacks else ""))
        if "hidden" in reply:
            raise _Unjudged(f"the program returned {reply['hidden']}", Cause.MODEL)
        if reply["changed"] and not in_place:
            self._assert_in_place(program, tests)
        raise _Wrong(f"test failed: {reply['failed']}")

    def _assert_in_place(self, program: str, tests: Tests) -> None:
        """Raise what the test says if it depends on whether it sees what the program does to its arguments."""
        try:
            self._assert(program, tests, in_place=True)
        except _Wrong:
            return
        raise _Unjudged("it passes only where the test sees what it does to its arguments", Cause.MODEL)

    @contextmanager
    def _checker(self, text: str | None) -> "Iterator[_Check | None]":
        if text is None:
            yield None
            return
        with self.sandbox.start("check", text, self.limits) as running:
            _started(running, b'"started"')
            yield _Check(running)


class _Check:
    """A problem's checker, in a sandbox without the program."""

    def __init__(self, running: Spoken) -> None:
        self._running = running

    def __call__(self, given: Any, got: Any, expected: Any) -> bool:
        self._running.send(json.dumps(encode((given, got, expected))).encode() + b"\n")
        try:
            reply = json.loads(self._running.line())
        except Stopped as stop:
            raise _Unjudged(f"the checker did not end: {stop}") from None
        if "broken" in reply:
            raise _Unjudged(f"the checker is broken: {reply['broken']}")
        return bool(reply["right"])


class _Served:
    """The program, loaded once in its sandbox, its functions called on plain data."""

    def __init__(self, code: Code, program: str) -> None:
        self._program, self._running = program, code.sandbox.start("serve", program, code.limits)

    def __enter__(self) -> "_Served":
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def loaded(self) -> None:
        """Wait until the program has run once."""
        _started(self._running, b'"started"')
        reply = self._read()
        if reply == "loaded":
            return
        if isinstance(reply, dict) and "raised" in reply:
            kind, message = self._raised(reply)
            raise _Wrong(f"the program raised {kind}: {message}")
        _forged()

    def ask(self, request: Mapping[str, object]) -> CallReply:
        """Return the program's reply, its form checked: the program may have forged it."""
        self._say(request)
        return self._reply(request)

    def check(self, tests: Sequence[ProgramTest], check: _Check | None) -> None:
        """Make the calls, all said at once, and compare what they return."""
        requests = [_request(test) for test in tests]
        for request in requests:
            self._say(request)
        self.loaded()
        for test, request in zip(tests, requests, strict=True):
            _compare(test, self._reply(request), check)

    def _say(self, request: Mapping[str, object]) -> None:
        self._running.send(json.dumps(request).encode() + b"\n")

    def _reply(self, request: Mapping[str, object]) -> CallReply:
        reply = self._read()
        printed = reply.get("printed") if isinstance(reply, dict) else None
        checked = self._checked(reply, request)
        if isinstance(printed, str):
            checked["printed"] = printed
        return checked

    def _checked(self, reply: Any, request: Mapping[str, object]) -> CallReply:
        try:
            if isinstance(reply.get("opaque"), str):
                return {"opaque": reply["opaque"][:200]}
            if "raised" in reply:
                return {"raised": self._raised(reply)}
            if reply.get("end") is True and request["do"] == "next":
                return {"end": True}
            good: CallReply = {"value": reply["value"]}
            if "after" in reply:
                good["after"] = reply["after"]
            for part in good.values():
                decode(part, _elsewhere)
            return good
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
            _forged()

    def _raised(self, reply: Mapping[str, Sequence[object]]) -> list[str]:
        kind, message, missing = (str(part)[:300] for part in reply["raised"])
        _module_missing(self._program, missing)
        return [kind, message]

    def _read(self) -> Any:
        try:
            return json.loads(_heard(self._running.line))
        except (ValueError, RecursionError):
            _forged()


def _request(test: ProgramTest) -> dict[str, object]:
    args, kwargs = tuple(test.get("args", ())), dict(test.get("kwargs", {}))
    return {"do": "call", "name": str(test["call"]), "args": encode(args), "kwargs": encode(kwargs), "flat": True}


def _compare(test: ProgramTest, reply: CallReply, check: _Check | None) -> None:
    """Raise what a call's reply says of the program, if it is not right."""
    args = tuple(test.get("args", ()))
    called = f"{test['call']}({', '.join(map(_shown, args))})"[:120]
    if "opaque" in reply:
        raise _Unjudged(f"{called} returned {reply['opaque']}, which is no plain data", Cause.MODEL)
    if "raised" in reply:
        raise _Wrong(f"{called} raised {': '.join(reply['raised'])}")
    value = decode(reply["value"], _elsewhere)
    accepted = test.get("accepts") or [test.get("returns")]
    if check is not None:
        if not check(args, value, test.get("returns")):
            raise _Wrong(f"the checker refuses {called} = {_shown(value)}"[:300])
    elif not any(same(value, right) for right in accepted):
        raise _Wrong(f"{called} is {' or '.join(map(_shown, accepted))}, returned {_shown(value)}"[:300])


def _shown(value: object) -> str:
    """Return a value as Python writes it; of one that Python does not write its kind."""
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists too deep
        return f"a huge {type(value).__name__}"


def _forged() -> NoReturn:
    raise _Wrong("the program's reply cannot be read")


def _elsewhere(kind: str, content: Any) -> Any:
    """Stand for what does not cross; numpy's arrays are lists here."""
    return decode(content, _elsewhere) if kind == "ndarray" else None


def _reference(problem: Problem) -> str:
    """Return the reference as a program: it goes on from the prefix, or stands after the prefix's imports."""
    answer = problem.answer if "```" in problem.answer else f"```python\n{problem.answer}\n```"
    return extract(answer, problem) or prefix_of(problem) + problem.answer


def _module_missing(program: str, missing: str) -> None:
    if (name := lacking(program, missing)) is not None:
        raise _Unjudged(f"the sandbox has no {name}; {HINT}")


def _started(running: Spoken, word: bytes) -> None:
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
        if stop.kind in ("busy", "failed"):
            raise _Unjudged(str(stop)) from None
        if stop.kind == "time":
            raise _Unjudged(f"the program waits: {stop}", Cause.MODEL) from None
        raise _Wrong(f"the program ended: {stop}" if stop.kind == "ended" else str(stop)) from None
