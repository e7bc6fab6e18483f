"""What a foreign format is: its name, its reader, and the marks that it is recognised by."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.errors import InputError
from goldpanner.interop.lines import brief, open_log, rows_in
from goldpanner.interop.records import Reading, Record

Kind = Literal["lines", "document", "parquet", "zip"]
WORDS: Mapping[Kind, str] = {
    "lines": "JSON lines with the fields",
    "document": "a JSON object with the fields",
    "parquet": "a parquet file with the columns",
    "zip": "a zip archive whose name does not end in .eval",
}


@dataclass(frozen=True)
class Head:
    """The beginning of a file: all that a format is recognised by."""

    path: Path
    kind: Kind
    fields: Mapping[str, object]
    """JSON lines: the first line's fields. One JSON object: its fields. Parquet: the type of each column."""

    @property
    def summary(self) -> str:
        """What the file is, in a few words."""
        names = ", ".join(sorted(map(str, self.fields))[:12])
        return WORDS[self.kind] if self.kind == "zip" else f"{WORDS[self.kind]} {names or 'none'}"


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
    samples: bool = True
    """Whether it holds samples; False: only their numbers."""


def json_with(*names: str) -> Callable[[Head], bool]:
    """Return the recogniser of JSON whose first line, or whose one object, has all these fields."""
    return lambda head: head.kind in ("lines", "document") and set(names) <= set(head.fields)


def parquet_with(*names: str) -> Callable[[Head], bool]:
    """Return the recogniser of a parquet file that has all these columns."""
    return lambda head: head.kind == "parquet" and set(names) <= set(head.fields)


def read_head(path: Path) -> Head:
    """Return the beginning of a file, which is opened once. Raises InputError where it is empty or cannot be read."""
    with open_log(path) as handle:
        magic = handle.read(4)
        handle.seek(0)
        if magic == b"PAR1":
            return Head(path, "parquet", _parquet_columns(path, handle))
        if magic == b"PK\x03\x04":
            return Head(path, "zip", {})
        if path.suffix != ".json":
            return _first_line(path, handle)
        try:
            return _first_line(path, handle)  # JSON lines under another name
        except InputError:
            handle.seek(0)
            return Head(path, "document", _object(path, handle))


def read_document(path: Path) -> dict[str, object]:
    """Return a file's one JSON object. Raises InputError naming the line where it breaks."""
    with open_log(path) as handle:
        return _object(path, handle)


def _first_line(path: Path, handle: IO[bytes]) -> Head:
    row = next(rows_in(path, handle), None)
    if row is None:
        raise InputError(f"{path} is empty: it holds no record; was its writer stopped?")
    return Head(path, "lines", row.fields)


def _object(path: Path, handle: IO[bytes]) -> dict[str, object]:
    try:
        value = json.loads(handle.read().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno} is not JSON ({error.msg}); expected one JSON object. Was the file cut?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); expected one JSON object") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is {brief(value)}; expected one JSON object")
    return value


def _parquet_columns(path: Path, handle: IO[bytes]) -> dict[str, object]:
    try:
        schema = pq.read_schema(handle)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path} is no readable parquet file ({reason}); was it cut while copying?") from None
    return dict(zip(schema.names, schema.types))
