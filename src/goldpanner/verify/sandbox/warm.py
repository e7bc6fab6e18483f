"""The caller's side of `zygote`: one warm Python for each interpreter of this process, and the forks that it makes."""

import atexit
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from io import FileIO

from goldpanner.verify.sandbox.memory import Group
from goldpanner.verify.sandbox.seccomp import filter_program

STARTING = 60.0
"""Seconds by the clock that a warm Python may take to start."""


class Zygote:
    """A warm Python in bubblewrap; started when first asked, and anew if it has ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, disk: int, group: Group | None) -> "Forked":
        """Return a new process in namespaces of its own, that waits for its header. Raises OSError."""
        with self._lock:
            if self._control is not None and self._process is not None and self._process.poll() is None:
                with suppress(BrokenPipeError, ConnectionResetError):  # it has ended meanwhile
                    return Forked(self._control, disk, group)
            return Forked(self._start(), disk, group)

    def _start(self) -> socket.socket:
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={"PATH": os.environ.get("PATH", "")},
                start_new_session=True,
            )
        self._control = ours
        ours.settimeout(STARTING)
        with suppress(OSError):
            ours.send(filter_program() or b"none")
            if ours.recv(16) == b"ready":
                return ours
        assert self._process.stderr is not None
        self._process.kill()
        raise OSError(self._process.stderr.read().decode("utf-8", "replace").strip()[-300:] or "it does not start")

    def close(self) -> None:
        """End it, with all that it has forked."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()


class Forked:
    """A process that a warm Python has forked; it ends, with all it started, when its channel is closed."""

    def __init__(self, control: socket.socket, disk: int, group: Group | None) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        pipes = [os.pipe() for _ in range(3)]
        handed = [pipes[0][0], pipes[1][1], pipes[2][1], theirs.fileno()]
        own = [pipes[0][1], pipes[1][0], pipes[2][0]]
        extra = [os.open(group.path / "cgroup.procs", os.O_WRONLY)] if group is not None else []
        try:
            socket.send_fds(control, [json.dumps({"disk": disk}).encode()], handed + extra)
        except OSError:
            for descriptor in own:
                os.close(descriptor)
            self._channel.close()
            raise
        finally:
            theirs.close()
            for descriptor in handed[:3] + extra:
                os.close(descriptor)
        self.stdin, self.stdout, self.stderr = FileIO(own[0], "w"), FileIO(own[1]), FileIO(own[2])
        self._pid = 0
        self._status: int | None = None

    @property
    def first(self) -> int:
        """Process id of its first process, as this process sees it; 0 if not known."""
        if not self._pid:
            with suppress(OSError, TimeoutError):
                self._hear(0.1)
        return self._pid

    def poll(self) -> int | None:
        """Return the exit status, a signal as 128 + its number; None while it runs."""
        with suppress(OSError):
            while self._status is None:
                self._hear(0)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended. Raises TimeoutExpired."""
        try:
            while self._status is None:
                self._hear(timeout)
        except TimeoutError:
            raise subprocess.TimeoutExpired("program", timeout or 0) from None
        return self._status

    def kill(self) -> None:
        """End it with all it started: its first process hears that the channel is closed."""
        self._channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Free the channel."""
        self._channel.close()

    def _hear(self, timeout: float | None) -> None:
        self._channel.settimeout(timeout)
        message, extra, _, _ = self._channel.recvmsg(64, socket.CMSG_SPACE(struct.calcsize("3i")))
        if message == b"born":
            for level, kind, data in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self._pid = struct.unpack("3i", data)[0]
        elif not message:
            raise OSError("the warm Python has ended")
        else:
            self._status = int(message)


@lru_cache(maxsize=8)
def _zygote(process: int, command: Callable[[], Sequence[str]]) -> Zygote:
    made = Zygote([word for word in command() if word != "--die-with-parent"])  # the parent is a thread, and may end
    atexit.register(made.close)
    return made


def zygote(command: Callable[[], Sequence[str]]) -> Zygote:
    """Return this process's warm Python of a command (made anew only if it is another); a fork gets one of its own."""
    return _zygote(os.getpid(), command)
