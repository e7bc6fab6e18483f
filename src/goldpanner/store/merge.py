"""Merge: what another store holds is copied into this one, files as they are."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from goldpanner.errors import StoreError
from goldpanner.files import make_folder, write_atomically
from goldpanner.store.manifest import Entry
from goldpanner.store.read import Ask, Reader
from goldpanner.store.records import Records, batch_entry, load_problems
from goldpanner.store.upkeep import check


@dataclass(frozen=True)
class MergeReport:
    """What a merge copied."""

    files: int
    """Parts and batches of problems."""
    samples: int
    """Samples that were not there before."""
    known: int
    """Samples of the other store whose key was there: they count once, as the first store has them."""
    records: int
    """Records that were not there before."""

    def __str__(self) -> str:
        known = f"; {self.known:,} samples were there already and count once" if self.known else ""
        return f"{self.files:,} files copied: {self.samples:,} new samples, {self.records:,} new records{known}"


def merge_stores(into: Reader, other: Reader) -> MergeReport:
    """Copy the files of another store that this one lacks; see `Store.merge`. Killed, the same call goes on."""
    report = check(other)
    if not report.ok or report.other_version:
        raise StoreError(f"the store {other.root} is not sound, so nothing was merged:\n{report}")
    before, theirs, files = _samples(into), _samples(other), 0
    into.manifest.begin()
    for name, entry in _files(other):
        if name in into.manifest.read()[0]:
            continue
        _copy(other.root / name, into.root / name)
        into.manifest.append([entry.line()], exists=into.root / name)
        files += 1
    records = 0
    for path in Records(other.root, other.manifest).paths():
        target = into.root / path.relative_to(other.root)
        if not target.exists():
            _copy(path, target)
            records += 1
    new = _samples(into) - before
    return MergeReport(files, new, theirs - new, records)


def _files(reader: Reader) -> list[tuple[str, Entry]]:
    """Return the files of a store that never change, problems first, each with its entry."""
    files = []
    for name, entry in reader.manifest.folder("problems", ".jsonl").entries.items():
        path = reader.root / "problems" / name
        files.append((f"problems/{name}", entry or batch_entry(path, len(load_problems(path)))))
    for folder, parts in reader.parts.items():
        files += [(f"{folder}/{name}", parts.entry(name)) for name in parts.sound()]
    return files


def _copy(source: Path, target: Path) -> None:
    make_folder(target.parent)
    with source.open("rb") as file:
        write_atomically(target, lambda copy: shutil.copyfileobj(file, copy, 1 << 20))


def _samples(reader: Reader) -> int:
    """Return how many samples a store has, each key once."""

    def work(ask: Ask) -> int:
        return int(ask(f"SELECT count(*) AS n FROM {reader.once('samples')}").column("n")[0].as_py())

    return reader.answer(("samples",), work)
