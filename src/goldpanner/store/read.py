"""DuckDB in memory over the parts: views, and each key counted once.

No DuckDB file is ever held, so any number of processes read and write one store at a time.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from goldpanner.errors import InputError, StoreError
from goldpanner.store.parts import DamagedError, PartGoneError, Parts, damage_error
from goldpanner.store.rows import KINDS, Kind

Parameters = Mapping[str, Any]
Ask = Callable[..., pa.Table]
T = TypeVar("T")

_ATTEMPTS = 10
"""How often a query starts over because a compaction took parts away under it."""


class Reader:
    """Answers SQL over the parts that lie there at the moment of the question.

    Per dataset D there is a view `D_rows` (every stored row, with `part` and `row` telling where it stands), a table
    `D_twins` (the rows whose key occurs more than once, without their long columns; mostly empty) and a view `D` (each
    key once). `once` gives the same for a selection of rows.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = {kind.name: Parts(root, kind) for kind in KINDS}
        self._lock = threading.RLock()
        self._process = -1
        self._connection: Any = None
        self._seen: dict[str, tuple[str, ...]] = {}
        self._twins: dict[str, int] = {}

    def table(
        self, query: str, parameters: Parameters | None = None, *, over: Sequence[str] = ("samples",)
    ) -> pa.Table:
        """Return the result of `query` over the datasets `over`. Raises StoreError naming a damaged part."""

        def answer() -> pa.Table:
            with self.session(over) as ask:
                return ask(query, parameters)

        return self.retry(answer)

    @contextmanager
    def session(self, over: Sequence[str]) -> Iterator[Ask]:
        """Yield a function that answers queries over one and the same set of parts."""
        with self._lock:
            self._connect()
            for name in over:
                self._look(name)
            yield lambda query, parameters=None: self._ask(query, parameters or {}, over)

    def retry(self, ask: Callable[[], T]) -> T:
        """Return `ask()`, once more for each time that a compaction took a part away while it ran."""
        for _ in range(_ATTEMPTS):
            try:
                return ask()
            except PartGoneError:
                continue
        raise StoreError(f"parts of {self.root} keep vanishing while they are read; is something deleting them?")

    def once(self, name: str, where: str = "true", *, key: Sequence[str] | None = None, prefer: str = "") -> str:
        """Return SQL for the rows of dataset `name` that satisfy `where`, each key once.

        First the selection, then the de-duplication: of two runs that share a sample, each has it. `where` may use the
        columns of the identity, and `task`. Of equal keys the first row wins, or the first for which `prefer` holds.
        """
        kind = self.parts[name].kind
        rows = f"(SELECT * FROM {name}_rows WHERE {where})"
        if not self._twins.get(name):
            return rows
        order = f"({prefer}) DESC, part, row" if prefer else "part, row"
        losers = (
            f"SELECT part, row FROM {name}_twins WHERE {where} "
            f"QUALIFY row_number() OVER (PARTITION BY {columns(key or kind.key)} ORDER BY {order}) > 1"
        )
        return f"(SELECT * FROM {rows} ANTI JOIN ({losers}) USING (part, row))"

    def seen(self, name: str) -> tuple[str, ...]:
        """Return the parts that the current session reads of a dataset."""
        return self._seen[name]

    def stream(self, query: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the result of `query` in batches; only within a session."""
        yield from self._connection.sql(query).to_arrow_reader(batch_rows)

    def _connect(self) -> None:
        """Open the database once per process: a forked child must not use its parent's threads."""
        if self._process != os.getpid():
            spill = Path(tempfile.gettempdir()) / f"goldpanner-duckdb-{os.getpid()}"
            settings = {
                "autoinstall_known_extensions": "false",
                "parquet_metadata_cache": "true",
                "temp_directory": str(spill),  # made only when a query outgrows memory
            }
            self._connection = duckdb.connect(":memory:", config=settings)
            self._seen, self._twins, self._process = {}, {}, os.getpid()

    def _look(self, name: str) -> None:
        """Bring the views of one dataset up to date with its parts."""
        parts = self.parts[name]
        names = parts.sound()
        if self._seen.get(name) == names:
            return
        self._seen.pop(name, None)
        if names:
            paths = ", ".join(literal(str(parts.path(part).absolute())) for part in names)
            source = f"SELECT *, file_index AS part, file_row_number AS row FROM read_parquet([{paths}])"
        else:
            self._connection.register(f"{name}_none", parts.kind.schema.empty_table())
            source = f"SELECT *, 0 AS part, 0 AS row FROM {name}_none"
        try:
            self._connection.execute(f"CREATE OR REPLACE VIEW {name}_rows AS {source}")
            self._find_twins(parts.kind)
            exclude = "SELECT * EXCLUDE (part, row) FROM "
            self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS {exclude}{self.once(name)}")
        except duckdb.Error as error:
            raise self.explain(error, {name: names}) from error
        self._seen[name] = names

    def _find_twins(self, kind: Kind) -> None:
        """Fill `D_twins`. Rows of one key have one hash, so distinct hashes prove distinct keys; that pass is cheap."""
        name, key = kind.name, f"hash({columns(kind.key)})"
        twice = f"SELECT h FROM (SELECT {key} AS h FROM {name}_rows) GROUP BY h HAVING count(*) > 1"
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name}_hashes AS {twice}")
        light = dict.fromkeys([*kind.identity, *(["task"] if "task" in kind.schema.names else [])])
        where = f"{key} IN (SELECT h FROM {name}_hashes)" if self._size(f"{name}_hashes") else "false"
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {name}_twins AS "
            f"SELECT {columns(list(light))}, part, row FROM {name}_rows WHERE {where}"
        )
        self._twins[name] = self._size(f"{name}_twins")

    def _size(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    def _ask(self, query: str, parameters: Parameters, over: Sequence[str]) -> pa.Table:
        try:
            return self._connection.sql(query, params=dict(parameters)).to_arrow_table()
        except duckdb.Error as error:
            raise self.explain(error, {name: self._seen[name] for name in over}) from error

    def explain(self, error: Exception, asked: Mapping[str, tuple[str, ...]]) -> Exception:
        """Return what a failed query over parts means: one was compacted away or is damaged, or the query is wrong."""
        for name, part_names in asked.items():
            parts = self.parts[name]
            damaged = {}
            for part in part_names:
                try:
                    parts.read_through(part)
                except DamagedError as reason:
                    damaged[part] = str(reason)
                except PartGoneError as gone:
                    return gone
            if damaged:
                return damage_error(parts.folder, damaged)
        return InputError(f"the query cannot be answered: {str(error).strip()}")


def columns(names: Sequence[str]) -> str:
    """Return column names quoted for SQL."""
    return ", ".join(f'"{name}"' for name in names)


def literal(text: str) -> str:
    """Return `text` as an SQL string literal (view definitions cannot have parameters)."""
    return "'" + text.replace("'", "''") + "'"
