"""Check, repair, restore and compact: nothing is lost, nothing counts twice, at whatever instant they are killed."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import duckdb

from goldpanner.errors import StoreError
from goldpanner.files import fresh_name, leftovers, listing, make_folder, write_atomically
from goldpanner.store.manifest import Entry, FolderState, ManifestError, removal
from goldpanner.store.parts import (
    COMPACTED,
    ROW_GROUP,
    DamagedError,
    OtherColumnsError,
    PartGoneError,
    Parts,
    damage_error,
)
from goldpanner.store.read import Ask, Reader, columns
from goldpanner.store.records import Records, RecordVersionError, batch_entry, check_record, load_problems
from goldpanner.store.rows import Kind

_DONE = "repair.json"
"""What a repair did, in its folder of `damaged/`."""


@dataclass(frozen=True)
class Damaged:
    """A file that is not what was written."""

    name: str
    """Its path within the store."""
    reason: str


@dataclass(frozen=True)
class CheckReport:
    """What `check` saw. Nothing was changed."""

    parts: int
    """Sound Parquet parts, of all datasets."""
    rows: dict[str, int]
    """Stored rows per dataset, duplicates included."""
    duplicates: dict[str, int]
    """Rows per dataset that say again what another row says; they count once, and compacting removes them. Empty where
    a file is damaged or lost."""
    problems: int
    records: int
    damaged: tuple[Damaged, ...] = ()
    """Files whose bytes are not those that were written, or that cannot be read."""
    lost: tuple[str, ...] = ()
    """Files that the manifest holds and that are not there."""
    unlisted: tuple[str, ...] = ()
    """Whole files that the manifest does not hold: their writer died after them. They are read."""
    dead: tuple[str, ...] = ()
    """Unfinished files of dead writers."""
    unfinished: tuple[str, ...] = ()
    """Unfinished files of writers that may be alive."""
    other_version: tuple[str, ...] = ()
    """Sound records and parts of a version that this build does not read."""

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged or lost."""
        return not (self.damaged or self.lost)

    def __str__(self) -> str:
        rows = ", ".join(f"{n:,} {name}" for name, n in self.rows.items())
        lines = [f"{self.parts} parts: {rows}; {self.problems:,} problems, {self.records} records"]
        lines += [f"{n:,} duplicate rows in {name} (counted once)" for name, n in self.duplicates.items() if n]
        lines += [f"DAMAGED {each.name}: {each.reason}" for each in self.damaged]
        lines += [f"LOST {name}" for name in self.lost]
        lines += [f"{name} is whole and not in the manifest: its writer died" for name in self.unlisted]
        lines += [f"{name} is unfinished: its writer died" for name in self.dead]
        lines += [f"{name} is unfinished: its writer may be alive" for name in self.unfinished]
        lines += [f"{name} is of a version that this goldpanner does not read" for name in self.other_version]
        if not self.ok:
            lines += ["Nothing was changed. goldpanner store repair sets damaged files aside, and can be undone."]
        return "\n".join(lines)


@dataclass(frozen=True)
class RepairReport:
    """What a repair did, or what `restore` undid."""

    folder: str
    """Where the files lie, and `repair.json`; empty where nothing was to do."""
    moved: dict[str, str]
    """File -> why it was set aside."""
    lost: tuple[str, ...] = ()
    """Files that were taken out of the manifest because they are not there."""
    adopted: tuple[str, ...] = ()
    """Files that were taken into the manifest."""
    manifest: str = ""
    """Why the manifest was written anew; empty where it was not."""

    def __str__(self) -> str:
        lines = [f"manifest written anew: {self.manifest}"] if self.manifest else []
        lines += [f"set aside {name}: {reason}" for name, reason in self.moved.items()]
        lines += [f"taken out of the manifest: {name}, which is lost" for name in self.lost]
        lines += [f"taken into the manifest: {name}" for name in self.adopted]
        if self.folder:
            lines += [f"kept in {self.folder}; to undo: goldpanner store restore STORE"]
        return "\n".join(lines) or "nothing to repair"


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
    """Compare every file of the store with the manifest; see `Store.check`."""
    root, manifest = reader.root, reader.manifest
    findings = _Findings([], [], [], [])
    parts, rows = 0, dict.fromkeys(reader.parts, 0)
    for name, each in reader.parts.items():
        sound = _check_files(each.state(), name, findings, partial(_part_rows, each))
        parts, rows[name] = parts + len(sound), sum(sound)
    state = manifest.folder("problems", ".jsonl")
    problems: set[str] = set()
    _check_files(state, "problems", findings, partial(_batch_rows, root / "problems", problems))
    records = 0
    for path in Records(root, manifest).paths():
        try:
            check_record(path)
            records += 1
        except RecordVersionError:
            findings.other_version.append(str(path.relative_to(root)))
        except StoreError as error:
            findings.damaged.append(Damaged(str(path.relative_to(root)), str(error.__cause__ or error)))
    sound_store = not (findings.damaged or findings.lost or findings.other_version)
    over = tuple(reader.parts)
    dead, alive = leftovers([*(each.folder for each in reader.parts.values()), root / "problems", root / "records"])
    return CheckReport(
        parts=parts,
        rows=rows,
        duplicates=reader.answer(over, partial(_duplicates, reader)) if sound_store else {},
        problems=len(problems),
        records=records,
        damaged=tuple(findings.damaged),
        lost=tuple(findings.lost),
        unlisted=tuple(findings.unlisted),
        dead=tuple(str(path.relative_to(root)) for path in dead),
        unfinished=tuple(str(path.relative_to(root)) for path in alive),
        other_version=tuple(findings.other_version),
    )


@dataclass(frozen=True)
class _Findings:
    damaged: list[Damaged]
    lost: list[str]
    unlisted: list[str]
    other_version: list[str]


def _check_files(
    state: FolderState, folder: str, findings: _Findings, rows_of: Callable[[str, Entry | None], int]
) -> list[int]:
    """Check the files of a folder; return the rows of each sound one."""
    findings.lost.extend(f"{folder}/{name}" for name in state.lost)
    sound = []
    for name, entry in state.entries.items():
        try:
            sound.append(rows_of(name, entry))
        except PartGoneError:
            continue  # compacted meanwhile
        except OtherColumnsError:
            findings.other_version.append(f"{folder}/{name}")
        except DamagedError as error:
            findings.damaged.append(Damaged(f"{folder}/{name}", str(error)))
        else:
            if entry is None:
                findings.unlisted.append(f"{folder}/{name}")
    return sound


def _part_rows(parts: Parts, name: str, entry: Entry | None) -> int:
    return parts.check(name, entry)


def _batch_rows(folder: Path, problems: set[str], name: str, entry: Entry | None) -> int:
    """Read a batch of problems through, add their ids to `problems`, return how many they are."""
    try:
        if entry is not None and batch_entry(folder / name, entry.rows) != entry:
            raise DamagedError("its bytes are not those that were written (the checksum differs)")
        batch = load_problems(folder / name)
    except StoreError as error:
        raise DamagedError(str(error.__cause__ or error)) from error
    problems.update(batch)
    return len(batch)


def repair(reader: Reader) -> RepairReport:
    """Act on what `check` finds; see `Store.repair`. Killed anywhere, the next repair goes on."""
    root, manifest, why = reader.root, reader.manifest, ""
    with _one_at_a_time(root):
        try:
            manifest.read()
        except ManifestError as error:
            why = str(error).split(". Run:")[0]
            listed = {name for name, _ in _files(reader)}
            manifest.rewrite([entry for entry in manifest.sound_lines() if entry.name in listed])
        report = check(reader)
        moved = {each.name: each.reason for each in report.damaged}
        moved |= dict.fromkeys(report.dead, "unfinished, and its writer is dead")
        if not (moved or report.lost or report.unlisted or why):
            return RepairReport("", {})
        entries, _ = manifest.read()
        folder = root / "damaged" / fresh_name("repair")
        out = RepairReport(str(folder.relative_to(root)), moved, report.lost, report.unlisted, why)
        gone = [name for name in (*moved, *report.lost) if name in entries]
        undo = {"entries": {name: asdict(entries[name]) for name in gone}}
        write_atomically(folder / _DONE, lambda file: file.write(json.dumps(asdict(out) | undo, indent=1).encode()))
        for name in moved:
            make_folder((folder / name).parent)
            with suppress(FileNotFoundError):  # another repair was faster
                (root / name).rename(folder / name)
        adopted = [_entry_of(reader, name).line() for name in report.unlisted]
        manifest.append([*map(removal, gone), *adopted])
        return out


def restore(reader: Reader) -> RepairReport:
    """Undo the latest repair; see `Store.restore`."""
    root = reader.root
    with _one_at_a_time(root):
        records = sorted((root / "damaged").glob(f"*/{_DONE}"))
        if not records:
            raise StoreError(f"the store {root} has no repair that can be undone")
        folder = records[-1].parent
        record = json.loads(records[-1].read_bytes())
        entries = record.pop("entries")
        files = {name: folder / name for name in record["moved"] if (folder / name).exists()}
        if taken := [name for name in files if (root / name).exists()]:
            raise StoreError(f"{root / taken[0]} was written since the repair; move it away, then restore again")
        for name, path in files.items():
            make_folder((root / name).parent)
            path.rename(root / name)
        back = [Entry(**fields | {"long": tuple(map(tuple, fields["long"]))}) for fields in entries.values()]
        reader.manifest.append([entry.line() for entry in back])
        shutil.rmtree(folder)
        lists = {name: tuple(record[name]) for name in ("lost", "adopted")}
        return RepairReport("", record["moved"], **lists, manifest=record["manifest"])


def _files(reader: Reader) -> Iterator[tuple[str, Path]]:
    """Yield name and path of every file that belongs in the manifest."""
    for folder, suffix in (*((name, ".parquet") for name in reader.parts), ("problems", ".jsonl")):
        for name in listing(reader.root / folder, suffix):
            yield f"{folder}/{name}", reader.root / folder / name


def _entry_of(reader: Reader, name: str) -> Entry:
    folder, _, file = name.partition("/")
    if folder in reader.parts:
        return reader.parts[folder].adopt(file)
    path = reader.root / name
    return batch_entry(path, len(load_problems(path)))


def compact(reader: Reader) -> CompactReport:
    """Merge the parts of each dataset into one; see `Store.compact`.

    The merged part is written, made durable and read back before the parts it replaces are removed. Killed in
    between, the store holds rows twice, which count once; the next compaction removes them. Parts that others append
    meanwhile are left alone.
    """
    report = CompactReport()
    with _one_at_a_time(reader.root):
        reader.manifest.sweep()
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
            parts.check_again(part)
        except DamagedError as error:
            damaged[part] = str(error)
    if damaged:
        raise damage_error(parts.folder, damaged)
    before = sum(parts.entry(part).rows for part in old)
    rows = reader.once(kind.name, key=kind.identity)
    due = before - repeated(reader, ask, kind, kind.identity)
    distinct = due == before - repeated(reader, ask, kind, kind.key)
    query = f"SELECT {columns(kind.schema.names)} FROM {rows} ORDER BY {columns(kind.order)}, place"
    try:
        new = parts.write(reader.stream(query, ROW_GROUP), COMPACTED, distinct=distinct)
    except (duckdb.Error, MemoryError) as error:
        raise reader.explain(error, {kind.name: old}) from error
    if new.rows != due:
        (reader.root / new.name).unlink()
        raise StoreError(f"compacting {parts.folder} gave {new.rows} rows where {due} were due; nothing was removed")
    lines = [new.line(), *(removal(f"{kind.name}/{part}") for part in old)]
    reader.manifest.append(lines, unlink=[parts.path(part) for part in old])
    return len(old), before, new.rows


def repeated(reader: Reader, ask: Ask, kind: Kind, key: Sequence[str]) -> int:
    """Return how many rows of a dataset agree in `key` with a row before them."""
    twins = reader.twins(kind.name)
    return twins - len(ask(f"SELECT DISTINCT {columns(key)} FROM {kind.name}_twins"))


def _duplicates(reader: Reader, ask: Ask) -> dict[str, int]:
    return {name: repeated(reader, ask, parts.kind, parts.kind.identity) for name, parts in reader.parts.items()}


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Hold the lock of those that take files away; the system frees it when its holder dies.

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
            raise StoreError(f"another process is compacting or repairing {root}; wait until it is done") from error
        yield
