"""One dataset as a folder of immutable Parquet parts."""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.errors import StoreError
from goldpanner.files import fresh_name, write_atomically
from goldpanner.store.manifest import Entry, FolderState, Manifest, Ranges, checksums
from goldpanner.store.rows import Kind, distinct

ROW_GROUP = 100_000
"""Rows of a row group: what one thread of a query reads at a time, and what its minimum and maximum can skip."""

LARGE = 1 << 18
"""Bytes from which a part's long columns have a checksum of their own, so that counting does not read them."""

PART, COMPACTED = "part", "compact"
"""Stems of part names. Compacted parts sort first, so their rows stay the first of their key."""


class DamagedError(Exception):
    """A part cannot be read; the message says why."""


DISTINCT = b"goldpanner.distinct_keys"
"""Footer entry of a part that holds no key twice: what lets a reader compare parts by their spans alone."""


class PartGoneError(Exception):
    """A part was there in the listing and is not any more: compacted, or set aside."""


class OtherColumnsError(StoreError):
    """A part has other columns than those that this build knows; nothing is wrong with it."""


class Parts:
    """The parts of one dataset. Parts never change, so the bytes of each are checked once per process."""

    def __init__(self, root: Path, kind: Kind, manifest: Manifest) -> None:
        self.kind = kind
        self.folder = root / kind.name
        self.manifest = manifest
        self._entries: dict[str, Entry] = {}
        self._checked: set[tuple[str, bool]] = set()

    def path(self, name: str) -> Path:
        """Return the path of part `name`."""
        return self.folder / name

    def state(self) -> FolderState:
        """Return the parts as the manifest and the folder have them."""
        return self.manifest.folder(self.kind.name, ".parquet")

    def sound(self) -> tuple[str, ...]:
        """Return the names of all parts, sorted, after a look at those not yet seen: all bytes but long columns'.

        Raises StoreError naming a part that is lost, damaged (none is ever silently skipped) or of other columns, and
        PartGoneError.
        """
        state = self.state()
        if state.lost:
            raise lost_error(self.manifest.root, [f"{self.kind.name}/{name}" for name in state.lost])
        damaged = {}
        for name, entry in state.entries.items():
            try:
                if entry is None and name not in self._entries:
                    self._entries[name] = self.adopt(name)
                self._entries[name] = entry or self._entries[name]
                if state.sizes[name] != self._entries[name].size:
                    raise DamagedError(self._resized(name, state.sizes[name]))
                self._check_once(name, inside=False)
            except DamagedError as error:
                damaged[name] = str(error)
        if damaged:
            raise damage_error(self.folder, damaged)
        return tuple(state.entries)

    def entry(self, name: str) -> Entry:
        """Return what the manifest says of a part that `sound` has named."""
        return self._entries[name]

    def check_long(self, names: Iterable[str]) -> None:
        """Compare the long columns of parts with their checksums. Raises StoreError naming a damaged part."""
        damaged = {}
        for name in names:
            try:
                self._check_once(name, inside=True)
            except DamagedError as error:
                damaged[name] = str(error)
        if damaged:
            raise damage_error(self.folder, damaged)

    def check(self, name: str, entry: Entry | None) -> int:
        """Compare every byte of a part with the manifest (None: read it through); return its rows.

        Raises DamagedError, PartGoneError, and OtherColumnsError for a sound part that this build does not read.
        """
        if entry is None:
            return self.adopt(name).rows
        self._compare(name, entry, (False, True))
        self._know_columns(name, entry)
        return entry.rows

    def check_again(self, name: str) -> None:
        """Do as `check` with a part that `sound` has named, whatever was read of it before."""
        self.check(name, self._entries.get(name))

    def adopt(self, name: str) -> Entry:
        """Read a part that the manifest does not hold through against its page checksums; return its entry.

        Raises DamagedError, PartGoneError, OtherColumnsError.
        """
        path = self.path(name)
        with _open(path, self.kind) as part:
            rows, distinct = 0, DISTINCT in (part.schema_arrow.metadata or {})
            try:
                for batch in part.iter_batches(ROW_GROUP):
                    batch.validate(full=True)
                    rows += len(batch)
            except (pa.ArrowException, OSError, MemoryError) as error:
                raise _damage(error, path) from error
            if rows != part.metadata.num_rows:
                raise DamagedError(f"holds {rows} rows where its footer says {part.metadata.num_rows}")
        return self._entry(name, path, distinct)

    def _check_once(self, name: str, *, inside: bool) -> None:
        if (name, inside) not in self._checked:
            entry = self._entries[name]
            if not inside:
                self._know_columns(name, entry)
            self._compare(name, entry, (inside,))
            self._checked.add((name, inside))

    def _compare(self, name: str, entry: Entry, which: Sequence[bool]) -> None:
        """Raise DamagedError where a part's bytes are not those that were written."""
        try:
            if (size := self.path(name).stat().st_size) != entry.size:
                raise DamagedError(self._resized(name, size))
            sums = checksums(self.path(name), entry.long, which=which)
        except FileNotFoundError as error:
            raise PartGoneError(name) from error
        except OSError as error:
            raise _damage(error, self.path(name)) from error
        if any(sums[inside] != (entry.crc, entry.long_crc)[inside] for inside in which):
            raise DamagedError("its bytes are not those that were written (the checksum differs)")

    def _resized(self, name: str, size: int) -> str:
        return (
            f"it has {size:,} bytes where {self._entries[name].size:,} were written"
            if name in self._entries
            else (f"it has {size:,} bytes, which is not what was written")
        )

    def _know_columns(self, name: str, entry: Entry) -> None:
        if entry.columns != columns_code(self.kind.schema):
            raise _other_columns(self.path(name), self.kind)

    def _entry(self, name: str, path: Path, distinct: bool) -> Entry:
        """Return the manifest's entry of a part whose file lies at `path`."""
        metadata = pq.read_metadata(path)
        size = path.stat().st_size
        long = _long_ranges(metadata, self.kind) if size >= LARGE else ()
        code = columns_code(metadata.schema.to_arrow_schema())
        outside, inside = checksums(path, long)
        return Entry(
            f"{self.kind.name}/{name}", size, metadata.num_rows, outside, code, distinct=distinct, long=long,
            long_crc=inside,
        )  # fmt: skip

    def append(self, table: pa.Table) -> None:
        """Write `table`, which has the columns of the schema, as one part, and put it into the manifest."""
        self.add(self.write(table.to_batches(ROW_GROUP), PART, distinct=distinct(table, self.kind.key)))

    def write(self, batches: Iterable[pa.RecordBatch], stem: str, *, distinct: bool) -> Entry:
        """Write the batches as one part; return its entry, which `add` puts into the manifest.

        Atomic: the part appears whole or not at all.
        """
        name, entries = f"{fresh_name(stem)}.parquet", list[Entry]()

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
            file.flush()
            entries.append(self._entry(name, Path(file.name), distinct))

        self.manifest.begin()
        write_atomically(self.path(name), write)
        return entries[0]

    def add(self, entry: Entry) -> None:
        """Put a part that lies in the folder into the manifest."""
        self.manifest.append([entry.line()], exists=self.manifest.root / entry.name)


def columns_code(schema: pa.Schema) -> int:
    """Return the CRC-32 of the names and types of columns."""
    lines = (f"{field.name} {field.type} {field.nullable}" for field in schema)
    return zlib.crc32("\n".join(lines).replace("<item: ", "<element: ").encode())  # Arrow and Parquet differ there


def damage_error(folder: Path, damaged: dict[str, str]) -> StoreError:
    """Return the error that names damaged parts and says what to do."""
    name, reason = next(iter(damaged.items()))
    more = f" (and {len(damaged) - 1} more parts)" if len(damaged) > 1 else ""
    return StoreError(
        f"part {folder / name}{more} is damaged: {reason}. Run: goldpanner store repair {folder.parent} "
        "(it sets damaged parts aside; what they held can be drawn again)"
    )


def lost_error(root: Path, names: Sequence[str]) -> StoreError:
    """Return the error that names lost files and says what to do."""
    more = f" (and {len(names) - 1} more files)" if len(names) > 1 else ""
    return StoreError(
        f"{root / names[0]}{more} is lost: the manifest holds it and the folder does not. Put it back, or run: "
        f"goldpanner store repair {root} (it takes lost files out of the manifest; what they held can be drawn again)"
    )


def memory_error(what: Path) -> StoreError:
    """Return the error for a store that memory is too small for, which says nothing of its files."""
    return StoreError(f"there is not enough memory to read {what}; free some, or choose fewer samples")


def _open(path: Path, kind: Kind) -> pq.ParquetFile:
    """Open a part and compare its columns with the schema."""
    try:
        if path.stat().st_size == 0:
            raise DamagedError("it is empty (0 bytes)")
        part = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise PartGoneError(path.name) from error
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise _damage(error, path) from error
    if not part.schema_arrow.equals(kind.schema):
        part.close()
        raise _other_columns(path, kind)
    return part


def _other_columns(path: Path, kind: Kind) -> OtherColumnsError:
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError, MemoryError):
        changes = ["which ones could not be read"]
    else:
        changes = [f"{name!r} is new" for name in names if name not in kind.schema.names]
        changes += [f"{name!r} is missing" for name in kind.schema.names if name not in names]
    return OtherColumnsError(
        f"part {path} has other columns than this goldpanner writes ({', '.join(changes) or 'other types'}). "
        "It is not damaged: read it with the goldpanner that wrote it, or move it out of the store"
    )


def _long_ranges(metadata: pq.FileMetaData, kind: Kind) -> Ranges:
    """Return the bytes of a part's long columns, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema.split(".")[0] in kind.long:
                first = min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset)
                if ranges and sum(ranges[-1]) == first:
                    first, length = ranges.pop()
                    ranges.append((first, column.total_compressed_size + length))
                else:
                    ranges.append((first, column.total_compressed_size))
    return tuple(ranges)


_MEMORY = re.compile(r"alloc|memory|thread|resource temporarily", re.I)
"""What errors say that come of too little memory, whatever their class."""


def _damage(error: Exception, path: Path) -> Exception:
    """Tell a damaged file from one that the system will not let us read: only the first may be set aside."""
    if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
        return memory_error(path)
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
