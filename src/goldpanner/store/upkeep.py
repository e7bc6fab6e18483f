"""Check and compact: nothing is lost, nothing counts twice, at whatever instant they are killed."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import duckdb

from goldpanner.errors import StoreError
from goldpanner.files import fresh_name, leftovers, listing, make_folder, sync_folder
from goldpanner.store.parts import COMPACTED, ROW_GROUP, DamagedError, PartGoneError, Parts, damage_error
from goldpanner.store.read import Ask, Reader, columns
from goldpanner.store.records import Records, RecordVersionError, check_record, load_problems
from goldpanner.store.rows import Kind


@dataclass(frozen=True)
class Damaged:
    """A file that could not be read."""

    name: str
    """Its path within the store, before it was set aside."""
    reason: str
    moved_to: Path


@dataclass(frozen=True)
class CheckReport:
    """What `check` found."""

    parts: int
    """Sound Parquet parts, of all datasets."""
    rows: dict[str, int]
    """Stored rows per dataset, duplicates included."""
    duplicates: dict[str, int]
    """Rows per dataset that say again what another row says; they count once, and compacting removes them."""
    problems: int
    records: int
    damaged: tuple[Damaged, ...] = ()
    """Files set aside in `damaged/`."""
    removed: tuple[str, ...] = ()
    """Unfinished files of dead writers, removed."""
    unfinished: tuple[str, ...] = ()
    """Unfinished files of writers that may be alive, left alone."""
    other_version: tuple[str, ...] = ()
    """Records of a version that this build does not read, left alone."""

    @property
    def ok(self) -> bool:
        """Whether nothing was damaged."""
        return not self.damaged

    def __str__(self) -> str:
        rows = ", ".join(f"{n:,} {name}" for name, n in self.rows.items())
        lines = [f"{self.parts} parts: {rows}; {self.problems:,} problems, {self.records} records"]
        lines += [f"{n:,} duplicate rows in {name} (counted once)" for name, n in self.duplicates.items() if n]
        lines += [f"DAMAGED {d.name}: {d.reason}; set aside as {d.moved_to}" for d in self.damaged]
        lines += [f"removed {name}, which a dead writer left" for name in self.removed]
        lines += [f"left alone {name}, which a writer may still finish" for name in self.unfinished]
        lines += [
            f"left alone {name}, which is of a version that this build does not read" for name in self.other_version
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class CompactReport:
    """What `compact` did, per dataset that had anything to merge."""

    parts_before: dict[str, int] = field(default_factory=dict)
    rows_before: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows after."""

    def __str__(self) -> str:
        if not self.rows:
            return "nothing to compact"
        return "\n".join(
            f"{name}: {self.parts_before[name]} parts to 1, {self.rows_before[name]:,} rows to {rows:,}"
            for name, rows in self.rows.items()
        )


def check(reader: Reader) -> CheckReport:
    """Read every file of the store through; see `Store.check`."""
    root = reader.root
    folders = [*(parts.folder for parts in reader.parts.values()), root / "problems", root / "records"]
    dead, alive = leftovers(folders)
    for path in dead:
        path.unlink(missing_ok=True)
    damaged: list[Damaged] = []
    rows = {name: _check_parts(root, parts, damaged) for name, parts in reader.parts.items()}
    problems: set[str] = set()
    for name in listing(root / "problems", ".jsonl"):
        try:
            problems |= load_problems(root / "problems" / name).keys()
        except StoreError as error:
            damaged.append(_set_aside(root, root / "problems" / name, str(error.__cause__ or error)))
    records, other_version = 0, list[str]()
    for path in Records(root).paths():
        try:
            check_record(path)
            records += 1
        except RecordVersionError:
            other_version.append(str(path.relative_to(root)))
        except StoreError as error:
            damaged.append(_set_aside(root, path, str(error.__cause__ or error)))
    return CheckReport(
        parts=sum(len(parts.names()) for parts in reader.parts.values()),
        rows=rows,
        duplicates=reader.answer(tuple(reader.parts), partial(_duplicates, reader)),
        problems=len(problems),
        records=records,
        damaged=tuple(damaged),
        removed=tuple(str(path.relative_to(root)) for path in dead),
        unfinished=tuple(str(path.relative_to(root)) for path in alive),
        other_version=tuple(other_version),
    )


def compact(reader: Reader) -> CompactReport:
    """Merge the parts of each dataset into one; see `Store.compact`.

    The merged part is written, made durable and read back before the parts it replaces are removed. Killed in
    between, the store holds rows twice, which count once; the next compaction removes them. Parts that others append
    meanwhile are left alone.
    """
    report = CompactReport()
    with _one_at_a_time(reader.root):
        for name, parts in reader.parts.items():
            merged = reader.answer((name,), partial(_merge, reader, parts))
            if merged:
                report.parts_before[name], report.rows_before[name], report.rows[name] = merged
    return report


def _merge(reader: Reader, parts: Parts, ask: Ask) -> tuple[int, int, int] | None:
    """Merge one dataset; return (parts before, rows before, rows after), None where there was nothing to do."""
    kind = parts.kind
    old = reader.seen(kind.name)
    if not old or (len(old) == 1 and old[0].startswith(COMPACTED)):
        return None
    damaged = {}
    for part in old:  # never copy flipped bits into a part whose checksums then agree
        try:
            parts.read_through(part)
        except DamagedError as error:
            damaged[part] = str(error)
    if damaged:
        raise damage_error(parts.folder, damaged)
    before = sum(parts.footer(part).rows for part in old)
    rows = reader.once(kind.name, key=kind.identity)
    due = before - repeated(reader, ask, kind, kind.identity)
    distinct = due == before - repeated(reader, ask, kind, kind.key)
    query = f"SELECT {columns(kind.schema.names)} FROM {rows} ORDER BY {columns(kind.order)}, place"
    try:
        new = parts.append_batches(reader.stream(query, ROW_GROUP), COMPACTED, distinct=distinct)
    except duckdb.Error as error:
        raise reader.explain(error, {kind.name: old}) from error
    if (after := parts.footer(new).rows) != due:
        parts.path(new).unlink()
        raise StoreError(f"compacting {parts.folder} gave {after} rows where {due} were due; nothing was removed")
    for part in old:
        parts.path(part).unlink(missing_ok=True)
    sync_folder(parts.folder)
    return len(old), before, after


def repeated(reader: Reader, ask: Ask, kind: Kind, key: Sequence[str]) -> int:
    """Return how many rows of a dataset agree in `key` with a row before them."""
    twins = reader.twins(kind.name)
    return twins - len(ask(f"SELECT DISTINCT {columns(key)} FROM {kind.name}_twins"))


def _duplicates(reader: Reader, ask: Ask) -> dict[str, int]:
    return {name: repeated(reader, ask, parts.kind, parts.kind.identity) for name, parts in reader.parts.items()}


def _check_parts(root: Path, parts: Parts, damaged: list[Damaged]) -> int:
    rows = 0
    for name in parts.names():
        try:
            rows += parts.read_through(name)
        except PartGoneError:
            continue  # compacted meanwhile
        except DamagedError as error:
            damaged.append(_set_aside(root, parts.path(name), str(error)))
    return rows


def _set_aside(root: Path, path: Path, reason: str) -> Damaged:
    """Move a damaged file to `damaged/`, where nothing reads it and nothing is lost."""
    folder = root / "damaged" / path.relative_to(root).parent
    make_folder(folder)
    target = folder / path.name
    if target.exists():
        target = folder / f"{fresh_name('again')}-{path.name}"
    with suppress(FileNotFoundError):  # another check was faster
        path.rename(target)
    sync_folder(path.parent)
    return Damaged(str(path.relative_to(root)), reason, target)


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Hold the store's compaction lock; the system frees it when its holder dies.

    Two compactions at once would lose nothing either (each removes only what its own, finished part holds), but both
    would do the work.
    """
    path = root / "compact.lock"
    try:
        lock = path.open("a")
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}; a store is compacted where it can be written"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"another process is compacting {root}; wait until it is done") from error
        yield
