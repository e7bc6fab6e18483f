"""Memory that a program really uses, with all it starts: a control group of the kernel, where one can be made.

Without one (most containers, users that are not root) the address space of each process is limited instead.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_NUMBERS = count()


@dataclass
class Group:
    """One control group, of either version of the kernel's interface; empty and removed when closed."""

    path: Path

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts from now on follows. Raises OSError."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def exceeded(self) -> bool:
        """Return whether the kernel has killed a process of the group because of the group's limit."""
        full = self._count("memory.max_usage_in_bytes", "") > 0.95 * self._count("memory.limit_in_bytes", "")
        return self._killed() > 0 and (full or self._count("memory.events", "max") > 0)

    def starved(self) -> bool:
        """Return whether the kernel has killed a process of the group because the machine has no memory left."""
        return self._killed() > 0 and not self.exceeded()

    def _killed(self) -> int:
        return self._count("memory.events", "oom_kill") + self._count("memory.oom_control", "oom_kill")

    def _count(self, name: str, word: str) -> int:
        """Return the number behind a word in one of the group's files, 0 without it."""
        with suppress(OSError, ValueError):
            for line in (self.path / name).read_text().splitlines():
                first, _, last = line.rpartition(" ")
                if first == word:
                    return int(last)
        return 0

    def close(self) -> None:
        """Remove the group; its processes must have ended, which the kernel may notice a little later."""
        for _ in range(100):
            with suppress(OSError):
                self.path.rmdir()
            if not self.path.exists():
                return
            time.sleep(0.002)


def group(limit: int) -> Group | None:
    """Return a new group of at most `limit` bytes, None where none can be made."""
    parent = _parent()
    if parent is None:
        return None
    with suppress(OSError):
        return _made(parent, limit)
    return None


def _made(parent: Path, limit: int) -> Group:
    path = parent / f"goldpanner-{os.getpid()}-{next(_NUMBERS)}"
    path.mkdir()
    try:
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (path / name).exists():
                (path / name).write_text(str(limit))
                break
        else:
            raise OSError("this group does not limit memory")
        for name, value in (("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", limit)):
            with suppress(OSError):  # no swap is counted here
                (path / name).write_text(str(value))
    except OSError:
        path.rmdir()
        raise
    return Group(path)


@lru_cache(maxsize=1)
def _parent() -> Path | None:
    """Return the group below which others can be made; what a killed process left behind there is removed."""
    for parent in _candidates():
        with suppress(OSError):
            (parent / "cgroup.subtree_control").write_text("+memory")
        with suppress(OSError):
            _made(parent, 1 << 30).close()
            for path in parent.glob("goldpanner-*-*"):
                if not Path("/proc", path.name.split("-")[1]).exists():
                    with suppress(OSError):
                        path.rmdir()
            return parent
    return None


def _candidates() -> Iterator[Path]:
    """Yield this process's own group and those above it, of the hierarchy that limits memory."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            top = ROOT / "memory" if controllers else ROOT
            own = top / name.lstrip("/")
            yield from (path for path in (own, *own.parents) if path.is_relative_to(top))


def available() -> bool:
    """Return whether memory in use can be limited here."""
    return _parent() is not None
