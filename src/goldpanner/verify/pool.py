"""The caller's side of a library's worker processes: tasks out, replies in, and a kill for those who take too long.

The library is math-verify (`math_worker`), or reasoning-gym (`gym_worker`).

Not multiprocessing and not a library over it: those import the caller's main module once more in every worker, which
runs a training script without a `__main__` guard a second time.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

STARTING = 120.0
"""Seconds a worker may take to import its library (math-verify: three on an idle machine)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Whether two answers are equal; None and the reason where that was not found out."""

    equal: bool | None
    reason: str = ""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    deadline: float
    """When the present state (starting, a task, dying) has lasted too long."""
    child: int | None = None
    """Process id of the serving child, None while it starts or dies."""
    task: int | None = None
    """Number of the task it is on."""
    tried: bool = False
    """Whether it ever got ready."""
    unread: bytearray = field(default_factory=bytearray)


class Pool:
    """A few worker processes. Use from several threads is safe, one call at a time."""

    def __init__(self, size: int, module: str = "math_worker", library: str = "math-verify") -> None:
        self._size = size
        self._module = module
        self._library = library
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._number = 0
        self._failures = 0
        atexit.register(self.close)

    def run(self, tasks: Sequence[tuple[str, str]], seconds: float) -> list[Reply]:
        """Return whether each (right answer, answer) is equal; a task has `seconds` at most, by the clock."""
        with self._lock:
            first = self._number
            self._number += len(tasks)
            waiting = deque(range(len(tasks)))
            replies: dict[int, Reply] = {}
            self._failures = 0
            while len(replies) < len(tasks):
                self._staff(min(self._size, len(tasks) - len(replies)))
                if not self._workers:
                    replies |= {i: Reply(None, f"{self._library}'s worker does not start") for i in waiting}
                    break
                for worker in self._workers:
                    if waiting and worker.child is not None and worker.task is None:
                        i = waiting.popleft()
                        self._hand(worker, first + i, tasks[i], seconds)
                for number, reply in self._listen():
                    replies[number - first] = reply  # numbers below `first`: an interrupted call's, never looked at
            return [replies[i] for i in range(len(tasks))]

    def close(self) -> None:
        """Kill every worker."""
        for worker in list(self._workers):
            self._dismiss(worker)

    def _staff(self, size: int) -> None:
        while len(self._workers) < size and self._failures < 3:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from goldpanner.verify.{self._module} import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
                bufsize=0,
            )
            assert process.stdout is not None
            worker = _Worker(process, time.monotonic() + STARTING)
            self._workers.append(worker)
            self._selector.register(process.stdout, selectors.EVENT_READ, worker)

    def _hand(self, worker: _Worker, number: int, task: tuple[str, str], seconds: float) -> None:
        line = json.dumps({"id": number, "gold": task[0], "answer": task[1], "seconds": seconds, "by": self._library})
        worker.task, worker.deadline = number, time.monotonic() + seconds
        assert worker.process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone; the end of its output says so to _listen
            worker.process.stdin.write(line.encode() + b"\n")

    def _listen(self) -> list[tuple[int, Reply]]:
        """Wait for the next reply or deadline; return the tasks that are finished."""
        done: list[tuple[int, Reply]] = []
        soonest = min(worker.deadline for worker in self._workers)
        for key, _ in self._selector.select(max(0.0, soonest - time.monotonic())):
            worker: _Worker = key.data
            data = os.read(key.fd, 65536)
            worker.unread += data
            if not data:
                done += self._lost(worker, f"{self._library}'s worker ended")
                self._failures += not worker.tried
                self._dismiss(worker)
            while b"\n" in worker.unread:
                line, _, worker.unread = worker.unread.partition(b"\n")
                message = json.loads(line)
                if "ready" in message:
                    done += self._lost(worker, f"{self._library}'s worker died (memory, stack or processor time)")
                    worker.child, worker.tried, worker.deadline = message["ready"], True, float("inf")
                elif message["id"] == worker.task:
                    done.append((message["id"], Reply(message["equal"], message["reason"])))
                    worker.task, worker.deadline = None, float("inf")
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.deadline <= now:
                done += self._overdue(worker)
        return done

    def _overdue(self, worker: _Worker) -> list[tuple[int, Reply]]:
        if worker.child is None:  # it neither starts nor dies
            done = self._lost(worker, f"{self._library}'s worker does not start")
            self._failures += 1
            self._dismiss(worker)
            return done
        done = self._lost(worker, f"{self._library} took longer than its time limit")
        _kill(worker.child)
        worker.child, worker.deadline = None, time.monotonic() + STARTING
        return done

    def _lost(self, worker: _Worker, reason: str) -> list[tuple[int, Reply]]:
        number, worker.task = worker.task, None
        return [] if number is None else [(number, Reply(None, reason))]

    def _dismiss(self, worker: _Worker) -> None:
        assert worker.process.stdin is not None
        assert worker.process.stdout is not None
        self._workers.remove(worker)
        self._selector.unregister(worker.process.stdout)
        worker.process.kill()
        if worker.child is not None:
            _kill(worker.child)
        worker.process.stdin.close()
        worker.process.stdout.close()
        worker.process.wait()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@lru_cache(maxsize=8)
def _pool(process: int, size: int, module: str, library: str) -> Pool:
    return Pool(size, module, library)


def shared(size: int, module: str = "math_worker", library: str = "math-verify") -> Pool:
    """Return this process's pool of `size` workers of a library; a forked process gets one of its own."""
    return _pool(os.getpid(), size, module, library)
