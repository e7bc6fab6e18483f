"""Where model-written Python runs: bubblewrap, else Python in WebAssembly, else (only if told so) unconfined.

The threat is a policy that optimises its reward, not a kernel exploit; docs/verifiers.md says what is held back and
what is not.
"""

import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources, util
from itertools import count
from pathlib import Path
from typing import Any, Literal

from goldpanner.errors import InputError
from goldpanner.verify.sandbox import wasi
from goldpanner.verify.sandbox.seccomp import filter_program

Mode = Literal["script", "serve", "test"]


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 5.0
    """Processor time of a process. By the clock it may take three times that and two seconds more."""
    memory_mb: int = 512
    """Address space of a process."""
    processes: int = 8
    """Processes and threads at once."""
    disk_mb: int = 16
    """Of its scratch folder, which lies in memory."""
    output_kb: int = 256
    """Standard output and error together."""

    def __post_init__(self) -> None:
        for name in ("seconds", "memory_mb", "processes", "disk_mb", "output_kb"):
            if not getattr(self, name) > 0:
                raise InputError(f"sandbox limits: {name} is {getattr(self, name)!r}; give a number above 0")

    @property
    def clock(self) -> float:
        """Seconds by the clock until a program is given up."""
        return 3 * self.seconds + 2


class Stopped(Exception):
    """A process came to its end before it said what was waited for. `why` names it in words."""

    def __init__(self, kind: Literal["ended", "time", "output"], why: str) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True)
class Sandbox:
    """One way of running the text of `confined` in a process of its own."""

    name: Literal["bubblewrap", "wasi", "unconfined"]
    python: str
    """The interpreter inside; for `wasi` the path of a WebAssembly one."""
    users: int = 0
    """First of the user ids that runs take in turn; 0 keeps the caller's."""
    space: int = 1
    """How many user ids there are to take."""

    def start(self, mode: Mode, program: str, limits: Limits) -> "Running":
        """Start a program; the caller must close what is returned. Raises OSError if no process can be made."""
        user = self.users + next(_TURNS) % self.space if self.users else 0
        header = {
            "mode": mode,
            "program": program,
            "limits": {
                "user": user,
                "memory": limits.memory_mb << 20,
                "cpu": math.ceil(limits.seconds),
                "processes": limits.processes if self.name == "bubblewrap" else 0,
                "disk": limits.disk_mb << 20,
            },
        }
        return Running(self, json.dumps(header).encode(), limits)

    def command(self, limits: Limits, info: int, calls: int | None = None) -> list[str]:
        """Return what to run.

        bubblewrap tells the process id of its first process on the descriptor `info`, and reads the filter of system
        calls from `calls`.
        """
        inside = ["-I", "-S", "-B", "-X", "utf8", "-c", _confined()]
        if self.name == "unconfined":
            return [self.python, *inside]
        if self.name == "wasi":
            return [*wasi.command(Path(self.python), limits.memory_mb, math.ceil(limits.seconds)), *inside]
        bwrap = _bubblewrap(self.python, bool(self.users), limits.disk_mb << 20)
        seccomp = [] if calls is None else ["--seccomp", str(calls)]
        return ["bwrap", "--info-fd", str(info), *seccomp, *bwrap, self.python, *inside]


_TURNS = count(os.getpid())


@lru_cache(maxsize=1)
def _confined() -> str:
    return resources.files("goldpanner.verify.sandbox").joinpath("confined.py").read_text(encoding="utf-8")


def _bubblewrap(python: str, root: bool, disk: int) -> Iterator[str]:
    """Yield bwrap's arguments: every namespace of its own, the system read-only, one writable folder, nothing else."""
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    if not root:
        yield "--unshare-user"
    yield from ("--as-pid-1", "--die-with-parent", "--new-session", "--clearenv", "--ro-bind", "/usr", "/usr")
    for name in ("/bin", "/lib", "/lib64", "/lib32"):
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            yield from ("--ro-bind", name, name)
    home = Path(python).parent.parent
    if not home.is_relative_to("/usr"):
        for parent in [p for p in reversed(home.parents) if p != Path("/")]:
            yield from ("--perms", "0755", "--dir", str(parent))
        yield from ("--ro-bind", str(home), str(home))
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--dev", "/dev", "--remount-ro", "/dev")
    yield from ("--perms", "0777", "--size", str(disk), "--tmpfs", "/box", "--symlink", "box", "/tmp")
    yield from ("--setenv", "HOME", "/box", "--remount-ro", "/", "--chdir", "/box", "--")


def _piped(data: bytes) -> int:
    """Return a descriptor to read a little data from."""
    source, sink = os.pipe()
    os.write(sink, data)
    os.close(sink)
    return source


@dataclass
class Running:
    """A process in a sandbox, spoken to through pipes; a context manager that leaves nothing behind."""

    sandbox: Sandbox
    header: bytes
    limits: Limits
    error: bytes = field(default=b"", init=False)
    """What it wrote to standard error."""

    def __post_init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory() if self.sandbox.name == "unconfined" else None
        pipe = subprocess.PIPE
        self._info, info = os.pipe()
        handed = [info]
        try:
            if self.sandbox.name == "bubblewrap" and (rules := filter_program()) is not None:
                handed.append(_piped(rules))
            self._process = subprocess.Popen(
                self.sandbox.command(self.limits, *handed),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                bufsize=0,
                cwd=self._scratch.name if self._scratch else None,
                env=None if self.sandbox.name == "wasi" else {"PATH": os.environ.get("PATH", "")},
                start_new_session=True,
                pass_fds=handed,
            )
        except BaseException:
            os.close(self._info)
            if self._scratch is not None:
                self._scratch.cleanup()
            raise
        finally:
            for descriptor in handed:
                os.close(descriptor)
        assert self._process.stdin is not None
        self._in = self._process.stdin
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = self._process.stdout, self._process.stderr
        for stream in (self._in, self._out, self._err):
            os.set_blocking(stream.fileno(), False)
        self._deadline = time.monotonic() + self.limits.clock
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        self._unsent = bytearray(b"%012d" % len(self.header) + self.header)
        self._unread = bytearray()
        self._room = self.limits.output_kb << 10
        self._closing = False

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes, end: bool = False) -> None:
        """Put data on its standard input; `end` closes it after that. It is written while something is waited for."""
        self._unsent += data
        self._closing = end

    def line(self) -> bytes:
        """Return the next line of its standard output. Raises Stopped."""
        while b"\n" not in self._unread:
            if not self._pump():
                raise self._ended()
        line, _, self._unread = self._unread.partition(b"\n")
        return bytes(line)

    def rest(self) -> tuple[bytes, int]:
        """Return the rest of its standard output and its exit status, once it has ended. Raises Stopped."""
        while self._pump():
            pass
        return bytes(self._unread), self._status()

    def close(self) -> None:
        """Kill it with all that it started, and free its pipes."""
        if self._process.poll() is None:
            self._kill()
        os.close(self._info)
        self._selector.close()
        for stream in (self._in, self._out, self._err):
            with suppress(BrokenPipeError):
                stream.close()
        self._process.wait()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _kill(self) -> None:
        if self.sandbox.name == "bubblewrap":
            # its first process takes the others with it, and is waited for; bwrap's own death would leave that to init
            os.set_blocking(self._info, False)
            with suppress(BlockingIOError, ValueError, KeyError, ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(json.loads(os.read(self._info, 4096))["child-pid"], signal.SIGKILL)
                self._process.wait(2)
                return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _pump(self) -> bool:
        """Move what can be moved until something arrives; return False at the end of its standard output."""
        while True:
            self._offer()
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise Stopped("time", f"not finished after {self.limits.clock:g} s by the clock")
            for key, _ in self._selector.select(left):
                if key.fileobj is self._in:
                    continue
                data = os.read(key.fd, 65536)
                self._room -= len(data)
                if self._room < 0:
                    raise Stopped("output", f"more than {self.limits.output_kb} kB of output")
                if key.fileobj is self._err:
                    self.error += data
                    if not data:
                        self._selector.unregister(self._err)
                    continue
                self._unread += data
                return bool(data)

    def _offer(self) -> None:
        """Write as much of the input as its pipe takes, and ask to be told when it takes more."""
        registered = self._in in [key.fileobj for key in self._selector.get_map().values()]
        try:
            while self._unsent:
                written = self._in.write(bytes(self._unsent[:65536]))
                if not written:
                    if not registered:
                        self._selector.register(self._in, selectors.EVENT_WRITE)
                    return
                del self._unsent[:written]
        except BrokenPipeError:  # it does not want to hear more; its end tells
            self._unsent.clear()
        if registered:
            self._selector.unregister(self._in)
        if self._closing and not self._in.closed:
            with suppress(BrokenPipeError):
                self._in.close()

    def _status(self) -> int:
        """Wait for the process and return its exit status, a signal as 128 + its number."""
        try:
            status = self._process.wait(max(0.1, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Stopped("time", f"not finished after {self.limits.clock:g} s by the clock") from None
        return 128 - status if status < 0 else status

    def _ended(self) -> Stopped:
        return Stopped("ended", ending(self._status(), self.error, self.limits))


def ending(status: int, error: bytes, limits: Limits) -> str:
    """Return in words how a program came to its end."""
    last = error.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
    if status in (152, 137) and not last:
        used_up = f"its {math.ceil(limits.seconds)} s of processor time are used up"
        return used_up if status == 152 else f"killed ({used_up}, or memory)"
    if status > 128:
        return f"killed by signal {status - 128}" + (f": {last}" if last else "")
    return last or f"exited with {status}"


PROBE = """
import json, os, socket
found = {}
def tried(name, attempt):
    try:
        attempt()
        found[name] = True
    except (OSError, AttributeError, NotImplementedError):
        found[name] = False
def connect():
    s = socket.socket(); s.settimeout(1); s.connect(("192.0.2.1", 9))
def processes():
    made = 0
    try:
        for _ in range(40):
            if os.fork() == 0:
                import time; time.sleep(2); os._exit(0)
            made += 1
    except OSError:
        return
    if made == 40:
        raise SystemExit("forty processes were made")
tried("reads the list of users", lambda: open("/etc/passwd").close())
tried("reads /proc", lambda: os.listdir("/proc/1"))
tried("is root", lambda: os.getuid() == 0 or os.open("/no/such/file", 0))
tried("writes outside its folder", lambda: open("/usr/goldpanner-probe", "w"))
tried("writes to /", lambda: open("/goldpanner-probe", "w"))
tried("connects", connect)
if hasattr(os, "fork"):
    processes()
print(json.dumps([name for name, held in found.items() if held]))
"""


def self_test(sandbox: Sandbox) -> str | None:
    """Return None if the sandbox runs a program and holds back what it must, else what went wrong."""
    limits = Limits(seconds=5, memory_mb=256)
    try:
        with sandbox.start("script", PROBE, limits) as running:
            running.send(b"", end=True)
            if running.line() != b"started":
                return "it does not start Python"
            out, status = running.rest()
    except Stopped as stop:
        return str(stop)
    except OSError as error:
        return str(error)
    if status:
        return ending(status, running.error, limits)
    leaks: Any = json.loads(out)
    return ", ".join(leaks) or None


UNCONFINED = "GOLDPANNER_UNCONFINED"
"""Environment variable: 1 lets programs run without a sandbox where none works, in workers elsewhere too."""


@lru_cache(maxsize=2)
def find(unconfined: bool = False) -> Sandbox:
    """Return the first sandbox that passes its self-test: bubblewrap, then WASI.

    Raises InputError naming what each lacks, unless `unconfined` or $GOLDPANNER_UNCONFINED=1: then a plain process with
    limits, which is no sandbox, is the last resort.
    """
    refused = []
    for sandbox in _candidates():
        reason = self_test(sandbox)
        if reason is None:
            return sandbox
        refused.append(f"{sandbox.name} ({sandbox.python}): {reason}")
    if unconfined or os.environ.get(UNCONFINED) == "1":
        return Sandbox("unconfined", sys.executable)
    raise InputError(
        "no sandbox for model-written code works here: "
        + ("; ".join(refused) or "bubblewrap (bwrap) is not installed, nor Python for WebAssembly")
        + ". Install bubblewrap (Debian: apt-get install bubblewrap), or run the programs without one, with your own "
        f"rights: {UNCONFINED}=1, in Python Code(unconfined=True)"
    )


def _candidates() -> Iterator[Sandbox]:
    """Yield the sandboxes to try, best first."""
    if shutil.which("bwrap") and sys.platform == "linux":
        pythons = [os.path.realpath(sys.executable)]
        if system := shutil.which("python3", path="/usr/bin:/usr/local/bin"):
            pythons.append(os.path.realpath(system))
        for python in dict.fromkeys(pythons):
            if os.getuid() == 0:
                yield Sandbox("bubblewrap", python, users=1_000_000_000, space=1_000_000_000)
                yield Sandbox("bubblewrap", python, users=65534)
            yield Sandbox("bubblewrap", python)
    if util.find_spec("wasmtime") is not None:
        wasm = wasi.interpreter()
        if wasm is not None:
            yield Sandbox("wasi", str(wasm))
