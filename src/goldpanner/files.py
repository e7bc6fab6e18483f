"""Files that are either whole or absent: atomic writes, stable listings, and what dead writers leave behind."""

import hashlib
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from goldpanner.errors import InputError, StoreError

HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
"""Six hex digits that tell whether a leftover's writer ran on this machine."""

OLD_SECONDS = 24 * 3600.0
"""From this age on a leftover is dead even if its writer cannot be asked (another machine, a process id used again)."""


def fresh_name(stem: str) -> str:
    """Return a name no other writer uses; names of one stem sort by the time they were made."""
    return f"{stem}-{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, durably. Raises StoreError where a file stands in the way."""
    if folder.is_dir():
        return
    try:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise StoreError(
            f"cannot create the folder {folder}: {error.strerror}; give a path that can be written"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames within `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file beside `path`, then make it durable and rename it to `path`.

    Whoever is killed at any instant leaves either no `path` (or the old one) or the whole new one, and at most a
    `*.tmp` that `leftovers` finds. Raises StoreError when the disk refuses.
    """
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{HOST}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free some space or check the rights"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path of the same folder and suffix, which takes the place of `path` when the block ends well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".writing-{secrets.token_hex(8)}{path.suffix}")
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; give a path in a writable folder"
        ) from None
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder beside `folder`, sync its files, and rename it; what stood there is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write(scratch)
        for path in [*scratch.iterdir(), scratch]:
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        scratch.chmod(0o755)
        if folder.exists():  # a folder cannot be renamed over a full one: step the old one aside first
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            folder.rename(old / "old")
            scratch.rename(folder)
            shutil.rmtree(old)
        else:
            scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def listing(folder: Path, suffix: str) -> tuple[str, ...]:
    """Return the names in `folder` that end in `suffix`, sorted; () where there is no such folder.

    Reads the folder until two readings agree: a single one may miss both a compacted part that appears and an old one
    that goes. An old one missed was gone before the first reading ended, so the second finds what replaced it.
    """
    previous: tuple[str, ...] | None = None
    while True:
        try:
            with os.scandir(folder) as entries:
                names = tuple(sorted(entry.name for entry in entries if entry.name.endswith(suffix)))
        except FileNotFoundError:
            return ()
        except NotADirectoryError as error:
            raise StoreError(f"{folder} is a file where the store keeps a folder; move it away") from error
        if names == previous:
            return names
        previous = names


def leftovers(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the `*.tmp` files below `folders` as (those of dead writers, those a living one may finish)."""
    dead: list[Path] = []
    alive: list[Path] = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.tmp")):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue  # finished meanwhile
        (dead if age > OLD_SECONDS or _writer_is_dead(path.name) else alive).append(path)
    return dead, alive


def _writer_is_dead(name: str) -> bool:
    """Whether the process that a temporary file is named after ran on this machine and is gone."""
    parts = name.split(".")
    if len(parts) < 5 or parts[-4] != HOST or not parts[-3].isdigit():
        return False
    try:
        os.kill(int(parts[-3]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
