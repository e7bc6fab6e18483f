"""Where model-written Python runs: a server, or here bubblewrap, else WebAssembly, else (if told so) unconfined.

The threat is a policy that optimises its reward, not a kernel exploit; docs/programs.md says what is held back and
what is not.
"""

import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources, util
from itertools import count
from pathlib import Path
from typing import Literal

from goldpanner.errors import InputError
from goldpanner.verify.sandbox import bubblewrap, memory, wasi
from goldpanner.verify.sandbox.probe import self_test
from goldpanner.verify.sandbox.remote import RemoteSandbox
from goldpanner.verify.sandbox.running import Limits, Running, Spawned, Spoken
from goldpanner.verify.sandbox.warm import zygote

Mode = Literal["script", "serve", "test", "check", "zygote"]
Name = Literal["bubblewrap", "wasi", "unconfined", "remote"]

UNCONFINED = "GOLDPANNER_UNCONFINED"
"""Environment variable: 1 lets programs run without a sandbox where none works, in workers elsewhere too."""
PYTHON = "GOLDPANNER_SANDBOX_PYTHON"
"""Environment variable: the interpreter for programs, with the packages that are installed for it."""
URL = "GOLDPANNER_SANDBOX_URL"
"""Environment variable: the address of a server that speaks SandboxFusion's protocol."""
STACKS = 8 << 30
"""Address space beyond the memory in use, which threads with large stacks ask for: where memory in use is limited."""
STACKS_WITHOUT = 1 << 30
"""The same where the address space is all that can be limited."""
_TURNS = count(os.getpid())


@dataclass(frozen=True)
class Sandbox:
    """One way of running the text of `confined` in a process of its own."""

    name: Name
    python: str
    """The interpreter inside; for `wasi` the path of a WebAssembly one, for `remote` the address of the server."""
    users: int = 0
    """First of the user ids that runs take in turn; 0 keeps the caller's."""
    space: int = 1
    """How many user ids there are to take."""
    packages: tuple[str, ...] = ()
    """Folders of packages that programs may import."""
    warm: bool = False
    """Whether programs are forked from a Python that has started already, into namespaces of their own."""

    @property
    def id(self) -> str:
        """Name, and what decides verdicts beside it: `bubblewrap-3.11`, `bubblewrap-3.11-packages`."""
        if self.name != "bubblewrap":
            return self.name
        major, minor = bubblewrap.files(self.python, self.packages).version
        return f"bubblewrap-{major}.{minor}" + ("-packages" if self.packages else "")

    def start(
        self, mode: Mode, program: str, limits: Limits, stdin: str | None = None, in_place: bool = False
    ) -> Spoken:
        """Start a program; the caller must close what is returned.

        Args:
            mode: what is run: a script, or tests.
            program: source of the program.
            limits: time, memory and output.
            stdin: a script's input.
            in_place: whether what a call does to its arguments counts in the tests.

        Raises:
            OSError: no process can be made.
        """
        user = self.users + next(_TURNS) % self.space if self.users else 0
        resident = self.name == "bubblewrap" and memory.available()
        stacks = STACKS if resident else STACKS_WITHOUT
        disk = (limits.disk_mb << 20) + len(stdin or "") * 4
        header = {
            "mode": mode,
            "program": program,
            "in_place": in_place,
            "stdin": stdin,
            "packages": self.packages,
            "limits": {
                "user": user,
                "space": (limits.memory_mb << 20) + stacks,
                "cpu": math.ceil(limits.seconds),
                "processes": limits.processes if self.name == "bubblewrap" else 0,
                "disk": limits.disk_mb << 20,
            },
        }
        if self.name == "remote":
            return RemoteSandbox(self.python, _text(mode), header, limits)
        encoded = json.dumps(header).encode()
        group = memory.group(limits.memory_mb << 20) if resident else None
        if self.warm:
            return Running(partial(zygote(self.warm_command).fork, disk), encoded, limits, group)
        command = self._command(mode, disk, limits)
        confining, scratch = self.name == "bubblewrap", self.name == "unconfined"
        return Running(partial(Spawned, command, confining, scratch), encoded, limits, group)

    def warm_command(self) -> tuple[str, ...]:
        """Return the command that starts the Python from which programs are forked."""
        return self._command("zygote", 1 << 16)

    def _command(self, mode: Mode, disk: int, limits: Limits | None = None) -> tuple[str, ...]:
        inside = ("-I", "-S", "-B", "-X", "utf8", "-c", _text(mode))
        if self.name == "wasi" and limits is not None:
            return (*wasi.command(Path(self.python), limits.memory_mb, math.ceil(limits.seconds)), *inside)
        if self.name != "bubblewrap":
            return (self.python, *inside)
        shown = bubblewrap.files(self.python, self.packages)
        rights = ("--cap-add", "ALL") if mode == "zygote" and not self.users else ()
        return ("bwrap", *rights, *bubblewrap.arguments(shown, bool(self.users), disk), self.python, *inside)


@lru_cache(maxsize=8)
def _text(mode: Mode) -> str:
    """Return the helper of a mode as one program: the modules that it is made of under their own names."""
    tests, zygote = ("testcode", "layouts", "tester"), ("zygote",)
    names = (
        "values",
        "operations",
        "confined",
        *(tests if mode in ("test", "zygote") else ()),
        *(zygote if mode == "zygote" else ()),
    )
    package = "goldpanner.verify.sandbox"
    texts = {f"{package}.{name}": resources.files(package).joinpath(f"{name}.py").read_text("utf-8") for name in names}
    return (
        "import sys\nimport types\n"
        f"for name, text in {texts!r}.items():\n"
        "    sys.modules[name] = module = types.ModuleType(name)\n"
        "    exec(compile(text, name, 'exec'), module.__dict__)\n"
        f"sys.modules['{package}.{'zygote' if mode == 'zygote' else 'confined'}'].main()\n"
    )


@lru_cache(maxsize=4)
def find(unconfined: bool = False, python: str | None = None, url: str | None = None) -> Sandbox:
    """Return the server at `url`; else the first sandbox here that passes its self-test: bubblewrap, then WASI.

    `python` names the interpreter for programs, by default a bare one like this process's own. Raises InputError naming
    what each lacks, unless `unconfined` or $GOLDPANNER_UNCONFINED=1: then a plain process with limits, which is no
    sandbox, is the last resort.
    """
    python, url = python or os.environ.get(PYTHON) or None, url or os.environ.get(URL) or None
    refused = []
    for sandbox in [Sandbox("remote", url)] if url else _candidates(python):
        reason = self_test(sandbox.start, sandbox.name == "remote")
        if reason is None:
            return sandbox
        refused.append(f"{sandbox.name} ({sandbox.python}): {reason}")
    if not url and (unconfined or os.environ.get(UNCONFINED) == "1"):
        return Sandbox("unconfined", python or sys.executable)
    raise InputError(
        "no sandbox for model-written code works here: "
        + ("; ".join(refused) or "bubblewrap (bwrap) is not installed, nor Python for WebAssembly")
        + ". Install bubblewrap (Debian: apt-get install bubblewrap), name a server that speaks SandboxFusion's "
        f"protocol ({URL}=http://...), or run the programs without a sandbox, with your own rights: {UNCONFINED}=1, in "
        "Python Code(unconfined=True)"
    )


def _candidates(python: str | None) -> Iterator[Sandbox]:
    """Yield the sandboxes to try, best first."""
    if shutil.which("bwrap") and sys.platform == "linux":
        pythons: list[tuple[str, tuple[str, ...]]] = [(os.path.realpath(sys.executable), ())]
        if python is not None:
            pythons = [bubblewrap.environment(python)]
        elif system := shutil.which("python3", path="/usr/bin:/usr/local/bin"):
            pythons.append((os.path.realpath(system), ()))
        users = ((1_000_000_000, 1_000_000_000), (65534, 1), (0, 1)) if os.getuid() == 0 else ((0, 1),)
        for path, packages in dict.fromkeys(pythons):
            for first, space in users:
                for warm in (True, False):
                    yield Sandbox("bubblewrap", path, first, space, packages, warm)
    if python is None and util.find_spec("wasmtime") is not None:
        wasm = wasi.interpreter()
        if wasm is not None:
            yield Sandbox("wasi", str(wasm))
