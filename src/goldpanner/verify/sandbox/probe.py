"""The self-test of a sandbox: a program that tries what must be held back, with baits laid out for it."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from goldpanner.verify.sandbox.running import Limits, Spoken, Stopped

PROBE = """
import json, os, socket
held = {}
def attempt(name, action):
    try:
        action()
        held[name] = False
    except (OSError, AttributeError, NotImplementedError):
        held[name] = True
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
attempt("reads the list of users", lambda: open("/etc/passwd").close())
attempt("reads /proc", lambda: os.listdir("/proc/1"))
attempt("is root", lambda: os.getuid() == 0 or os.open("/no/such/file", 0))
attempt("writes outside its folder", lambda: open("/usr/goldpanner-probe", "w"))
attempt("writes to /", lambda: open("/goldpanner-probe", "w"))
attempt("connects", connect)
for bait in json.loads(input()):
    attempt("sees " + bait, lambda: os.lstat(bait))
if hasattr(os, "fork"):
    processes()
print(json.dumps([name for name, ok in held.items() if not ok]))
"""
HOG = """
blocks = []
for _ in range(40):
    blocks.append(b"x" * (64 << 20))
print("held", len(blocks))
"""
START = Callable[..., Spoken]


def self_test(start: START, far: bool = False) -> str | None:
    """Return None if a sandbox runs a program and holds back what it must, else what went wrong.

    Of one that is `far`, on another machine, only that it runs programs: what it holds back is its keeper's matter.
    """
    limits = Limits(seconds=5, memory_mb=256)
    try:
        if far:
            out, _ = _run(start, "print(6 * 7)", "", limits)
            return None if out.strip() == b"42" else f"print(6 * 7) gives {out[:40]!r}"
        with baits() as laid:
            out, error = _run(start, PROBE, json.dumps(laid), limits)
        if error:
            return error
        if leaks := json.loads(out):
            return ", ".join(map(str, leaks))
        out, _ = _run(start, HOG, "", limits)
        return "it takes more memory than it may" if b"held" in out else None
    except Stopped as stop:
        return str(stop)
    except (OSError, ValueError) as error:
        return str(error)


def _run(start: START, program: str, stdin: str, limits: Limits) -> tuple[bytes, str]:
    """Return what a program prints, and how it came to its end if not well."""
    with start("script", program, limits, stdin=stdin) as running:
        if running.line() != b"started":
            return b"", "it does not start Python"
        out, status = running.rest()
        return out, running.ending(status) if status else ""


@contextmanager
def baits() -> Iterator[list[str]]:
    """Lay out files that no program may see: beside what is secret in the home folder, in Python's, here, in /tmp."""
    laid: list[Path] = []
    home = Path.home()
    for folder in {home, Path(sys.prefix), Path(sys.base_prefix), Path.cwd(), Path(tempfile.gettempdir())}:
        with suppress(OSError):
            descriptor, name = tempfile.mkstemp(prefix=".goldpanner-bait-", dir=folder)
            os.close(descriptor)
            laid.append(Path(name))
    secrets = [home / name for name in (".ssh", ".aws", ".netrc", ".config", ".bash_history", ".gitconfig", ".cache")]
    try:
        yield [str(path) for path in (*laid, *secrets)]
    finally:
        for path in laid:
            with suppress(OSError):
                path.unlink()
