"""DuckDB in memory over the parts: views, and each key counted once.

No DuckDB file is ever held, so any number of processes read and write one store at a time.
"""

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from goldpanner.errors import InputError, StoreError
from goldpanner.store.manifest import Manifest
from goldpanner.store.parts import DamagedError, PartGoneError, Parts, damage_error, memory_error
from goldpanner.store.rows import KINDS, Kind

Parameters = Mapping[str, object]
Ask = Callable[..., pa.Table]
T = TypeVar("T")

_LATER = 2**61
"""Above every place: what moves a row behind those that are preferred; twice that, behind all that are not void."""

_WRONG_QUERY = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.ConversionException)
"""Errors that no file can cause: no part needs to be read through."""

MANY, MANY_BYTES, FOOTER = 2_000, 200_000_000, 4_500
"""More parts than these are read into memory, so many at a time, if their rows have no more bytes; the bytes of a
part's footer."""

_ATTEMPTS = 10
"""How often a query starts over because a compaction took parts away under it."""


class Reader:
    """Answers SQL over the parts that lie there at the moment of the question.

    Per dataset D there is a view `D_rows` (every stored row, with its `place`: number of the part, then of the row)
    and, where `once` or `twins` asked for it, a table `D_twins` (the rows whose key occurs more than once, without
    their long columns; mostly empty).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = Manifest(root)
        self.parts = {kind.name: Parts(root, kind, self.manifest) for kind in KINDS}
        self._lock = threading.RLock()
        self._process = -1
        self._connection: Any = None
        self._inherited: Any = None
        self._seen: dict[str, tuple[str, ...]] = {}
        self._twins: dict[str, tuple[tuple[str, ...], int]] = {}

    @contextmanager
    def session(self, over: Sequence[str]) -> Iterator[Ask]:
        """Yield a function that answers queries over one and the same set of parts."""
        with self._lock:
            self._connect()
            for name in over:
                self._look(name)
            yield lambda query, parameters=None: self._ask(query, parameters or {}, over)

    def answer(self, over: Sequence[str], work: Callable[[Ask], T]) -> T:
        """Return `work(ask)` of a session, once more for each time that a compaction took parts away while it ran."""
        for _ in range(_ATTEMPTS):
            try:
                with self.session(over) as ask:
                    return work(ask)
            except PartGoneError:
                continue
        raise StoreError(f"parts of {self.root} keep vanishing while they are read; is something deleting them?")

    def once(self, name: str, where: str = "true", *, key: Sequence[str] | None = None, prefer: str = "") -> str:
        """Return SQL for the rows of dataset `name` that satisfy `where`, each key once; only within a session.

        First the selection, then the de-duplication: of two runs that share a sample, each has it. `where` may use the
        columns of the identity, and `task` and `finish`. Of equal keys the first row wins that is not void, or the
        first of these for which `prefer` holds.
        """
        rows = f"(SELECT * FROM {name}_rows WHERE {where})"
        if not self.twins(name):
            return rows
        rank, void = "place", self.parts[name].kind.void
        if prefer:
            rank += f" + CASE WHEN {prefer} THEN 0 ELSE {_LATER} END"
        if void is not None:
            rank += f" + CASE WHEN {void[0]} = {literal(void[1])} THEN {2 * _LATER} ELSE 0 END"
        winners = (
            f"SELECT min({rank}) % {_LATER} FROM {name}_twins WHERE {where} "
            f"GROUP BY {columns(key or self.parts[name].kind.key)}"
        )
        losers = f"SELECT place FROM {name}_twins WHERE {where} AND place NOT IN ({winners})"
        return f"(SELECT * FROM {rows} WHERE place NOT IN ({losers}))"

    def twins(self, name: str) -> int:
        """Fill the table `D_twins` of dataset `name` if its parts changed; return its rows. Only within a session."""
        names = self._seen[name]
        if self._twins.get(name, (None, 0))[0] != names:
            try:
                self._twins[name] = (names, self._find_twins(self.parts[name], names))
            except duckdb.Error as error:
                raise self.explain(error, {name: names}) from error
        return self._twins[name][1]

    def show(self, name: str) -> None:
        """Make the view `D` of dataset `name`: each key once; only within a session."""
        rows = self.once(name)
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * EXCLUDE (place) FROM {rows}")

    def seen(self, name: str) -> tuple[str, ...]:
        """Return the parts that the current session reads of a dataset."""
        return self._seen[name]

    def stream(self, query: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the result of `query` in batches; only within a session."""
        yield from self._connection.sql(query).to_arrow_reader(batch_rows)

    def _connect(self) -> None:
        """Open the database once per process: a forked child has none of its parent's threads."""
        if self._process != os.getpid():
            self._inherited = self._connection  # kept: to close it, it would wait for those threads
            spill = Path(tempfile.gettempdir()) / f"goldpanner-duckdb-{os.getpid()}"
            settings = {
                "autoinstall_known_extensions": "false",
                "parquet_metadata_cache": "true",
                "temp_directory": str(spill),  # made only when a query outgrows memory
            }
            self._connection = duckdb.connect(":memory:", config=settings)
            # where Python looks interactive (`python -c`, notebooks) DuckDB would draw on standard output after 2 s
            self._connection.execute("SET enable_progress_bar = false")
            self._seen, self._twins, self._process = {}, {}, os.getpid()

    def _look(self, name: str) -> None:
        """Bring the views of one dataset up to date with its parts."""
        parts = self.parts[name]
        names = parts.sound()
        if self._seen.get(name) == names:
            return
        if len(names) > MANY and sum(parts.entry(part).size - FOOTER for part in names) < MANY_BYTES:
            source = self._gather(parts, names)
        elif names:
            source = _select(parts, names)
        else:
            self._connection.register(f"{name}_none", parts.kind.schema.empty_table())
            source = f"SELECT *, 0 AS place FROM {name}_none"
        try:
            self._connection.execute(f"CREATE OR REPLACE VIEW {name}_rows AS {source}")
        except duckdb.Error as error:
            raise self.explain(error, {name: names}) from error
        self._seen[name] = names

    def _gather(self, parts: Parts, names: Sequence[str]) -> str:
        """Read many small parts into one table in memory, and return the query for it.

        A view would open each of them again for every question, and DuckDB keeps every footer that a view has read.
        """
        table, name = f"{parts.kind.name}_gathered", parts.kind.name
        self._connection.execute("SET parquet_metadata_cache = false")
        try:
            for start in range(0, len(names), MANY):
                source = _select(parts, names[start : start + MANY], start)
                begin = f"INSERT INTO {table}" if start else f"CREATE OR REPLACE TEMP TABLE {table} AS"
                self._connection.execute(f"{begin} {source}")
        except duckdb.Error as error:
            raise self.explain(error, {name: tuple(names)}) from error
        finally:
            self._connection.execute("SET parquet_metadata_cache = true")
        parts.check_long(names)
        return f"SELECT * FROM {table}"

    def _find_twins(self, parts: Parts, names: Sequence[str]) -> int:
        """Fill `D_twins`; return its rows. Rows of one key have one hash: a hash that occurs once is done with."""
        name, kind = parts.kind.name, parts.kind
        more = [*(["task"] if "task" in kind.schema.names else []), *(kind.void or ())[:1]]
        light = columns(list(dict.fromkeys([*kind.identity, *more])))
        if not self._find_suspects(parts, names):
            return self._make(f"{name}_twins", f"SELECT {light}, place FROM {name}_rows WHERE false")
        rows = f"{name}_rows SEMI JOIN suspects USING ({_stem(kind)})"
        key = f"hash({columns(kind.key)})"
        self._make("repeated", f"SELECT h FROM (SELECT {key} AS h FROM {rows}) GROUP BY h HAVING count(*) > 1")
        return self._make(f"{name}_twins", f"SELECT {light}, place FROM {rows} WHERE {key} IN (SELECT h FROM repeated)")

    def _find_suspects(self, parts: Parts, names: Sequence[str]) -> int:
        """Fill `suspects` with the keys, less their index, under which an index may stand twice; return how many.

        Most parts hold no key twice (their footer says so) and hold each problem's samples as a span of indices that
        no other part's span overlaps. One cheap pass over the spans proves it, and no key has to be looked at.
        """
        loose = ", ".join(str(number) for number, part in enumerate(names) if not parts.entry(part).distinct)
        if len(names) < 2 and not loose:
            return 0
        stem, number = _stem(parts.kind), '"index"' if "index" in parts.kind.key else "0"
        self._make(
            "spans",
            f"SELECT {stem}, place >> 40 AS part, min({number}) AS low, max({number}) AS high "
            f"FROM {parts.kind.name}_rows GROUP BY ALL",
        )
        several = f"(SELECT {stem} FROM spans GROUP BY ALL HAVING count(*) > 1)"
        before = f"PARTITION BY {stem} ORDER BY low ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
        overlapping = (
            f"SELECT DISTINCT {stem} FROM (SELECT {stem}, low, max(high) OVER ({before}) AS reached "
            f"FROM spans SEMI JOIN {several} USING ({stem})) WHERE low <= reached"
        )
        return self._make(
            "suspects", overlapping + (f" UNION SELECT {stem} FROM spans WHERE part IN ({loose})" if loose else "")
        )

    def _make(self, table: str, query: str) -> int:
        """Fill a table in memory from a query; return its rows."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    def _ask(self, query: str, parameters: Parameters, over: Sequence[str]) -> pa.Table:
        for name in over:
            if _reads_long(query, self.parts[name].kind):
                self.parts[name].check_long(self._seen[name])
        try:
            return self._connection.sql(query, params=dict(parameters)).to_arrow_table()
        except (duckdb.Error, MemoryError) as error:
            raise self.explain(error, {name: self._seen[name] for name in over}) from error

    def explain(self, error: Exception, asked: Mapping[str, tuple[str, ...]]) -> Exception:
        """Return what a failed query over parts means: one was compacted away or is damaged, or the query is wrong."""
        for name, part_names in ({} if isinstance(error, _WRONG_QUERY) else asked).items():
            parts = self.parts[name]
            damaged = {}
            for part in part_names:
                try:
                    parts.check_again(part)
                except DamagedError as reason:
                    damaged[part] = str(reason)
                except PartGoneError as gone:
                    return gone
            if damaged:
                return damage_error(parts.folder, damaged)
        if isinstance(error, MemoryError | duckdb.OutOfMemoryException) or "bad_alloc" in str(error):
            return memory_error(self.root)
        return InputError(f"the query cannot be answered: {str(error).strip()}")


def _select(parts: Parts, names: Sequence[str], first: int = 0) -> str:
    """Return the query for the rows of parts, each with its place; `first` is the number of the first part."""
    paths = ", ".join(literal(str(parts.path(part).absolute())) for part in names)
    return f"SELECT *, ((file_index + {first})::BIGINT << 40) + file_row_number AS place FROM read_parquet([{paths}])"


def columns(names: Sequence[str]) -> str:
    """Return column names quoted for SQL."""
    return ", ".join(f'"{name}"' for name in names)


def _reads_long(query: str, kind: Kind) -> bool:
    """Return whether a query may read long columns: it names one, or takes all."""
    words = set(re.findall(r"\w+|\*", re.sub(r"count\s*\(\s*\*\s*\)", "", query, flags=re.I)))
    return bool(kind.long) and not words.isdisjoint((*kind.long, "*", "COLUMNS", "columns"))


def _stem(kind: Kind) -> str:
    """Return the columns of a key less the index: what a span of indices belongs to."""
    return columns([column for column in kind.key if column != "index"])


def literal(text: str) -> str:
    """Return `text` as an SQL string literal (view definitions cannot have parameters)."""
    return "'" + text.replace("'", "''") + "'"
