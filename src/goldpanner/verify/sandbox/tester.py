"""Runs test code against a program that lies in another sandbox. Its *text* runs inside, like that of `confined`.

Names that the test leaves open are the program's. What they return crosses by value; an object that is no plain data is
a `Remote`: its methods are called and its attributes read where it lies. A program could decide a test by an object
that equals everything, so comparisons, truth and arithmetic are asked of objects only whose class the test itself names
(`Stack()`), and comparisons only between two of them.

Functions `test_*`, classes `Test*` and unittest's are run if the test does not run them itself. A test that passes
without having checked anything that the program did is broken.
"""

import ast
import builtins
import os
import sys
import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from goldpanner.verify.sandbox.operations import DUNDERS, named
from goldpanner.verify.sandbox.testcode import Prepared, asked, bound, caught, has_tests, libraries
from goldpanner.verify.sandbox.values import Opaque, decode, encode

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_GUARDED = (
    "bool contains hash abs add sub mul matmul truediv floordiv mod pow neg pos invert and_ or_ xor lshift rshift"
)
GUARDED = frozenset([*COMPARISONS, *_GUARDED.split(), "radd", "rsub", "rmul", "rtruediv", "iadd", "isub", "imul"])
"""What an object could answer so that every test passes: asked only of one whose class the test names."""


class Hidden(BaseException):
    """What the program returned cannot be judged: the test asks what only the program could answer."""


class Session:
    """The dialogue with the program's sandbox."""

    def __init__(self, say: Callable[[Any], None], hear: Callable[[], Any], names: set[str], in_place: bool) -> None:
        self.say, self.hear, self.names, self.in_place = say, hear, names, in_place
        self.ran: set[str] = set()
        """Tests that the test code itself has run."""
        self.dropped = False
        """Whether the call's value is not looked at, so that the work must be in place."""
        self.changed = False
        """Whether the program changed arguments in a call where that does not count."""
        self.calls = self.checks = 0
        self.theirs: list[BaseException] = []
        self.hidden = ""
        self.own_input = (builtins.input, sys.stdin)
        self.fed = False
        """Whether the test has put something in the place of its standard input, which the program does not see."""
        self.remotes: dict[int, Remote] = {}
        self.exceptions: dict[str, type[Exception]] = {}

    def ask(self, do: str, target: Mapping[str, object], args: tuple[Any, ...], kwargs: Mapping[str, object]) -> Any:
        """Have the program do something; return the value, raise what it raised."""
        in_place, self.dropped = self.in_place or self.dropped, False
        request = {"do": do, **target, "args": encode(args, _given), "kwargs": encode(kwargs, _given)}
        self.calls += 1
        self.fed |= (builtins.input, sys.stdin) != self.own_input
        self.say(request)
        reply = self.hear()
        sys.stdout.write(reply.get("printed", ""))
        if "end" in reply:
            raise StopIteration
        if "raised" in reply:
            self.theirs.append(self._raised(*reply["raised"][:2]))
            raise self.theirs[-1]
        if "opaque" in reply:
            self.hide(str(reply["opaque"]))
        if "after" in reply:
            if in_place:
                for old, new in zip(args, decode(reply["after"], self.value)):
                    overwrite(old, new)
            self.changed |= not in_place
        return decode(reply["value"], self.value)

    def value(self, kind: str, content: Any) -> Any:
        """Return what stands here for a value that did not cross."""
        if kind == "ndarray":
            items = decode(content, self.value)
            try:
                import numpy
            except ImportError:
                return items
            return numpy.array(items)
        number, name, able = content
        if number not in self.remotes:
            far = _kind(tuple(able), name == "generator")
            self.remotes[number] = far(self, {"ref": number}, name in self.names)
        return self.remotes[number]

    def hide(self, what: str) -> NoReturn:
        """Give up: remembered, so that no handler of the test can swallow it."""
        self.hidden = self.hidden or what
        raise Hidden(what)

    def _raised(self, name: str, message: str) -> Exception:
        """Return what the program raised: the builtin exception of this name, else a plain one that names it.

        What ends an iteration would end the test's own: `all(map(f, xs))` would be true.
        """
        kind = self.exceptions.get(name) or getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, STOPS):
            try:
                return kind(message)
            except TypeError:  # UnicodeDecodeError and some others want more than a message
                pass
        return RuntimeError(f"{name}: {message}")


STOPS = (StopIteration, StopAsyncIteration)


def _given(value: Any) -> Any:
    """Return the JSON of what is handed to the program and lies there already."""
    if isinstance(value, Remote):
        return {"ref": list(object.__getattribute__(value, "_target").values())}
    raise Opaque(f"the test hands over {type(value).__name__}, which is no plain data")


class Remote:
    """A value of the program that lies in its sandbox."""

    def __init__(self, session: Session, target: Mapping[str, object], asked: bool) -> None:
        for name, value in (("_session", session), ("_target", target), ("_asked", asked)):
            object.__setattr__(self, name, value)

    def _do(self, do: str, *args: Any, **kwargs: Any) -> Any:
        return self._session.ask(do, self._target, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._do("get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._do("set", name, value)

    def __delattr__(self, name: str) -> None:
        self._do("del", name)

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and bool(value._do("isinstance", self))


def _operation(do: str) -> Callable[..., Any]:
    def operation(self: Remote, *args: Any, **kwargs: Any) -> Any:
        if do == "exit":  # an exception of the test is never the program's to swallow
            self._do(do)
            return False
        if do in COMPARISONS and (args[0] is None or args[0] is self):
            return do in ("eq", "le", "ge") if args[0] is self else do == "ne"
        others_asked = all(isinstance(arg, Remote) and arg._asked for arg in args)
        if do in GUARDED and (not self._asked or (do in COMPARISONS and not others_asked)):
            if do == "hash":
                return id(self)
            self._session.hide(f"an object, of which the test asks {DUNDERS[do]}")
        return self._do(do, *args, **kwargs)

    return operation


for _name in ("eq", "ne", "hash", "bool", "str", "repr"):
    setattr(Remote, DUNDERS[_name], _operation(_name))


@lru_cache(maxsize=256)
def _kind(able: tuple[str, ...], generator: bool) -> type[Remote]:
    """Return the class of values that can do what the program's can: `callable(f(1))` and `iter(f(1))` tell."""
    members: dict[str, Any] = {DUNDERS[do]: _operation(do) for do in able if do in DUNDERS}
    if "next" in able:
        members |= {"__iter__": lambda self: self, "__contains__": lambda self, item: any(item == x for x in self)}
    if generator:
        members["__class__"] = property(lambda _: types.GeneratorType)
    return type("Remote", (Remote,), members)


class Named(Remote):
    """What a name of the program stands for."""

    __call__ = _operation("call")
    __getitem__ = _operation("getitem")

    def __bool__(self) -> bool:
        return True


def overwrite(old: Any, new: Any) -> None:
    """Give a container the content that the program left in its copy."""
    if isinstance(old, list) and isinstance(new, list):
        if len(old) == len(new):
            for i, (before, after) in enumerate(zip(old, new)):
                if isinstance(before, (list, dict, set)) and type(before) is type(after):
                    overwrite(before, after)
                else:
                    old[i] = after
        else:
            old[:] = new
    elif (isinstance(old, dict) and isinstance(new, dict)) or (isinstance(old, set) and isinstance(new, set)):
        old.clear()
        old.update(new)
    elif hasattr(old, "extend") and hasattr(old, "clear") and type(old) is type(new):  # a deque, a bytearray
        old.clear()
        old.extend(new)


# ------------------------------------------------------------------------------------------------ running it


def test(program: str, in_place: bool, say: Callable[[Any], None], hear: Callable[[], Any]) -> NoReturn:
    """Run test code; say what came of it. `in_place`: what a call does to its arguments counts everywhere."""
    say("started")
    try:
        tree = ast.parse(program, "tests.py")
        session = Session(say, hear, asked(tree) - bound(tree), in_place)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        say({"broken": ": ".join(named(error)[:2])})
        os._exit(0)
    outcome: dict[str, object] = {}
    try:
        _run(tree, session)
    except BaseException as error:
        # a test says nothing of the program if it fails before it asks anything, or by itself for lack of a module or
        # for an argument that cannot cross; what the program raised is never the test's fault
        its_own = isinstance(error, (ImportError, Opaque)) and not any(error is each for each in session.theirs)
        if session.fed:
            outcome = {"broken": "it gives the program a standard input of its own, which does not cross"}
        else:
            why = ": ".join(filter(None, named(error)[:2]))
            outcome = {"failed" if session.calls and not its_own else "broken": why}
    else:
        asks = "asks nothing of the program" if not session.calls else "" if session.checks else "checks nothing"
        outcome = {"broken": f"it {asks}"} if asks else {"passed": session.calls}
    say({"hidden": session.hidden} if session.hidden else {**outcome, "changed": session.changed})
    os._exit(0)


def _run(tree: ast.Module, session: Session) -> None:
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    space = module.__dict__
    prepared, names, tested = Prepared(), asked(tree), has_tests(tree)
    tree = ast.fix_missing_locations(prepared.visit(tree))
    for name in names:
        own = prepared.renamed.get(name, name)
        space[name] = Named(session, {"name": own}, True) if own else Program(session)
    if kinds := caught(tree) & session.names:
        session.say({"do": "exceptions", "names": sorted(kinds)})
        for name in session.hear().get("value", ()):
            space[name] = session.exceptions[name] = type(name, (Exception,), {})

    def checked() -> None:
        session.checks += 1

    def dropped(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        session.dropped = isinstance(function, Remote)
        return function(*args, **kwargs)

    space.update(__checked__=checked, __dropped__=dropped, __ran__=session.ran.add)
    if tested:
        from goldpanner.verify.sandbox.layouts import pytest, run

        sys.modules["pytest"] = pytest()
    space.update({name: __import__(name) for name in libraries(tree)})
    try:
        exec(compile(tree, "tests.py", "exec"), space)
    except SystemExit as end:
        if end.code:
            raise AssertionError(f"the test ended with status {end.code}") from None
    if tested:
        run(space, session.ran)


class Program:
    """The program as a module: `import solution`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        self._session.names.add(name)
        return Named(self._session, {"name": name}, True)
