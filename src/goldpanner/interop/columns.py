"""Tables of any kind as columns, a chunk of rows at a time: CSV, Parquet, Arrow, JSON lines, a JSON array."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from goldpanner.errors import InputError
from goldpanner.interop.format import Head, open_arrow, read_head
from goldpanner.interop.lines import DAMAGE, LogRow, json_rows, open_log
from goldpanner.types import IntArray

CHUNK = 1 << 16
"""Rows of a chunk at most."""
_BLOCK = 1 << 22
"""Bytes of a CSV file parsed at a time, so the longest row."""

Column: TypeAlias = pa.Array | list[object]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table, column by column."""

    file: Path
    columns: dict[str, Column]
    places: Sequence[int]
    """Line, or number from 1, of each row."""
    unit: str

    def row(self, index: int, **fields: object) -> LogRow:
        """Return a row as it is named in errors."""
        return LogRow(self.file, self.places[index], fields, self.unit)


@dataclass(frozen=True)
class Codes:
    """A column by its distinct values."""

    values: list[object]
    at: IntArray
    """Place in `values` of each row's value."""


def table_chunks(path: Path, names: Sequence[str], torn: Callable[[str], None] | None = None) -> Iterator[Chunk]:
    """Yield the columns `names` of a table; a dotted name is a field within a column (`scores.match`).

    The cells of a CSV file are text. A JSON row without a column has None there; any other table must have them all.
    Raises InputError naming the file where it cannot be read.
    """
    head = read_head(path)
    if head.is_json:
        yield from _json_chunks(path, names, torn)
        return
    if head.kind == "zip":
        raise InputError(f"{path} is {head.summary}; give a table: CSV, JSON rows, Parquet or Arrow")
    first = 1
    try:
        with open_log(path) as handle:
            for batch in _batches(head, handle, names):
                batch.validate(full=True)  # offsets of a damaged file point anywhere
                places = range(first, first + batch.num_rows)
                yield Chunk(path, {name: _column(path, batch, name) for name in names}, places, "row")
                first += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError, *DAMAGE) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{path}, after row {first - 1}: {reason}; the table is damaged, write it again") from None


def encoded(column: Column) -> Codes:
    """Return a column by its distinct values, in the order in which they come first."""
    if isinstance(column, pa.Array) and not pa.types.is_nested(column.type):
        flat = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values: list[object] = flat.dictionary.to_pylist()
        at = flat.indices.cast(pa.int64()).fill_null(len(values)).to_numpy()
        return Codes([*values, None] if flat.indices.null_count else values, at)
    items = cells(column)
    places: dict[object, int] = {}
    out: list[object] = []
    codes = np.empty(len(items), np.int64)
    for row, item in enumerate(items):
        key = (type(item), item if isinstance(item, str | int | float | None) else repr(item))
        place = places.setdefault(key, len(out))
        if place == len(out):
            out.append(item)
        codes[row] = place
    return Codes(out, codes)


def flatten(column: Column) -> tuple[Column, IntArray] | None:
    """Return the members of a column of lists one after the other, and the row of each; None where it holds no list.

    A row without a list is one sample without a value.
    """
    if isinstance(column, pa.Array) and _is_list(column.type) and not column.null_count:
        return pc.list_flatten(column), pc.list_parent_indices(column).cast(pa.int64()).to_numpy()
    if isinstance(column, pa.Array) and not pa.types.is_nested(column.type):
        return None
    items = cells(column)
    if not any(isinstance(item, list) for item in items):
        return None
    flat: list[object] = []
    rows: list[int] = []
    for row, item in enumerate(items):
        members = item if isinstance(item, list) else [item]
        flat += members
        rows += [row] * len(members)
    return flat, np.array(rows, np.int64)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def cells(column: Column) -> list[object]:
    """Return a column as a list."""
    if isinstance(column, list):
        return column
    values: list[object] = column.to_pylist()
    return values


def _json_chunks(path: Path, names: Sequence[str], torn: Callable[[str], None] | None) -> Iterator[Chunk]:
    rows = json_rows(path, torn)
    ways = {name: name.split(".") for name in names}
    while block := list(islice(rows, CHUNK)):
        columns: dict[str, Column] = {name: [_lookup(row.fields, name, ways[name]) for row in block] for name in names}
        yield Chunk(path, columns, [row.line for row in block], block[0].unit)


def _lookup(fields: dict[str, object], name: str, way: list[str]) -> object:
    if name in fields or len(way) == 1:
        return fields.get(name)
    value: object = fields
    for part in way:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _batches(head: Head, handle: IO[bytes], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if head.kind == "csv":
        missing = [name for name in names if name not in head.fields]
        if missing:
            raise InputError(f"{head.path} has no column {missing[0]!r}; name one of {', '.join(head.fields)}")
        read = pa_csv.ReadOptions(block_size=_BLOCK, column_names=list(head.fields), skip_rows=int(head.named))
        parse = pa_csv.ParseOptions(delimiter=head.delimiter, newlines_in_values=True)
        text = pa_csv.ConvertOptions(
            include_columns=list(names), column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        yield from pa_csv.open_csv(handle, read, parse, text)
    elif head.kind == "parquet":
        file = pq.ParquetFile(handle)
        tops = [name if name in head.fields else name.split(".", 1)[0] for name in names]
        yield from file.iter_batches(CHUNK, columns=list(dict.fromkeys(top for top in tops if top in head.fields)))
    else:
        magic = handle.read(6)
        handle.seek(0)
        yield from open_arrow(handle, magic)


def _column(path: Path, batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch.column(name)
    top, _, rest = name.partition(".")
    if top not in batch.schema.names or not rest:
        raise InputError(f"{path} has no column {name!r}; name one of {', '.join(batch.schema.names)}")
    try:
        return pc.struct_field(batch.column(top), rest.split("."))
    except pa.ArrowException as error:
        raise InputError(f"{path} has no field {rest!r} in its column {top!r} ({error}); name another") from None
