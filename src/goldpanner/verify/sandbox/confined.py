"""What runs inside the sandbox: the *text* of this module is handed to a bare Python, so it imports no goldpanner.

Three modes. `script`: the program, its standard input and output its own. `serve`: the program is loaded once, then its
functions are called on plain data. `test`: trusted test code, in a sandbox without the program; each function of the
program that it calls is asked of a `serve` process through the parent. Expected answers never enter a process that runs
the program, and only plain data leaves it.
"""

import ast
import builtins
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

FILES = 10_000
"""That a program's folder may hold."""


class Opaque(Exception):
    """A value that is no plain data."""


def encode(value: Any) -> Any:
    """Return plain data (numbers, texts, bytes, lists, tuples, sets, dicts) as JSON that keeps their types."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return {"float": float.__repr__(value)}
    if isinstance(value, complex):
        return {"complex": [float.__repr__(value.real), float.__repr__(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, list):
        return [encode(item) for item in list.__iter__(value)]
    kinds: tuple[Any, ...] = (tuple, set, frozenset)
    for kind in kinds:
        if isinstance(value, kind):
            return {kind.__name__: [encode(item) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in dict.items(value)]}
    raise Opaque(type(value).__name__)


def decode(data: Any) -> Any:
    """Return the value that `encode` was given. Raises ValueError or TypeError on anything else."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind == "float":
        return float(content)
    if kind == "complex":
        return complex(float(content[0]), float(content[1]))
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    builder: Callable[[Any], Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}[kind]
    return builder([decode(item) for item in content])


def main() -> None:
    """Read the header (12 digits of length, then JSON), give up rights, and run."""
    header = json.loads(_exactly(int(_exactly(12))))
    if os.getpid() == 1:
        _watch()
    _confine(header["limits"])
    {"script": _script, "serve": _serve, "test": _test}[header["mode"]](header["program"])


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit("the header was cut")
        data += part
    return data


def _watch() -> None:
    """As the first process of a namespace: go on in a child, and end with it, which ends all that it started.

    It also ends when the folder holds too many files: each takes a kilobyte that the folder's size does not count.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        return
    while True:
        signal.sigtimedwait([signal.SIGCHLD], 0.05)
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
                os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
        folder = os.statvfs(".")
        if folder.f_files - folder.f_ffree > FILES:
            os.write(2, b"more than %d files\n" % FILES)
            os._exit(1)


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
        ("AS", limits["memory"], limits["memory"]),
        ("CPU", limits["cpu"], limits["cpu"] + 1),
        ("NPROC", limits["processes"], limits["processes"]),
        ("FSIZE", limits["disk"], limits["disk"]),
        ("NOFILE", 64, 64),
        ("CORE", 0, 0),
    ):
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is not None and (name != "NPROC" or limits["processes"]):
            with contextlib.suppress(ValueError, OSError):  # a lower limit is there already, or the system has none
                resource.setrlimit(kind, (soft, hard))


def _script(program: str) -> None:
    os.write(1, b"started\n")
    exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})


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


def _serve(program: str) -> NoReturn:
    say, hear = _channel()
    say("started")
    space: dict[str, Any] = {"__name__": "program"}
    try:
        exec(compile(program, "program.py", "exec"), space)
    except BaseException as error:
        say({"raised": _named(error)})
        os._exit(0)
    say("loaded")
    while True:
        request = hear()
        try:
            called = _resolve(space, request["call"])
            reply = {"value": encode(called(*decode(request["args"]), **decode(request["kwargs"])))}
        except Opaque as error:
            reply = {"opaque": str(error)}
        except BaseException as error:
            reply = {"raised": _named(error)}
        try:
            say(reply)
        except (ValueError, RecursionError) as error:  # a whole number too long to print, data too deep
            say({"opaque": str(error)[:200]})


def _resolve(space: dict[str, Any], name: str) -> Any:
    """Return what `f` or `Solution().f` names."""
    first, *rest = name.split(".")
    found = space[first.removesuffix("()")]
    if first.endswith("()"):
        found = found()
    for part in rest:
        found = getattr(found, part)
    return found


def _named(error: BaseException) -> list[str]:
    try:
        return [type(error).__name__, str(error)[:300]]
    except BaseException:
        return [type(error).__name__, ""]


def asked(tree: ast.AST) -> set[str]:
    """Return the names in test code that may be the program's: all but the builtins.

    A builtin's name is the program's in an assertion that names nothing else: `assert sum(10, 15) == 6`. The test alone
    decides: a program that could put its own `abs` or `len` into a test would pass it.
    """
    found = {name for name in _names(tree) if not hasattr(builtins, name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and len(alone := _names(node)) == 1:
            found |= alone
    return found


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _test(program: str) -> NoReturn:
    say, hear = _channel()
    say("started")
    calls = 0
    theirs: list[BaseException] = []

    def proxy(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            request = {"call": name, "args": encode(args), "kwargs": encode(kwargs)}
            calls += 1
            say(request)
            reply = hear()
            if "raised" in reply:
                theirs.append(_raised(*reply["raised"]))
                raise theirs[-1]
            return decode(reply["value"])

        return call

    try:
        tree = ast.parse(program, "tests.py")
        space: dict[str, Any] = {name: proxy(name) for name in asked(tree)}
        exec(compile(tree, "tests.py", "exec"), {**space, "__name__": "__main__"})
    except BaseException as error:
        # a test says nothing of the program if it fails before it asks anything, or by itself for lack of a module or
        # for an argument that cannot cross; what the program raised is never the test's fault
        its_own = isinstance(error, (ImportError, Opaque)) and not any(error is each for each in theirs)
        say({"failed" if calls and not its_own else "broken": ": ".join(part for part in _named(error) if part)})
    else:
        say({"passed": calls})
    os._exit(0)


def _raised(name: str, message: str) -> Exception:
    """Return what the program raised: the builtin exception of this name, else a plain one that names it."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):  # UnicodeDecodeError and some others want more than a message
            return kind(message)
    return Exception(f"{name}: {message}")


if __name__ == "__main__":
    main()
