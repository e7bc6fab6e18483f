"""Reading logs line by line: bounded memory, and errors that name file and line, what was expected and what to do."""

import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, NoReturn

import pyarrow as pa

from goldpanner.errors import InputError
from goldpanner.interop.records import Reading
from goldpanner.types import Outcome, Verdict

DAMAGE = (OSError, EOFError, zlib.error)
"""What reading a torn or corrupt (gzip) file raises."""
TORN = "a last line that is cut in the middle"
LONGEST_LINE = 1 << 28
"""Bytes (256 MiB) of one line at most, so that a file without line ends cannot fill the memory."""


@dataclass(slots=True)
class LogRow:
    """One JSON object of a log, and where it stands."""

    file: Path
    line: int
    """From 1; for formats without lines, the number of the record."""
    fields: dict[str, object]
    unit: str = "line"

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"

    def fail(self, what: str) -> NoReturn:
        """Raise InputError: where, and `what` was expected and is to be done."""
        raise InputError(f"{self.file}, {self.unit} {self.line}: {what}")

    def need(self, key: str) -> object:
        """Return the field `key`, which must be there."""
        if key not in self.fields:
            names = ", ".join(sorted(map(str, self.fields))[:12])
            self.fail(f"the field {key!r} is missing (found: {names or 'none'}); name the right format with --format")
        return self.fields[key]

    def text(self, key: str) -> str:
        """Return the field `key`, which must be text."""
        value = self.need(key)
        if not isinstance(value, str):
            self.fail(f"the field {key!r} is {brief(value)}; expected text")
        return unicode_text(value)

    def objects(self, key: str) -> list[dict[str, object]]:
        """Return the field `key`, which must be a list of JSON objects."""
        value = self.need(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fail(f"the field {key!r} is {brief(value)}; expected a list of objects")
        return value

    def integer(self, key: str, least: int = 0) -> int:
        """Return the field `key`, which must be a whole number from `least` to 10^15."""
        value = self.need(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**15:
            self.fail(f"the field {key!r} is {brief(value)}; expected a whole number >= {least}, at most 10^15")
        return value


def brief(value: object) -> str:
    """Return a short `repr` for messages."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def as_object(value: object) -> dict[str, object]:
    """Return a JSON object as it is, and anything else as the empty one."""
    return value if isinstance(value, dict) else {}


def unicode_text(text: str) -> str:
    """Return `text` with lone surrogates (halves of a character, which UTF-8 cannot hold) as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def message_text(value: object) -> str | None:
    """Return the text of a completion or prompt: a string, or the contents of a list of chat messages.

    One message gives its content; several give `role: content` blocks. None where `value` is neither.

        >>> message_text([{"role": "assistant", "content": "42"}])
        '42'
    """
    if isinstance(value, str):
        return unicode_text(value)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
        return None
    parts = []
    for message in value:
        content = message.get("content")
        if isinstance(content, list):  # content parts: text is kept, images are named
            content = "".join(
                str(p.get("text", f"[{p.get('type', 'part')}]")) if isinstance(p, dict) else str(p) for p in content
            )
        content = "" if content is None else str(content)
        parts.append(content if len(value) == 1 else f"{message.get('role', '')}: {content}")
    return unicode_text("\n\n".join(parts))


@contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, through gzip or zstd where its first bytes say so."""
    try:
        handle = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; give an existing file") from None
    try:
        with handle:
            magic = handle.read(4)
            handle.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(handle) as inner:
                    yield io.BufferedReader(inner)
            elif magic == b"\x28\xb5\x2f\xfd":
                yield io.BytesIO(pa.CompressedInputStream(handle, "zstd").read())
            else:
                yield handle
    except DAMAGE as error:
        raise InputError(f"{path}: {error}; the file is cut or damaged, copy it again") from None


def json_rows(path: Path, torn: Callable[[str], None] | None = None) -> Iterator[LogRow]:
    """Yield the JSON objects of a file: one a line (blank lines are passed over), or those of one JSON array or table.

    A last line cut in the middle is an error, or left out and its place told to `torn`. Raises InputError.
    """
    with open_log(path) as handle:
        start = handle.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        handle.seek(0)
        if not start.startswith(b"[") and not _is_document(path, handle):
            rows = rows_in(path, handle, torn)
            first = next(rows, None)
            if first is not None:
                inner = table_rows(first.fields)
                yield from [first] if inner is None else _numbered(path, inner)
            yield from rows
            return
        value = parse_json(path, handle, "one JSON array of objects")
    value = table_rows(value) if isinstance(value, dict) else value
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{path} is {brief(value)}; expected one JSON array of objects")
    yield from _numbered(path, value)


def table_rows(value: dict[str, object]) -> list[dict[str, object]] | None:
    """Return the rows of a table that W&B (`columns`, `data`) or trackio (`_value`) wrote as one object; else None."""
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, columns), row)) for row in data]
    inner = value.get("_value")
    if value.get("_type") == "trackio.table" and isinstance(inner, list):
        return [row for row in inner if isinstance(row, dict)]
    return None


def _numbered(path: Path, rows: list[dict[str, object]]) -> Iterator[LogRow]:
    return (LogRow(path, number, fields, "record") for number, fields in enumerate(rows, 1))


def _is_document(path: Path, handle: IO[bytes]) -> bool:
    """Return whether a file holds one JSON object over several lines."""
    if ".json" not in path.suffixes:
        return False
    line = handle.readline(LONGEST_LINE)
    handle.seek(0)
    return line.strip() == b"{"


def parse_json(path: Path, handle: IO[bytes], expected: str) -> object:
    """Return what an open file of one JSON value holds. Raises InputError naming the line where it breaks."""
    try:
        value: object = json.loads(handle.read().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno} is not JSON ({error.msg}); expected {expected}. Was the file cut?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); expected {expected}") from None
    return value


def rows_in(path: Path, handle: IO[bytes], torn: Callable[[str], None] | None = None) -> Iterator[LogRow]:
    """Yield the JSON objects of an open JSONL file, as `json_rows` does."""
    number = 0
    while True:
        try:
            raw = handle.readline(LONGEST_LINE)
        except DAMAGE as error:
            raise InputError(
                f"{path}, after line {number}: {error}; the file is cut or damaged, copy it again"
            ) from None
        if not raw:
            return
        number += 1
        if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
            raise InputError(
                f"{path}, line {number} is longer than {LONGEST_LINE >> 20} MiB; expected one JSON object a line"
            )
        if not raw.strip():
            continue
        try:
            value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
        except RecursionError:
            raise InputError(
                f"{path}, line {number} nests its values too deeply for a log; give another file"
            ) from None
        except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
            if not raw.endswith(b"\n") and _begins_an_object(raw, first=number == 1):
                if torn is not None:
                    torn(f"{path}:{number}")
                    return
                raise InputError(
                    f"{path}, line {number} is cut in the middle (the file ends without a line end: {error}). "
                    "If its writer was stopped, leave the partial line out with --skip-partial-line"
                ) from None
            raise InputError(f"{path}, line {number} is not JSON ({error}); expected one JSON object a line") from None
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number} is {brief(value)}; expected a JSON object")
        yield LogRow(path, number, value)


def _begins_an_object(raw: bytes, first: bool) -> bool:
    """Whether a line that cannot be read might be the beginning of a JSON object: text, and a brace first.

    A cut may fall within a character, so up to three bytes at the end need not decode. Other bytes are a foreign file.
    """
    text = raw.removeprefix(b"\xef\xbb\xbf") if first else raw
    if not text.lstrip().startswith(b"{") or b"\x00" in text:
        return False
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(text) - 3 and error.reason == "unexpected end of data"
    return True


def log_rows(reading: Reading) -> Iterator[LogRow]:
    """Yield the rows of every file of a JSONL import, and count them."""
    for path in reading.files:
        before = reading.report.rows
        for row in json_rows(path, partial(reading.report.skip, TORN) if reading.skip_partial_line else None):
            reading.report.rows += 1
            yield row
        if reading.report.rows == before:
            raise InputError(f"{path} is empty: it holds no record; was its writer stopped?")


def log_verdict(row: LogRow, value: object, name: str, judge: str, reading: Reading) -> Verdict:
    """Return the verdict of one score in a log.

    None and NaN are unjudged. Without a threshold 0 and 1 alone are accepted; with one, a value from it up is correct.

    Args:
        row: where the score stands, for messages.
        value: the score.
        name: what the log calls the score.
        judge: who gave it, e.g. `verl/score`.
        reading: the import, with its threshold.

    Raises:
        InputError: any other value, naming it and other values of the field.
    """
    threshold = reading.threshold
    judge = reading.judge(judge)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Verdict(Outcome.UNJUDGED, judge, reason=f"{name} is {'null' if value is None else 'NaN'}")
    if not isinstance(value, bool | int | float):
        row.fail(f"{name} is {brief(value)}; expected a number, true, false, null or NaN")
    if threshold is None and value not in (0, 1):
        row.fail(
            f"{name} is {brief(value)}, neither 0 nor 1{_examples(row, name)}, so what counts as correct must be "
            "named: give --threshold T (a score of at least T is correct)"
        )
    if value >= (1 if threshold is None else threshold):
        return Verdict(Outcome.CORRECT, judge)
    return Verdict(Outcome.WRONG, judge, reason=f"{name} {brief(value)}")


def _examples(row: LogRow, name: str) -> str:
    """Return ` (other values: 0.25, 0.5)`: what else the field holds in the first 1,000 lines of a JSONL file."""
    others: set[float] = set()
    if row.unit == "line":
        try:
            for other in islice(json_rows(row.file), 1000):
                value = other.fields.get(name)
                if isinstance(value, int | float) and value == value and value != row.fields.get(name):
                    others.add(value)
        except InputError:  # a later line is torn: the examples so far do
            pass
    return f" (other values: {', '.join(map(brief, sorted(others)[:6]))})" if others else ""


def reward_of(value: object) -> float | None:
    """Return a finite reward, or None."""
    if isinstance(value, bool | int | float) and abs(value) <= 1e300 and math.isfinite(value):
        return float(value)
    return None
