"""Problems from a data file: JSON lines or Parquet, its columns named by the caller."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.errors import InputError
from goldpanner.types import Problem

GSM8K_ANSWER = r"####\s*(\S.*?)\s*$"
"""Where GSM8K keeps the final answer: after `####`, in the last line (Cobbe et al. 2021, arXiv:2110.14168)."""


def read_problems(
    path: Path | str,
    *,
    task: str,
    question: str = "question",
    answer: str = "answer",
    answer_pattern: str | None = None,
    keep: Sequence[str] = (),
    n: int | None = None,
) -> list[Problem]:
    """Return the problems of a `.jsonl` or `.parquet` file, at most n, in the order of the file.

    `question` and `answer` name columns; `answer_pattern` takes the first group of its last match as the answer, and
    puts the whole text into `meta["worked"]`; `keep` names columns to copy into `meta`.

    Raises InputError naming file, row and column if anything is missing, empty, not text (a number is written out), not
    matched, or if a problem stands twice.
    """
    path = Path(path)
    problems: dict[str, Problem] = {}
    for row, record in _rows(path):
        if n is not None and len(problems) >= n:
            break
        place = f"{path}, row {row}"
        text, worked = _text(record, question, place), _text(record, answer, place)
        meta = {name: _value(record, name, place) for name in keep}
        final = worked
        if answer_pattern is not None:
            found = list(re.finditer(answer_pattern, worked, re.MULTILINE))
            if not found:
                raise InputError(
                    f"{place}: the answer {worked[-80:]!r} does not match {answer_pattern!r}; fix one of them"
                )
            final, meta["worked"] = found[-1][1], worked
        problem = Problem(task, text, final, meta)
        if problem.id in problems:
            raise InputError(f"{place}: this problem stands twice, as {text[:80]!r}; keep one of them")
        problems[problem.id] = problem
    if not problems:
        raise InputError(f"{path}: there is no problem in this file")
    return list(problems.values())


def gsm8k(path: Path | str, task: str = "gsm8k/test", n: int | None = None) -> list[Problem]:
    """Return problems of a file in GSM8K's layout: `question`, and `answer` ending with `#### 1,234`."""
    return read_problems(path, task=task, answer_pattern=GSM8K_ANSWER, n=n)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, record) of a file."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".parquet":
        try:
            batches = pq.ParquetFile(path).iter_batches()
            yield from enumerate((record for batch in batches for record in batch.to_pylist()), 1)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read as Parquet: {error}") from None
    elif path.suffix in (".jsonl", ".json"):
        with path.open(encoding="utf-8") as lines:
            for row, line in enumerate(lines, 1):
                if line.strip():
                    yield row, _record(line, f"{path}, row {row}")
    else:
        raise InputError(f"{path}: files end with .jsonl or .parquet; this one ends with {path.suffix!r}")


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"{place}: a row must be an object with named columns, not {type(record).__name__}")
    return record


def _value(record: dict[str, Any], column: str, place: str) -> Any:
    if column not in record:
        raise InputError(f"{place}: no column is called {column!r}; there are {', '.join(record) or 'none'}")
    return record[column]


def _text(record: dict[str, Any], column: str, place: str) -> str:
    value = _value(record, column, place)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: column {column!r} holds {value!r}; it must hold text")
    return value
