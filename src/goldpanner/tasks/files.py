"""Problems from a data file (JSON lines, Parquet, Arrow) or a folder of Hugging Face's; the caller names the columns.

A folder is what `save_to_disk` of the library `datasets` wrote, or a data set as it lies on the hub: shards such as
`data/train-00000-of-00002.parquet`. Only pyarrow is needed.
"""

import json
import math
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

SUFFIXES = (".jsonl", ".json", ".parquet", ".arrow")
Row = dict[str, object]
"""A row of a data file, by column."""

_SHARD = re.compile(r"-(\d+)-of-(\d+)$")


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
    """Return the problems of a file or a folder (see above), at most n, in their order there.

    Of a folder with several splits the one is read that the path (`FOLDER/test`) or the task's last part names.
    `question` and `answer` name columns; `answer_pattern` takes the first group of its last match as the answer, and
    puts the whole text into `meta["worked"]`; `keep` names columns to copy into `meta`.

    Raises InputError naming file, row and column if anything is missing, empty, not text (a number is written out), not
    matched, or if a problem stands twice.
    """
    path = Path(path)
    problems: dict[str, Problem] = {}
    for place, record in rows(path, task):
        if n is not None and len(problems) >= n:
            break
        text, worked = _text(record, question, place), _text(record, answer, place)
        meta = {name: _value(record, name, place) for name in keep}
        final = worked
        if answer_pattern is not None:
            matches = list(re.finditer(answer_pattern, worked, re.MULTILINE))
            if not matches:
                raise InputError(
                    f"{place}: the answer {worked[-80:]!r} does not match {answer_pattern!r}; fix one of them"
                )
            final, meta["worked"] = matches[-1][1], worked
        problem = Problem(task, text, final, meta)
        if problem.id in problems:
            raise InputError(f"{place}: this problem stands twice, as {text[:80]!r}; keep one of them")
        problems[problem.id] = problem
    if not problems:
        raise InputError(f"{path}: there is no problem in this file")
    return list(problems.values())


def rows(path: Path, task: str = "") -> Iterator[tuple[str, Row]]:
    """Yield each row of a file or a folder with its place, in words for an error's beginning.

    Raises InputError where nothing can be read.
    """
    for part in parts(path, task):
        yield from ((f"{part}, row {row}", record) for row, record in _rows(part))


def answers(path: Path, task: str, column: str = "answer") -> Iterator[str]:
    """Yield the answer of each row as it stands there, "" where there is none: `read_problems` says what is wrong."""
    for part in parts(path, task):
        for _, record in _rows(part):
            value = record.get(column)
            yield "" if value is None or value != value else str(value)


def read_columns(text: str | None) -> dict[str, str]:
    """Return the columns that `question=prompt,answer=final` names. Raises InputError for anything else."""
    names: dict[str, str] = {}
    for part in (text or "").split(",") if text is not None else ():
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if role not in ("question", "answer") or not equals or not column or role in names:
            raise InputError(f"--columns is {text!r}; write question=NAME,answer=NAME")
        names[role] = column
    return names


def is_data(path: Path) -> bool:
    """Return whether there is a data file, a folder of Hugging Face's, or a split of one (`FOLDER/test`)."""
    return path.is_file() or bool(_splits(path)) or path.name in _splits(path.parent)


def parts(path: Path, task: str = "") -> list[Path]:
    """Return the files that hold the rows of a path, in order.

    Raises InputError for none, for several splits, and where a shard is missing.
    """
    if path.is_file():
        return [path]
    splits = _splits(path)
    if not splits and path.name in (around := _splits(path.parent)):
        return _complete(around[path.name])
    if not splits:
        what = (
            "holds no .parquet files and nothing that save_to_disk wrote" if path.is_dir() else "there is no such file"
        )
        raise InputError(f"{path}: {what}; give a .jsonl, .parquet or .arrow file, or a folder of such shards")
    wanted = next(iter(splits)) if len(splits) == 1 else task.rpartition("/")[2]
    if wanted not in splits:
        raise InputError(
            f"{path}: it holds the splits {', '.join(splits)}; give the path of one, {path / next(iter(splits))}"
        )
    return _complete(splits[wanted])


def _complete(files: list[Path]) -> list[Path]:
    """Return the files of a split. Raises InputError naming a shard that their names count and that is not there."""
    named = {file.name for file in files}
    for file in files:
        shard = _SHARD.search(file.stem)
        if shard is None or sum(f"-of-{shard[2]}." in name for name in named) >= int(shard[2]):
            continue
        names = (
            f"{file.stem[: shard.start()]}-{i:0{len(shard[1])}}-of-{shard[2]}{file.suffix}"
            for i in range(int(shard[2]))
        )
        missing = next(name for name in names if name not in named)
        raise InputError(
            f"{file.parent}: {missing} is missing, a shard of this split; fetch it, or name the file of one shard"
        )
    return files


def _splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files of every split of a folder, {} where it is none of Hugging Face's."""
    if (folder / "state.json").is_file():  # one split that save_to_disk wrote; its state lists the files in order
        files = [folder / row["filename"] for row in _json(folder / "state.json").get("_data_files", [])]
        return {folder.name: files} if files else {}
    if (folder / "dataset_dict.json").is_file():
        names = _json(folder / "dataset_dict.json").get("splits", [])
        return {name: files for name in names for files in _splits(folder / name).values()}
    splits: dict[str, list[Path]] = {}
    for inner in (folder, folder / "data") if folder.is_dir() else ():
        for file in sorted(inner.glob("*.parquet")):
            splits.setdefault(_SHARD.sub("", file.stem), []).append(file)
        if splits:
            break
    return splits


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; save the data set anew") from None
    return content if isinstance(content, dict) else {}


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (row number from 1, record) of a file."""
    if path.suffix in (".parquet", ".arrow"):
        try:
            yield from enumerate((record for batch in _batches(path) for record in batch.to_pylist()), 1)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read as {path.suffix[1:].capitalize()}: {error}") from None
    elif path.suffix in (".jsonl", ".json"):
        with path.open(encoding="utf-8-sig") as lines:  # some editors begin a file with a mark of its encoding
            try:
                for row, line in enumerate(lines, 1):
                    if line.strip():
                        yield row, _record(line, f"{path}, row {row}")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: not UTF-8 text: {error}; save it as UTF-8") from None
    else:
        raise InputError(f"{path}: files end with .jsonl, .parquet or .arrow; this one ends with {path.suffix!r}")


def _batches(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        yield from pq.ParquetFile(path).iter_batches()
        return
    with pa.memory_map(str(path)) as source:  # `datasets` writes Arrow's stream format
        yield from pa.ipc.open_stream(source)


def _record(line: str, place: str) -> Row:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"{place}: a row must be an object with named columns, not {type(record).__name__}")
    return record


def _value(record: Row, column: str, place: str) -> object:
    if column not in record:
        raise InputError(f"{place}: no column is called {column!r}; there are {', '.join(record) or 'none'}")
    return record[column]


def _text(record: Row, column: str, place: str) -> str:
    value = _value(record, column, place)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)  # NaN is how some tools write a missing value
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: column {column!r} holds {value!r}; it must hold text")
    return value
