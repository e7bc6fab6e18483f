"""What a foreign format is: its name, its reader, and the marks that it is recognised by."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.errors import InputError
from goldpanner.interop.lines import brief, open_log, parse_json, rows_in, table_rows
from goldpanner.interop.records import Reading, Record

Kind = Literal["lines", "document", "array", "csv", "parquet", "arrow", "zip"]
WORDS: Mapping[Kind, str] = {
    "lines": "JSON lines with the fields",
    "document": "a JSON object with the fields",
    "array": "a JSON array of objects with the fields",
    "csv": "a CSV file with the columns",
    "parquet": "a parquet file with the columns",
    "arrow": "an Arrow file with the columns",
    "zip": "a zip archive whose name does not end in .eval",
}
_PACKED = {".gz", ".zst"}
_PREFIX = 1 << 20


@dataclass(frozen=True)
class Head:
    """The beginning of a file: all that a format is recognised by."""

    path: Path
    kind: Kind
    fields: Mapping[str, object]
    """JSON lines or array: the first object's fields. One JSON object: its fields. A table: its columns' types."""
    delimiter: str = ","
    """Of a CSV file."""
    named: bool = True
    """Whether the first line of a CSV file names the columns."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a table of Hugging Face's: column -> the names of its classes, which it holds as numbers from 0."""

    @property
    def summary(self) -> str:
        """What the file is, in a few words."""
        names = ", ".join(sorted(map(str, self.fields))[:12])
        return WORDS[self.kind] if self.kind == "zip" else f"{WORDS[self.kind]} {names or 'none'}"

    @property
    def is_json(self) -> bool:
        """Whether the fields are those of JSON objects."""
        return self.kind in ("lines", "document", "array")


@dataclass(frozen=True)
class Format:
    """One foreign format: how it is recognised and read."""

    name: str
    read: Callable[[Reading], Iterator[Record]]
    """Yields the records of an import's files. Raises InputError naming file and line."""
    marks: str
    """What it looks like, for people."""
    recognises: Callable[[Head], bool]
    names: tuple[str, ...] = ()
    """Patterns of its file names, for folders."""
    anonymous: bool = False
    """Whether nothing in a file says which model wrote it: two files of a folder may be two models."""
    dated: bool = False
    """Whether every file is a run of its own, so that equal files are equal answers and not copies."""
    samples: bool = True
    """Whether it holds samples; False: only their numbers."""
    general: bool = False
    """Whether it is asked only where no other format recognises a file."""
    table: bool = False
    """Whether its files are tables, whose columns the user may name (`--map`)."""


def json_with(*names: str) -> Callable[[Head], bool]:
    """Return the recogniser of JSON whose first object has all these fields."""
    return lambda head: head.is_json and set(names) <= set(head.fields)


def parquet_with(*names: str) -> Callable[[Head], bool]:
    """Return the recogniser of a parquet file that has all these columns."""
    return lambda head: head.kind == "parquet" and set(names) <= set(head.fields)


def read_head(path: Path) -> Head:
    """Return the beginning of a file, which is opened once. Raises InputError where it is empty or cannot be read."""
    with open_log(path) as handle:
        magic = handle.read(6)
        handle.seek(0)
        if magic[:4] == b"PAR1":
            return _table_head(path, "parquet", lambda: pq.read_schema(handle))
        if magic == b"ARROW1" or magic[:4] == b"\xff\xff\xff\xff":
            return _table_head(path, "arrow", lambda: open_arrow(handle, magic).schema)
        if magic[:4] == b"PK\x03\x04":
            return Head(path, "zip", {})
        head = _text_head(path, handle)
        rows = table_rows(dict(head.fields)) if head.kind in ("lines", "document") else None
        return Head(path, "array", rows[0]) if rows else head


def open_arrow(handle: IO[bytes], magic: bytes) -> pa.RecordBatchReader:
    """Return the batches of an open Arrow file or stream, by its first bytes."""
    if magic[:6] == b"ARROW1":
        file = pa.ipc.open_file(handle)
        return pa.RecordBatchReader.from_batches(file.schema, map(file.get_batch, range(file.num_record_batches)))
    return pa.ipc.open_stream(handle)


def suffix_of(path: Path) -> str:
    """Return the ending of a file's name, below that of a compression."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in _PACKED else path.suffix.lower()


def read_document(path: Path) -> dict[str, object]:
    """Return a file's one JSON object. Raises InputError naming the line where it breaks."""
    with open_log(path) as handle:
        return _object(path, handle)


def _text_head(path: Path, handle: IO[bytes]) -> Head:
    prefix = handle.read(_PREFIX)
    handle.seek(0)
    start = prefix.removeprefix(b"\xef\xbb\xbf").lstrip()
    line = prefix.split(b"\n", 1)[0]
    if suffix_of(path) in (".csv", ".tsv") or (
        start[:1] not in b"{[" and b"\x00" not in line and _delimiter(path, line)
    ):
        return _csv_head(path, line)
    if start[:1] == b"[":
        return _array_head(path, handle, start)
    if suffix_of(path) != ".json":
        return _first_line(path, handle)
    try:
        return _first_line(path, handle)  # JSON lines under another name
    except InputError:
        handle.seek(0)
        return Head(path, "document", _object(path, handle))


def _first_line(path: Path, handle: IO[bytes]) -> Head:
    row = next(rows_in(path, handle), None)
    if row is None:
        raise InputError(f"{path} is empty: it holds no record; was its writer stopped?")
    return Head(path, "lines", row.fields)


def _array_head(path: Path, handle: IO[bytes], start: bytes) -> Head:
    """Return the head of a JSON array: its first object, read from the beginning of the file where it fits in there."""
    try:
        value, _ = json.JSONDecoder().raw_decode(start[1:].decode(errors="replace").lstrip())
    except (ValueError, RecursionError):
        rows = parse_json(path, handle, "one JSON array of objects")
        value = rows[0] if isinstance(rows, list) and rows else rows
    if not isinstance(value, dict):
        raise InputError(f"{path} is a JSON array that begins with {brief(value)}; expected objects in it")
    return Head(path, "array", value)


def _csv_head(path: Path, line: bytes) -> Head:
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line 1 is not UTF-8 text ({error.reason}); save the table as UTF-8") from None
    if not text.strip():
        raise InputError(f"{path} is empty: its first line names no column; was its writer stopped?")
    delimiter = _delimiter(path, line) or ","
    cells = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter), [])]
    named = not all(cell in ("0", "1") for cell in cells)
    names = cells if named else [str(place) for place in range(len(cells))]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path}, line 1: the column {min(twice)!r} stands twice; give every column one name")
    return Head(path, "csv", dict.fromkeys(names, "text"), delimiter, named)


def _delimiter(path: Path, line: bytes) -> str:
    """Return what separates the columns of a table's first line; empty where nothing does."""
    if suffix_of(path) == ".tsv":
        return "\t"
    return next((mark for mark in ("\t", ",", ";") if mark.encode() in line), "")


def _object(path: Path, handle: IO[bytes]) -> dict[str, object]:
    value = parse_json(path, handle, "one JSON object")
    if not isinstance(value, dict):
        raise InputError(f"{path} is {brief(value)}; expected one JSON object")
    return value


def _table_head(path: Path, kind: Kind, schema: Callable[[], pa.Schema]) -> Head:
    try:
        columns = schema()
        names = dict(zip(columns.names, columns.types))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # names of a damaged file may be no text
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path} is no readable parquet or Arrow file ({reason}); was it cut while copying?") from None
    return Head(path, kind, names, labels=_class_labels((columns.metadata or {}).get(b"huggingface", b"")))


def _class_labels(metadata: bytes) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of each column that is a ClassLabel, from what `datasets` keeps in the schema."""
    try:
        features = json.loads(metadata)["info"]["features"]
        return {
            column: tuple(map(str, feature["names"]))
            for column, feature in features.items()
            if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
