"""Runs the tests that pytest and unittest would find in test code. Its *text* runs inside, like that of `tester`.

pytest itself need not be installed in a sandbox: what tests of one file use of it stands here (raises, approx,
fixtures, parametrize). What is missing makes the test broken, and says so.
"""

import inspect
import io
import math
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import Any

from goldpanner.verify.sandbox.values import Opaque


class Skipped(BaseException):
    """A test that does not want to be run."""


def run(space: Mapping[str, object], ran: set[str]) -> None:
    """Run every test that test code has not run itself. Raises what the first failing one raises."""
    fixtures = _fixtures(space)
    for name, value in list(space.items()):
        if name.startswith("test") and isinstance(value, types.FunctionType) and name not in ran:
            _each(value, fixtures)
        elif isinstance(value, type) and value.__module__ == "__main__":
            unittest = sys.modules.get("unittest")
            if unittest is not None and issubclass(value, unittest.TestCase):
                _unittest(unittest, value, ran)
            elif name.startswith("Test"):
                _class(value, fixtures, ran)


def _fixtures(space: Mapping[str, object]) -> dict[str, types.FunctionType]:
    return {name: f for name, f in space.items() if isinstance(f, types.FunctionType) and "fixture" in vars(f)}


def _class(kind: type, fixtures: dict[str, Any], ran: set[str]) -> None:
    own = fixtures | _fixtures(vars(kind))
    getattr(kind, "setup_class", lambda: None)()
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("test") or f"{kind.__name__}.{name}" in ran:
            continue
        instance = kind()
        bound = {key: types.MethodType(f, instance) if key in vars(kind) else f for key, f in own.items()}
        getattr(instance, "setup_method", lambda *_: None)(*[function][: _arity(instance, "setup_method")])
        _each(types.MethodType(function, instance), bound)
        getattr(instance, "teardown_method", lambda *_: None)(*[function][: _arity(instance, "teardown_method")])


def _arity(instance: Any, name: str) -> int:
    method = getattr(instance, name, None)
    return len(inspect.signature(method).parameters) if method is not None else 0


def _unittest(unittest: Any, kind: Any, ran: set[str]) -> None:
    """Run a class of unittest's; the first error or failure is raised as it was raised there."""
    names = [n for n in unittest.defaultTestLoader.getTestCaseNames(kind) if f"{kind.__name__}.{n}" not in ran]
    first: list[BaseException] = []

    class Result(unittest.TestResult):  # type: ignore[misc]
        def addError(self, test: Any, err: Any) -> None:
            first.append(err[1])

        addFailure = addError

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                first.append(err[1])

        def addUnexpectedSuccess(self, test: Any) -> None:
            first.append(AssertionError("it was expected to fail"))

    unittest.TestSuite(kind(name) for name in names).run(Result())
    if first:
        raise first[0]


# ------------------------------------------------------------------------------------------------ pytest


def _each(function: Any, fixtures: dict[str, Any]) -> None:
    """Run a test function with every row of its parameters."""
    rows: list[dict[str, object]] = [{}]
    for names, values in getattr(function, "parameters", ()):
        rows = [{**row, **dict(zip(names, value))} for row, value in product(rows, values)]
    for row in rows:
        ends: list[Iterator[Any]] = []
        try:
            wanted = [name for name in _parameters(function) if name not in row]
            given = {name: _fixture(name, fixtures, ends) for name in _automatic(fixtures, wanted)}
            function(**row, **{name: given[name] for name in wanted})
        except Skipped:
            continue
        finally:
            for end in reversed(ends):
                next(end, None)


def _parameters(function: Any) -> list[str]:
    """Return the parameters that something must be given for."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(function).parameters.values()
    return [each.name for each in signature if each.kind in named and each.default is each.empty]


def _automatic(fixtures: dict[str, Any], wanted: list[str]) -> list[str]:
    return [name for name, f in fixtures.items() if f.fixture["autouse"] and name not in wanted] + wanted


def _fixture(name: str, fixtures: dict[str, Any], ends: list[Iterator[Any]]) -> Any:
    named = {f.fixture["name"] or key: f for key, f in fixtures.items()}
    if name == "capsys" and name not in named:
        ends.append(_printed())
        next(ends[-1])
        return Capture()
    if name not in named:
        raise Opaque(f"it wants {name!r}, a fixture that is not here")
    maker = named[name]
    inner = {each: _fixture(each, fixtures, ends) for each in _parameters(maker)}
    value = maker(**inner)
    if inspect.isgenerator(value):
        ends.append(value)
        return next(value)
    return value


class Capture:
    """Stands for the fixture capsys."""

    def readouterr(self) -> Any:
        """Return what was printed since the last time."""
        out, err = (getattr(stream, "getvalue", str)() for stream in (sys.stdout, sys.stderr))
        texts = types.SimpleNamespace(out=out, err=err)
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        return texts


def _printed() -> Iterator[None]:
    own = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    yield
    sys.stdout, sys.stderr = own


def pytest() -> types.ModuleType:
    """Return a module that stands for pytest."""
    module = types.ModuleType("pytest")
    mark = types.SimpleNamespace(parametrize=_parametrize, skip=_skipping, skipif=_skipping_if, xfail=_unknown)
    for name in ("asyncio", "timeout", "slow", "usefixtures", "filterwarnings", "order"):
        setattr(mark, name, _marked)
    for name, value in (
        ("raises", raises), ("approx", Approx), ("fixture", _fixture_of), ("mark", mark), ("param", _param),
        ("fail", _fail), ("skip", _skip), ("main", lambda *_, **__: 0),
    ):  # fmt: skip
        setattr(module, name, value)
    return module


def _marked(*args: Any, **_: Any) -> Any:
    """A mark that changes nothing here, with and without arguments."""
    return args[0] if len(args) == 1 and inspect.isroutine(args[0]) else lambda function: function


def _unknown(*_: Any, **__: Any) -> Any:
    raise Opaque("it uses pytest.mark.xfail, which is not here")


def _skipping(*args: Any, **_: Any) -> Any:
    def skipped(*_: Any, **__: Any) -> None:
        raise Skipped

    return skipped if args and inspect.isfunction(args[0]) else lambda function: skipped


def _skipping_if(condition: Any, **_: Any) -> Any:
    return _skipping() if condition else lambda function: function


def _parametrize(names: Any, values: Any, **_: Any) -> Any:
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    alone = isinstance(names, str) and len(listed) == 1

    def parametrized(function: Any) -> Any:
        rows = [value.values if isinstance(value, _param) else (value,) if alone else value for value in values]
        function.parameters = [*getattr(function, "parameters", ()), (listed, rows)]
        return function

    return parametrized


class _param:
    def __init__(self, *values: Any, **_: Any) -> None:
        self.values = values


def _fixture_of(*args: Any, name: str = "", autouse: bool = False, params: Any = None, **_: Any) -> Any:
    if params is not None:
        raise Opaque("it uses a fixture with params, which is not here")

    def fixture(function: Any) -> Any:
        function.fixture = {"name": name, "autouse": autouse}
        return function

    return fixture(args[0]) if args and inspect.isfunction(args[0]) else fixture


def _fail(reason: str = "", **_: Any) -> None:
    raise AssertionError(reason)


def _skip(*_: Any, **__: Any) -> None:
    raise Skipped


class _Caught:
    value: BaseException | None = None
    type: Any = None

    def match(self, pattern: str) -> bool:
        if not re.search(pattern, str(self.value)):
            raise AssertionError(f"{self.value} does not match {pattern!r}")
        return True


@contextmanager
def _raising(kinds: Any, match: str | None) -> Iterator[_Caught]:
    caught = _Caught()
    try:
        yield caught
    except kinds as error:
        caught.value, caught.type = error, type(error)
        if match is not None:
            caught.match(match)
    else:
        raise AssertionError(f"did not raise {kinds}")


def raises(kinds: Any, *call: Any, match: str | None = None, **kwargs: Any) -> Any:
    """Stand for pytest.raises: as a context, or with a function to call."""
    if not call:
        return _raising(kinds, match)
    function: Callable[..., Any] = call[0]
    with _raising(kinds, None) as caught:
        function(*call[1:], **kwargs)
    return caught


class Approx:
    """Stands for pytest.approx: numbers, and lists, tuples and dicts of numbers."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> None:  # noqa: A002
        self.expected, self.nan_ok = expected, nan_ok
        self.rel = rel if rel is not None else 0.0 if abs is not None else 1e-6
        self.abs = 1e-12 if abs is None else abs

    def __eq__(self, value: object) -> bool:
        return self._near(value, self.expected)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def _near(self, value: Any, expected: Any) -> bool:
        if isinstance(expected, dict):
            return isinstance(value, dict) and value.keys() == expected.keys() and all(
                self._near(value[key], expected[key]) for key in expected
            )  # fmt: skip
        if isinstance(expected, (list, tuple)):
            return isinstance(value, (list, tuple)) and len(value) == len(expected) and all(
                map(self._near, value, expected)
            )  # fmt: skip
        if isinstance(expected, (int, float)) and isinstance(value, (int, float)):
            if math.isnan(expected):
                return self.nan_ok and math.isnan(value)
            return value == expected or abs(value - expected) <= max(self.rel * abs(expected), self.abs)
        return bool(value == expected)
