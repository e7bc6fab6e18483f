"""The manifest of a store: its format, and size, rows and checksums of every file that is never changed.

`manifest.txt` only grows: one line a file that was added or taken away, written under a lock of the system, which
frees it when its holder dies. A line is the CRC-32 of its JSON, a space, and the JSON; the first says the format.

A file that is in the manifest and not in its folder is lost. One that is in the folder and not in the manifest was
finished by a writer that died before its line was written: it is read if it reads whole.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from goldpanner.errors import StoreError
from goldpanner.files import make_folder, sync_folder, write_atomically

FORMAT = 2
"""Format of the stores that this build writes and reads."""
_NAME = "manifest.txt"
_PIECE = 1 << 20
"""Bytes that are read at a time: a checksum must not need memory."""
Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Entry:
    """What the manifest says of a file."""

    name: str
    """Path within the store."""
    size: int
    """Bytes."""
    rows: int
    crc: int
    """CRC-32 of the bytes, those of long columns left out."""
    columns: int = 0
    """CRC-32 of the names and types of its columns; 0 for a file without columns."""
    distinct: bool = False
    """Whether no key stands twice in it."""
    long: Ranges = ()
    """(first byte, bytes) of the columns that most questions do not read, in order."""
    long_crc: int = 0
    """CRC-32 of the bytes of `long`."""

    def line(self) -> bytes:
        """Return the line that adds the file."""
        return _line({"add": self.name} | {k: v for k, v in asdict(self).items() if k != "name"})


@dataclass(frozen=True)
class FolderState:
    """The files of one folder, as the manifest and the disk have them."""

    entries: dict[str, Entry | None]
    """By file name, sorted; None for a file that the manifest does not hold."""
    sizes: dict[str, int]
    """Bytes on the disk."""
    lost: tuple[str, ...]
    """Names of files that the manifest holds and the folder does not."""


class ManifestError(StoreError):
    """The manifest is lost or damaged; `store repair` writes it anew."""


def removal(name: str) -> bytes:
    """Return the line that takes a file out of the manifest."""
    return _line({"remove": name})


def checksums(path: Path, long: Ranges = (), *, which: Sequence[bool] = (False, True)) -> tuple[int, int]:
    """Return the CRC-32 of a file's bytes outside and inside of `long`.

    Args:
        path: the file.
        long: ranges (first byte, bytes), in order.
        which: the parts that are read: False for what lies outside, True for what lies inside.
    """
    sums = [0, 0]
    with path.open("rb", buffering=0) as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        for first, length in (*long, (end, 0)):
            for inside, start, size in ((False, at, first - at), (True, first, length)):
                if inside not in which or size <= 0:
                    continue
                file.seek(start)
                while size > 0 and (piece := file.read(min(size, _PIECE))):
                    sums[inside] = zlib.crc32(piece, sums[inside])
                    size -= len(piece)
            at = first + length
    return sums[0], sums[1]


class Manifest:
    """The manifest of one store. It is read on from where it was read last."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / _NAME
        self._entries: dict[str, Entry] = {}
        self._removed: set[str] = set()
        self._file, self._end, self._lines = 0, 0, 0

    def folder(self, name: str, suffix: str) -> FolderState:
        """Return the state of a folder of the store; only files whose name ends in `suffix` count."""
        sizes = _sizes(self.root / name, suffix)
        listed, removed = self._of(name)
        missing = [file for file in listed if file not in sizes]
        if missing:  # added since the folder was read, compacted since the manifest was read, or lost
            listed, removed = self._of(name)
            here = {file: self.root / name / file for file in missing if file in listed}
            sizes |= {file: path.stat().st_size for file, path in here.items() if path.exists()}
        lost = tuple(file for file in missing if file in listed and file not in sizes)
        files = sorted(file for file in sizes if file not in removed)
        return FolderState({file: listed.get(file) for file in files}, sizes, lost)

    def _of(self, folder: str) -> tuple[dict[str, Entry], set[str]]:
        entries, removed = self.read()
        start = folder + "/"
        return (
            {name[len(start) :]: entry for name, entry in entries.items() if name.startswith(start)},
            {name[len(start) :] for name in removed if name.startswith(start)},
        )

    def read(self) -> tuple[Mapping[str, Entry], set[str]]:
        """Return the files by name, and the names of those that were taken away.

        Raises StoreError where the manifest is lost, damaged, or of another format.
        """
        try:
            with self.path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._file:
                    self._entries, self._removed = {}, set()
                    self._file, self._end, self._lines = inode, 0, 0
                file.seek(self._end)
                content = file.read()
        except FileNotFoundError:
            content = b""
            self._end = 0
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror}; check the rights and the disk") from error
        whole = content[: content.rfind(b"\n") + 1]  # a line that is not finished is being written, or its writer died
        if not whole and not self._end and self._holds_files():
            raise self._lost()
        for line in whole.split(b"\n")[:-1]:
            self._take(line)
            self._end += len(line) + 1
            self._lines += 1
        return self._entries, self._removed

    def begin(self) -> None:
        """Make the manifest of a new store. Raises StoreError for a store of another format."""
        if not self._end:
            self.append([])
            self.read()

    def append(self, lines: Sequence[bytes], unlink: Sequence[Path] = (), exists: Path | None = None) -> None:
        """Write lines, then remove files, as one step for other writers.

        Where `exists` is not there any more (it was compacted meanwhile), nothing is written. Raises StoreError when
        the disk refuses.
        """
        make_folder(self.root)
        with self._locked() as file:
            if exists is not None and not exists.exists():
                return
            end = os.fstat(file).st_size
            try:
                if not end and exists is None and self._holds_files():
                    raise self._lost()
                text = b"".join([*([] if end else [_line({"format": FORMAT})]), *lines])
                if text and os.write(file, text) < len(text):
                    raise OSError(28, "the disk is full")
                os.fsync(file)
            except OSError as error:
                os.ftruncate(file, end)
                raise StoreError(f"cannot write {self.path}: {error.strerror or error}; free some space") from error
            if not end:
                sync_folder(self.root)
            for path in unlink:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in unlink}:
                sync_folder(folder)

    def sweep(self) -> None:
        """Remove files that were taken away and are still there: who took them away died before they were gone."""
        _, removed = self.read()
        if rest := [self.root / name for name in removed if (self.root / name).exists()]:
            self.append([], unlink=rest)

    def sound_lines(self) -> list[Entry]:
        """Return the files of a damaged manifest, as its sound lines have them."""
        with suppress(FileNotFoundError):
            for line in self.path.read_bytes().split(b"\n")[1:]:
                with suppress(ManifestError):
                    self._end = max(self._end, 1)  # so that no line is taken for the first
                    self._take(line)
        entries, self._end, self._file = list(self._entries.values()), 0, 0
        return entries

    def rewrite(self, entries: Sequence[Entry]) -> None:
        """Replace the manifest by one with these files."""
        lines = [_line({"format": FORMAT}), *(entry.line() for entry in entries)]
        write_atomically(self.path, lambda file: file.write(b"".join(lines)))

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Give the open file, alone, with no unfinished line at its end."""
        while True:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                raise StoreError(f"cannot write {self.path}: {error.strerror}; check the rights") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_ino == self.path.stat().st_ino:  # else it was replaced while we waited
                    os.ftruncate(file, _whole_lines(file))
                    yield file
                    return
            except FileNotFoundError:
                continue
            finally:
                os.close(file)

    def _take(self, line: bytes) -> None:
        """Take a line in. Raises StoreError naming a damaged one."""
        try:
            if line[:9] != b"%08x " % zlib.crc32(line[9:]):
                raise ValueError("its checksum is not that of its text")
            fields = json.loads(line[9:])
            if not self._end:
                if fields["format"] != FORMAT:
                    raise StoreError(
                        f"the store {self.root} is of format {fields['format']}, and this goldpanner reads format "
                        f"{FORMAT}; read it with the goldpanner that wrote it"
                    )
            elif "remove" in fields:
                self._entries.pop(fields["remove"], None)
                self._removed.add(fields["remove"])
            else:
                name, ranges = fields.pop("add"), tuple(map(tuple, fields.pop("long")))
                self._entries[name] = Entry(name=name, long=ranges, **fields)
                self._removed.discard(name)
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{self.path} is damaged at line {self._lines + 1}: {error}. Run: goldpanner store repair {self.root}"
            ) from error

    def _lost(self) -> ManifestError:
        return ManifestError(
            f"the store {self.root} has no {_NAME}: it is of format 1, which an earlier goldpanner wrote and this one "
            "does not read (read it with that one), or the file was lost. If it was lost, run: "
            f"goldpanner store repair {self.root}"
        )

    def _holds_files(self) -> bool:
        return any(
            next((self.root / folder).glob(pattern), None) is not None
            for folder, pattern in (
                ("samples", "*.parquet"), ("verdicts", "*.parquet"), ("truth", "*.parquet"), ("scores", "*.parquet"),
                ("problems", "*.jsonl"), ("records", "*/*.json"),
            )
        )  # fmt: skip


def _line(fields: Mapping[str, object]) -> bytes:
    text = json.dumps(fields, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _sizes(folder: Path, suffix: str) -> dict[str, int]:
    """Return the bytes of each file of a folder; {} where there is no such folder."""
    sizes = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with suppress(FileNotFoundError):  # compacted meanwhile
                        sizes[entry.name] = entry.stat().st_size
    except FileNotFoundError:
        pass
    except NotADirectoryError as error:
        raise StoreError(f"{folder} is a file where the store keeps a folder; move it away") from error
    return sizes


def _whole_lines(file: int) -> int:
    """Return the bytes up to the end of the last finished line of a file."""
    end = os.fstat(file).st_size
    while end:
        start = max(end - 4096, 0)
        at = os.pread(file, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
