"""One dataset as a folder of immutable Parquet parts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.errors import StoreError
from goldpanner.files import fresh_name, listing, write_atomically
from goldpanner.store.rows import Kind, distinct

ROW_GROUP = 100_000
"""Rows of a row group: what one thread of a query reads at a time, and what its minimum and maximum can skip."""

PART, COMPACTED = "part", "compact"
"""Stems of part names. Compacted parts sort first, so their rows stay the first of their key."""


class DamagedError(Exception):
    """A part cannot be read; the message says why."""


DISTINCT = b"goldpanner.distinct_keys"
"""Footer entry of a part that holds no key twice: what lets a reader compare parts by their spans alone."""


class PartGoneError(Exception):
    """A part was there in the listing and is not any more: compacted, or set aside."""


@dataclass(frozen=True)
class Footer:
    """What is known of a part without reading its rows."""

    rows: int
    distinct: bool
    """Whether no key occurs twice within the part."""


class Parts:
    """The parts of one dataset. Parts never change, so each footer is looked at once per process."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self.kind = kind
        self.folder = root / kind.name
        self._footers: dict[str, Footer] = {}

    def path(self, name: str) -> Path:
        """Return the path of part `name`."""
        return self.folder / name

    def names(self) -> tuple[str, ...]:
        """Return the names of all parts, sorted, without opening any."""
        return listing(self.folder, ".parquet")

    def sound(self) -> tuple[str, ...]:
        """Return the names of all parts after a look at the footers not yet seen.

        Raises StoreError naming a damaged part (none is ever silently skipped), PartGoneError.
        """
        names = self.names()
        damaged = {}
        for name in names:
            try:
                self.footer(name)
            except DamagedError as error:
                damaged[name] = str(error)
        if damaged:
            raise damage_error(self.folder, damaged)
        return names

    def footer(self, name: str) -> Footer:
        """Return what the footer of a part says. Raises DamagedError, PartGoneError."""
        if name not in self._footers:
            with _open(self.path(name), self.kind) as part:
                self._footers[name] = _footer(part)
        return self._footers[name]

    def read_through(self, name: str) -> int:
        """Read every page of a part against its checksum, return its rows. Raises DamagedError, PartGoneError."""
        self._footers.pop(name, None)
        with _open(self.path(name), self.kind, page_checksum_verification=True) as part:
            rows = 0
            try:
                for batch in part.iter_batches(ROW_GROUP):
                    batch.validate(full=True)
                    rows += len(batch)
            except (pa.ArrowException, OSError) as error:
                raise _damage(error, self.path(name)) from error
            if rows != part.metadata.num_rows:
                raise DamagedError(f"holds {rows} rows where its footer says {part.metadata.num_rows}")
            self._footers[name] = _footer(part)
        return rows

    def append(self, table: pa.Table) -> str:
        """Write `table`, which has the columns of the schema, as one part; return its name."""
        return self.append_batches(table.to_batches(ROW_GROUP), PART, distinct=distinct(table, self.kind.key))

    def append_batches(self, batches: Iterable[pa.RecordBatch], stem: str, *, distinct: bool) -> str:
        """Write the batches as one part; return its name. Atomic: the part appears whole or not at all."""
        name = f"{fresh_name(stem)}.parquet"

        def write(file: BinaryIO) -> None:
            with pq.ParquetWriter(
                file,
                self.kind.schema.with_metadata({DISTINCT: b"yes"} if distinct else None),
                compression="zstd",
                compression_level=1,
                use_dictionary=list(self.kind.dictionary),
                write_page_checksum=True,
            ) as writer:
                for table in _regroup(batches, self.kind.schema):
                    writer.write_table(table, row_group_size=len(table))

        write_atomically(self.path(name), write)
        return name


def damage_error(folder: Path, damaged: dict[str, str]) -> StoreError:
    """Return the error that names damaged parts and says what to do."""
    name, reason = next(iter(damaged.items()))
    more = f" (and {len(damaged) - 1} more parts)" if len(damaged) > 1 else ""
    return StoreError(
        f"part {folder / name}{more} is damaged: {reason}. Run: goldpanner store check {folder.parent} "
        "(it sets damaged parts aside; what they held can be drawn again)"
    )


def _open(path: Path, kind: Kind, **options: Any) -> pq.ParquetFile:
    """Open a part and compare its columns with the schema."""
    try:
        if path.stat().st_size == 0:
            raise DamagedError("it is empty (0 bytes)")
        part = pq.ParquetFile(path, **options)
    except FileNotFoundError as error:
        raise PartGoneError(path.name) from error
    except (pa.ArrowException, OSError) as error:
        raise _damage(error, path) from error
    if not part.schema_arrow.equals(kind.schema):
        part.close()
        raise DamagedError(f"its columns are not those of {kind.name}")
    return part


def _footer(part: pq.ParquetFile) -> Footer:
    return Footer(part.metadata.num_rows, DISTINCT in (part.schema_arrow.metadata or {}))


def _damage(error: Exception, path: Path) -> Exception:
    """Tell a damaged file from one that the system will not let us read: only the first may be set aside."""
    if isinstance(error, OSError) and error.errno is not None:
        return StoreError(f"cannot read {path}: {error.strerror}; check the rights and the disk")
    return DamagedError(str(error).strip().split("\n")[0].rstrip(". "))


def _regroup(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows in tables of ROW_GROUP rows at least (the last one excepted): small row groups read slowly."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows >= ROW_GROUP:
            yield pa.Table.from_batches(waiting).cast(schema)
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting).cast(schema)
