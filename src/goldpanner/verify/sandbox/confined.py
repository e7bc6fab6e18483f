"""What runs inside the sandbox: the *text* of this module is handed to a bare Python, so it imports only such texts.

Four modes. `script`: the program, its standard input and output its own. `serve`: the program is loaded once, then its
functions are called. `test` and `check`: trusted code of the problem, in a sandbox without the program; what a test
calls is asked of a `serve` process through the parent. Expected answers never enter a process that runs the program,
and only plain data leaves it: of other values a reference, by which the test may call methods and read attributes.
"""

import builtins
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from goldpanner.verify.sandbox.operations import DUNDERS, OPERATIONS, named
from goldpanner.verify.sandbox.values import Opaque, decode, encode

FILES = 10_000
"""That a program's folder may hold."""
RECURSION = 50_000
"""Depth of calls, as LiveCodeBench's harness sets it."""
STACK = 1 << 28
"""Bytes of the first thread's stack."""
ITEMS = 1_000_000
"""Of an iterator that is read to its end."""
INPUT = ".stdin"
"""The file in the program's folder that is its standard input."""


def main(channel: int | None = None, give_up: Callable[[], None] | None = None) -> None:
    """Read the header (12 digits of length, then JSON), give up rights, and run.

    `channel`: a socket whose other end is closed when the program is to end; `give_up` is called before it starts.
    """
    header = json.loads(_exactly(int(_exactly(12))))
    if os.getpid() == 1:
        _watch(channel)
    if header["mode"] == "script" and header.get("stdin") is not None:
        _read_from(header["stdin"])
    sys.path += header.get("packages", ())
    _confine(header["limits"])
    if give_up is not None:
        give_up()
    _furnish()
    if header["mode"] == "test":
        from goldpanner.verify.sandbox.tester import test

        test(header["program"], bool(header.get("in_place")), *_channel())
    {"script": _script, "serve": _serve, "check": _check}[header["mode"]](header["program"])


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit("the header was cut")
        data += part
    return data


def _watch(channel: int | None) -> None:
    """As the first process of a namespace: go on in a child, and end with it, which ends all that it started.

    It also ends when the channel is closed, and when the folder holds too many files: each takes a kilobyte that the
    folder's size does not count.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        if channel is not None:
            os.close(channel)
        return
    wait = _waiting(child, channel)
    while True:
        wait()
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                os._exit(status_of(ended[1]))
        folder = os.statvfs(".")
        if folder.f_files - folder.f_ffree > FILES:
            os.write(2, b"more than %d files\n" % FILES)
            os._exit(1)


def _waiting(child: int, channel: int | None) -> Callable[[], object]:
    """Return what waits for 50 ms, or until the child or the channel ends (the channel's end is this process's)."""
    if channel is None:
        return lambda: signal.sigtimedwait([signal.SIGCHLD], 0.05)
    import select

    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(os.pidfd_open(child), select.POLLIN)

    def wait() -> None:
        if any(descriptor == channel for descriptor, _ in poll.poll(50)):
            os._exit(137)

    return wait


def status_of(status: int) -> int:
    """Return an exit status of waitpid as the shell gives it: a signal is 128 + its number."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _read_from(text: str) -> None:
    """Make a file of the input, as judges do: it can be sought in, and opened by the name /dev/stdin."""
    if not hasattr(os, "dup2"):  # WebAssembly has no files
        sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode("utf-8", "surrogatepass")), "utf-8")
        return
    with open(INPUT, "wb") as file:  # noqa: PTH123 (pathlib takes ten milliseconds to import)
        file.write(text.encode("utf-8", "surrogatepass"))
    os.chmod(INPUT, 0o444)  # noqa: PTH101
    source = os.open(INPUT, os.O_RDONLY)
    os.dup2(source, 0)
    os.close(source)


def _confine(limits: dict[str, int]) -> None:
    """Give up the user's rights (where asked) and set the kernel's limits on this process and its children."""
    if user := limits.get("user"):
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    try:
        import resource
    except ImportError:  # WebAssembly: the runtime has its own limits
        return
    for name, soft, hard in (
        ("AS", limits["space"], limits["space"]),
        ("CPU", limits["cpu"], limits["cpu"] + 1),
        ("NPROC", limits["processes"], limits["processes"]),
        ("FSIZE", limits["disk"], limits["disk"]),
        ("STACK", STACK, -1),
        ("NOFILE", 64, 64),
        ("CORE", 0, 0),
    ):
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is not None and (name != "NPROC" or limits["processes"]):
            with contextlib.suppress(ValueError, OSError):  # a lower limit is there already, or the system has none
                resource.setrlimit(kind, (soft, hard if hard >= 0 else resource.getrlimit(kind)[1]))


def _furnish() -> None:
    """Give scripts what Python gives them that was not started bare, and numbers of any length."""
    import _sitebuiltins as site

    for name in ("exit", "quit"):
        setattr(builtins, name, site.Quitter(name, "Ctrl-D"))
    for name in ("copyright", "credits", "license"):
        setattr(builtins, name, site._Printer(name, ""))
    builtins.help = site._Helper()
    sys.setrecursionlimit(RECURSION)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    sys.argv[:] = ["program.py"]


def _script(program: str) -> NoReturn:
    os.write(1, b"started\n")
    space = sys.modules["__main__"].__dict__
    space.clear()
    space.update(__name__="__main__", __builtins__=builtins, __file__="program.py")
    status = 0
    try:
        exec(compile(program, "program.py", "exec"), space)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int) and end.code is not None:
            sys.stderr.write(f"{end.code}\n")
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    _finish(status)


def _finish(status: int) -> NoReturn:
    """End as Python ends: wait for threads, do what is to be done at the end, write what was printed."""
    import atexit

    try:
        if (threading := sys.modules.get("threading")) is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        os.write(2, f"{type(error).__name__} at the end\n".encode())
        status = status or 120
    os._exit(status & 255)


def _channel() -> tuple[Callable[[Any], None], Callable[[], Any]]:
    """Move standard input and output out of the program's way; return (say, hear) for JSON lines."""
    source, sink = 0, 1
    if hasattr(os, "dup2"):
        source, sink, null = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
    else:  # WebAssembly
        sys.stdin, sys.stdout = io.StringIO(), io.StringIO()
    lines = os.fdopen(source, "rb")

    def say(message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(sink, data) :]

    def hear() -> Any:
        line = lines.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    return say, hear


class _Held:
    """The program's names, and its values that are no plain data."""

    def __init__(self, space: dict[str, Any]) -> None:
        self.space = space
        self.values: list[Any] = []
        self.numbers: dict[int, int] = {}

    def reference(self, value: Any) -> Any:
        """Return the JSON of a reference: number, class if the program's names hold it, what can be done with it."""
        number = self.numbers.setdefault(id(value), len(self.values))
        if number == len(self.values):
            self.values.append(value)
        kind = type(value)
        name = kind.__name__ if self.space.get(kind.__name__) is kind else ""
        if kind is type(_ for _ in ()):
            name = "generator"
        special = set().union(*(vars(each) for each in kind.__mro__))
        return {"ref": [number, name, [do for do, dunder in DUNDERS.items() if dunder in special]]}

    def referred(self, kind: str, content: Any) -> Any:
        if kind != "ref":
            return decode(content, self.referred)
        return self.target({"name" if isinstance(content[0], str) else "ref": content[0]})

    def target(self, request: dict[str, Any]) -> Any:
        """Return what a request is about: a reference, or `f`, `Solution().f`: a function may stand in `Solution`."""
        if "name" not in request:
            return self.values[request["ref"]]
        first, *rest = request["name"].split(".")
        name = first.removesuffix("()")
        if name not in self.space and not rest and isinstance(self.space.get("Solution"), type):
            return getattr(self.space["Solution"](), name)
        if name == "Solution" and name not in self.space and rest:
            return self.space[rest[0]]
        value = self.space[name] if name in self.space else self.missing(name)
        if first.endswith("()"):
            value = value()
        for part in rest:
            value = getattr(value, part)
        return value

    def missing(self, name: str) -> NoReturn:
        raise NameError(f"name {name!r} is not defined")


def _serve(program: str) -> NoReturn:
    say, hear = _channel()
    say("started")
    space: dict[str, Any] = {"__name__": "program"}
    try:
        exec(compile(program, "program.py", "exec"), space)
    except BaseException as error:
        say({"raised": named(error)})
        os._exit(0)
    say("loaded")
    held = _Held(space)
    while True:
        request = hear()
        sys.stdout = printed = io.StringIO()
        try:
            reply = _answer(held, request)
        except Opaque as error:
            reply = {"opaque": str(error)}
        except StopIteration as error:
            reply = {"end": True} if request["do"] == "next" else {"raised": named(error)}
        except BaseException as error:
            reply = {"raised": named(error)}
        if text := printed.getvalue():
            reply["printed"] = text
        try:
            say(reply)
        except (ValueError, RecursionError) as error:  # data too deep
            say({"opaque": str(error)[:200]})


def _answer(held: _Held, request: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request; `after` holds the arguments where the program changed them in place."""
    if request["do"] == "exceptions":
        kinds = {name: held.space.get(name) for name in request["names"]}
        return {"value": [n for n, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Exception)]}
    given: Any = decode(request["args"], held.referred)
    value = OPERATIONS[request["do"]](held.target(request), *given, **decode(request["kwargs"], held.referred))
    if request.get("flat"):
        value = _flat(value)
    reply = {"value": encode(value, None if request.get("flat") else held.reference)}
    with contextlib.suppress(Opaque):
        after = encode(given, held.reference)
        if after != request["args"]:
            reply["after"] = after
    return reply


def _flat(value: Any) -> Any:
    """Return an iterator as the list of what it gives."""
    if not hasattr(type(value), "__next__"):
        return value
    from itertools import islice

    items = list(islice(value, ITEMS))
    if len(items) == ITEMS:
        raise Opaque(f"an iterator of {ITEMS} items or more")
    return items


def _check(program: str) -> NoReturn:
    """Run a checker: `check(*args)` of each line that comes in; a fault of its own is told apart from an answer."""
    say, hear = _channel()
    say("started")
    space: dict[str, Any] = {"__name__": "checker"}
    try:
        exec(compile(program, "checker.py", "exec"), space)
        check = space["check"]
    except BaseException as error:
        say({"broken": ": ".join(named(error)[:2])})
        os._exit(0)
    while True:
        args: Any = decode(hear())
        try:
            say({"right": bool(check(*args))})
        except (AssertionError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            say({"right": False, "why": ": ".join(named(error)[:2])})  # what was printed is no answer at all
        except BaseException as error:
            say({"broken": ": ".join(named(error)[:2])})
