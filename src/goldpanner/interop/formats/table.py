"""A table of nobody's in particular: its columns are found by their usual names, or named with `--map`."""

from goldpanner.errors import InputError
from goldpanner.interop.format import Format, Head
from goldpanner.interop.roles import find_layout
from goldpanner.interop.table import read_table


def _recognises(head: Head) -> bool:
    try:
        find_layout(head.path, head.fields, {})
    except InputError:
        return False
    return head.kind not in ("zip", "document")


FORMAT = Format(
    "table",
    read_table,
    "CSV, TSV, JSON lines, a JSON array, Parquet or Arrow with columns for a problem and its verdicts (--map)",
    _recognises,
    ("*.csv", "*.tsv", "*.parquet", "*.arrow", "*.jsonl", "data/*.parquet"),
    anonymous=True,
    general=True,
    table=True,
)
