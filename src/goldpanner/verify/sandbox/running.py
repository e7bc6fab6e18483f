"""A process in a sandbox, spoken to through pipes, with a limit on its time by the clock and on what it says."""

import json
import math
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Literal, Protocol

from goldpanner.errors import InputError
from goldpanner.verify.sandbox import memory
from goldpanner.verify.sandbox.seccomp import filter_program

PATIENCE = 4
"""How many times its time by the clock a program is given beside it on a machine that is busy with something else."""


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 5.0
    """Processor time of a process. By the clock it may take three times that and two seconds more, less what a busy
    machine makes it wait."""
    memory_mb: int = 1024
    """Memory in use, of all its processes and files together; `docs/programs.md` says what is limited elsewhere."""
    processes: int = 8
    """Processes and threads at once."""
    disk_mb: int = 16
    """Of its scratch folder, which lies in memory."""
    output_kb: int = 1024
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
    """A process came to its end before it said what was waited for.

    `kind`: it `ended`; it used up its `time` by the clock, though the machine was free; the machine was `busy`; it said
    too much (`output`); the sandbox has `failed`. `why` names it in words.
    """

    def __init__(self, kind: Literal["ended", "time", "busy", "output", "failed"], why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Spoken(Protocol):
    """What the verifier needs of a program that runs, here or elsewhere; a context that leaves nothing behind."""

    error: bytes

    def __enter__(self) -> "Spoken": ...
    def __exit__(self, *_: object) -> None: ...
    def send(self, data: bytes) -> None:
        """Put lines on its standard input."""

    def line(self) -> bytes:
        """Return the next line of its standard output. Raises Stopped."""

    def rest(self) -> tuple[bytes, int]:
        """Return the rest of its standard output and its exit status, once it has ended. Raises Stopped."""

    def close(self) -> None:
        """End it with all that it started."""

    def ending(self, status: int) -> str:
        """Return in words how it came to its end. Raises Stopped where the machine, not the program, is the reason."""


class Started(Protocol):
    """A process that has begun."""

    stdin: FileIO
    stdout: FileIO
    stderr: FileIO

    @property
    def first(self) -> int:
        """Process id of its first process, 0 if not known."""

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, a signal as 128 + its number or as minus it. Raises TimeoutExpired."""

    def kill(self) -> None:
        """End it with all it started."""

    def close(self) -> None:
        """Free what it held, once it has ended."""


class Spawned:
    """A process started for one program. `confining`: bubblewrap, which says its first process's id on a pipe."""

    def __init__(self, command: Sequence[str], confining: bool, scratch: bool, group: memory.Group | None) -> None:
        self._scratch = tempfile.TemporaryDirectory() if scratch else None
        read_end, info = os.pipe()
        handed, words = [info], list(command)
        try:
            if confining:
                options = ["--info-fd", str(info)]
                if (rules := filter_program()) is not None:
                    handed.append(_piped(rules))
                    options += ["--seccomp", str(handed[-1])]
                words[1:1] = options
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                words,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                bufsize=0,
                cwd=self._scratch.name if self._scratch else None,
                env={"PATH": os.environ.get("PATH", "")} if scratch or confining else None,
                start_new_session=True,
                pass_fds=handed if confining else (),
            )
        except BaseException:
            os.close(read_end)
            self.close()
            raise
        finally:
            for descriptor in handed:
                os.close(descriptor)
        self._confined = 0
        with os.fdopen(read_end, "rb") as report, suppress(ValueError, KeyError):  # bwrap failed: its end says why
            self._confined = json.loads(report.read())["child-pid"] if confining else 0
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self.stdin, self.stdout, self.stderr = (stream for stream in streams if isinstance(stream, FileIO))
        if self._confined and group is not None:
            group.add(self._confined)

    @property
    def first(self) -> int:
        """Process id of its first process."""
        return self._confined or self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended. Raises TimeoutExpired."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Kill it with all that it started."""
        if self._confined:
            # its first process takes the others with it, and is waited for; bwrap's own death would leave that to init
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(self._confined, signal.SIGKILL)
                self._process.wait(2)
                return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Remove its folder."""
        if self._scratch is not None:
            self._scratch.cleanup()


@dataclass
class Running:
    """A program on this machine: `start` begins its process, in the control group if there is one."""

    start: Callable[[memory.Group | None], Started]
    header: bytes
    limits: Limits
    group: memory.Group | None = None
    error: bytes = field(default=b"", init=False)
    """What it wrote to standard error."""

    def __post_init__(self) -> None:
        self._kills = _kills_of_machine()
        try:
            self._process = self.start(self.group)
        except BaseException:
            if self.group is not None:
                self.group.close()
            raise
        self._in, self._out, self._err = self._process.stdin, self._process.stdout, self._process.stderr
        for stream in (self._in, self._out, self._err):
            os.set_blocking(stream.fileno(), False)
        self._deadline = time.monotonic() + self.limits.clock
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        self._unsent = bytearray(b"%012d" % len(self.header) + self.header)
        self._unread = bytearray()
        self._room = self.limits.output_kb << 10
        self._granted = 0.0

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Put data on its standard input; it is written while something is waited for."""
        self._unsent += data

    def line(self) -> bytes:
        """Return the next line of its standard output. Raises Stopped."""
        while b"\n" not in self._unread:
            if not self._pump():
                raise Stopped("ended", self.ending(self._status()))
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
            self._process.kill()
        self._selector.close()
        for stream in (self._in, self._out, self._err):
            with suppress(BrokenPipeError):
                stream.close()
        with suppress(OSError):  # what made it has ended, and so has it
            self._process.wait()
        self._process.close()
        if self.group is not None:
            self.group.close()

    def ending(self, status: int) -> str:
        """Return in words how it came to its end. Raises Stopped where the machine, not the program, is the reason."""
        if self.group is not None and self.group.exceeded():
            return f"more than {self.limits.memory_mb} MB of memory"
        starved = self.group.starved() if self.group is not None else _kills_of_machine() > self._kills
        if status == 137 and starved:
            raise Stopped("failed", "killed: the machine has run out of memory")
        return ending(status, self.error, self.limits)

    def _pump(self) -> bool:
        """Move what can be moved until something arrives; return False at the end of its standard output."""
        while True:
            self._offer()
            left = self._left()
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
                if not data:
                    self._drain()
                return bool(data)

    def _drain(self) -> None:
        """Read what stands on standard error: it was written before standard output ended."""
        while data := self._err.read(65536):
            self.error += data[: max(self._room, 0)]
            self._room -= len(data)

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

    def _status(self) -> int:
        """Wait for the process and return its exit status, a signal as 128 + its number."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                status = self._process.wait(self._left())
                if not status and self.group is not None and self.group.exceeded():
                    return 137
                return 128 - status if status < 0 else status

    def _left(self) -> float:
        """Return the seconds left by the clock, which stands still while a busy machine lets the program wait.

        Raises Stopped if none are left.
        """
        left = self._deadline - time.monotonic()
        if left > 0:
            return left
        clock = self.limits.clock
        ran, waited = _times(self._process.first)
        if ran > self.limits.seconds + 1:  # it made itself wait, by processes of its own
            waited = 0.0
        more = min(waited, PATIENCE * clock) - self._granted
        if more > 0.1:
            self._granted += more
            self._deadline += more
            return max(more + left, 0.1)
        if waited > PATIENCE * clock:
            raise Stopped("busy", f"not finished after {(1 + PATIENCE) * clock:g} s by the clock: the machine was busy")
        raise Stopped("time", f"not finished after {clock:g} s by the clock, of which it ran {ran:.1f}")


def _piped(data: bytes) -> int:
    """Return a descriptor to read a little data from."""
    source, sink = os.pipe()
    os.write(sink, data)
    os.close(sink)
    return source


def _times(pid: int) -> tuple[float, float]:
    """Return for how many seconds a process and its descendants ran, and how long they waited for a processor."""
    ran = waited = 0.0
    for each in _family(pid):
        with suppress(OSError, ValueError):
            on, off, _ = Path(f"/proc/{each}/schedstat").read_text().split()
            ran, waited = ran + int(on) / 1e9, waited + int(off) / 1e9
    return ran, waited


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _family(int(child))


def _kills_of_machine() -> int:
    """Return how often this machine's kernel has killed a process for want of memory."""
    with suppress(OSError, ValueError, IndexError):
        text = Path("/proc/vmstat").read_text()
        return int(text[text.index("oom_kill ") :].split()[1])
    return 0


def ending(status: int, error: bytes, limits: Limits) -> str:
    """Return in words how a program came to its end."""
    last = error.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
    if status in (152, 137) and not last:
        used_up = f"its {math.ceil(limits.seconds)} s of processor time are used up"
        return used_up if status == 152 else f"killed ({used_up}, or memory)"
    if status > 128:
        return f"killed by signal {status - 128}" + (f": {last}" if last else "")
    return last or f"exited with {status}"
