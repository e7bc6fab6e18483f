"""What a sandbox of bubblewrap sees: the files of one Python, named one by one, and an empty folder."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from goldpanner.errors import InputError

LOOK = """
import ctypes, glob, importlib, json, os, sys
folders = [p for p in sys.path if os.path.isdir(p)]
for file in [file for folder in folders for file in glob.glob(os.path.join(folder, "*.so"))]:
    name = os.path.basename(file).partition(".")[0]
    try:
        name == "_tkinter" or importlib.import_module(name)
    except BaseException:
        pass
for name in ("libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1", "libz.so.1", "libm.so.6", "libdl.so.2", "librt.so.1",
             "libpthread.so.0", "libutil.so.1", "libresolv.so.2"):
    try:
        ctypes.CDLL(name)
    except OSError:
        pass
files = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if "/" in line}
print(json.dumps({"folders": folders, "files": sorted(files), "version": list(sys.version_info[:2])}))
"""
"""Run by a Python without its site: where its library lies, and which shared libraries its modules load."""
SITE = """
import json, os, sys
own = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages") and os.path.isdir(p)]
print(json.dumps({"python": os.path.realpath(sys.executable), "packages": own}))
"""
DEVICES = ("null", "zero", "full", "random", "urandom")
OPTIONAL = ("/etc/ld.so.cache", "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8")
"""What Python takes where it is there."""
LOADERS = ("/lib64", "/lib", "/usr/lib64", "/usr/lib")


@dataclass(frozen=True)
class Files:
    """What of the machine is bound, read-only, each at its own place."""

    folders: tuple[str, ...]
    """Python's library, without what was installed into it."""
    files: tuple[str, ...]
    """The interpreter, and the shared libraries that it loads."""
    hidden: tuple[str, ...]
    """Folders inside these that stay empty."""
    version: tuple[int, int]


def environment(python: str) -> tuple[str, tuple[str, ...]]:
    """Return of an interpreter (of a virtual environment, say) the real one, and the folders of its packages."""
    row = json.loads(_said([python, "-I", "-c", SITE]))
    return row["python"], tuple(row["packages"])


@lru_cache(maxsize=8)
def files(python: str, packages: tuple[str, ...] = ()) -> Files:
    """Return what a Python needs. Raises InputError where it does not run."""
    row = json.loads(_said([python, "-I", "-S", "-c", LOOK]))
    folders = row["folders"]
    tops = [f for f in folders if not any(f != other and Path(f).is_relative_to(other) for other in folders)]
    real = {file for file in row["files"] if ".so" in Path(file).name and Path(file).is_file()} | {python}
    loose = {file for file in real if not any(Path(file).is_relative_to(folder) for folder in tops)}
    aliases = {str(alias) for alias in _aliases(loose)}
    hidden = [Path(top, name) for top in tops for name in ("site-packages", "dist-packages")]
    masks = [str(path) for path in hidden if path.is_dir() and not any(Path(p).is_relative_to(path) for p in packages)]
    return Files(
        (*tops, *packages), tuple(sorted(loose | aliases)), tuple(masks), (row["version"][0], row["version"][1])
    )


def _aliases(names: set[str]) -> Iterator[Path]:
    """Yield the links by which the loader finds these files: `libz.so.1` of `libz.so.1.2.13`, and itself."""
    for folder in {*(str(Path(name).parent) for name in names), *LOADERS}:
        loader = folder in LOADERS
        for entry in os.scandir(folder) if Path(folder).is_dir() else ():
            wanted = entry.name.startswith("ld-") if loader else ".so" in entry.name
            if wanted and entry.is_symlink() and os.path.realpath(entry.path) in names:
                yield Path(entry.path)


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env={})
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"the Python {command[0]!r} does not run: {error}; name another for programs") from None
    return done.stdout


def arguments(shown: Files, root: bool, disk: int) -> tuple[str, ...]:
    """Return bwrap's arguments: every namespace of its own, the files above, one writable folder, nothing else."""
    return (*_fixed(shown, root), "--perms", "0777", "--size", str(disk), "--tmpfs", "/box", "--chdir", "/box", "--")


@lru_cache(maxsize=8)
def _fixed(shown: Files, root: bool) -> tuple[str, ...]:
    return tuple(_all_but_folder(shown, root))


def _all_but_folder(shown: Files, root: bool) -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    if not root:
        yield "--unshare-user"
    yield from ("--as-pid-1", "--die-with-parent", "--new-session", "--clearenv")
    for name in ("/bin", "/lib", "/lib64", "/lib32"):
        if Path(name).is_symlink():
            yield from ("--symlink", str(Path(name).readlink()), name)
    bound = [*shown.folders, *shown.files, *(name for name in OPTIONAL if Path(name).exists())]
    places = {_placed(name): os.path.realpath(name) for name in bound}
    parents = {parent: None for place in places for parent in reversed(Path(place).parents) if parent != Path("/")}
    for parent in parents:
        yield from ("--perms", "0755", "--dir", str(parent))
    for place, name in places.items():
        yield from ("--ro-bind", name, place)
    for name in shown.hidden:
        yield from ("--perms", "0555", "--size", "4096", "--tmpfs", name, "--remount-ro", name)
    yield from ("--perms", "0755", "--size", "65536", "--tmpfs", "/dev")
    for name in DEVICES:
        yield from ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    yield from ("--symlink", "/box/.stdin", "/dev/stdin", "--remount-ro", "/dev")
    if Path("/tmp") not in parents:
        yield from ("--symlink", "box", "/tmp")
    for name, value in (("HOME", "/box"), ("TMPDIR", "/box"), ("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1")):
        yield from ("--setenv", name, value)
    yield from ("--dir", "/box", "--remount-ro", "/")


def _placed(name: str) -> str:
    """Return the path inside: below a linked folder of the root, where the link leads."""
    top = Path(*Path(name).parts[:2])
    return str(Path(os.path.realpath(top), *Path(name).parts[2:])) if top.is_symlink() else name
