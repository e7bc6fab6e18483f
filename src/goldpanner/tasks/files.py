"""Problems from a data file (JSON, CSV, Parquet, Arrow) or a folder of Hugging Face's, by the columns of its rows.

The rows are the field's: plain ones, verl's and TRL's (messages, `reward_model.ground_truth`). A folder is what
`save_to_disk` of the library `datasets` wrote, or a data set as it lies on the hub: shards such as
`data/train-00000-of-00002.parquet`. Only pyarrow is needed.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop.columns import cells, table_chunks
from goldpanner.interop.format import read_head
from goldpanner.interop.lines import json_rows, message_text
from goldpanner.types import Problem, content_hash

GSM8K_ANSWER = r"####\s*(\S.*?)\s*$"
"""Where GSM8K keeps the final answer: after `####`, in the last line (Cobbe et al. 2021, arXiv:2110.14168)."""

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow")
USUAL: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "Problem", "Question", "instruction", "messages"),
    "answer": (
        *("answer", "final_answer", "expected_answer", "ground_truth", "gold", "target", "label", "Answer"),
        *("reward_model.ground_truth", "reward_spec.ground_truth", "solution"),
    ),
}
"""What a column may be -> the names that such columns usually have; the first is taken where it is there."""
_NAMES = (
    "custom_id",
    "id",
    "problem_id",
    "question_id",
    "task_id",
    "extra_info.id",
    "extra_info.index",
    "index",
    "idx",
)
"""What a column that names problems is usually called."""
MISSING = frozenset({"nan", "NaN", "NAN", "NaT", "null", "NULL", "None", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA"})
"""Texts that tools write for a value that is missing."""
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
    """Return the problems of a file or a folder (see above), in their order there; equal rows are one problem.

    A question may be messages: one of the user, perhaps after one of the system. An answer may be a list of right
    answers: then all of them stand in `meta["answers"]`.

    Args:
        path: file, or folder: of several splits the one is read that the path (`FOLDER/test`) or the task's last part
            names.
        task: id of the task that the problems belong to.
        question: column of the questions; a dotted name is a field within one.
        answer: column of the right answers, e.g. `reward_model.ground_truth`.
        answer_pattern: regular expression; the first group of its last match is the answer, and the whole text goes
            into `meta["worked"]`.
        keep: columns to copy into `meta`.
        n: largest number of problems; None: all.

    Raises:
        InputError: something is missing, empty, not text (a number is written out) or not matched, with file, row and
            column.
    """
    path = Path(path)
    problems: dict[str, Problem] = {}
    for place, record in rows(path, task, (question, answer, *keep)):
        if n is not None and len(problems) >= n:
            break
        text, (worked, *others) = question_text(record, question, place), right_answers(record, answer, place)
        meta = {name: _value(record, name, place) for name in keep}
        if others:
            meta["answers"] = [worked, *others]
        final = worked
        if answer_pattern is not None:
            matches = list(re.finditer(answer_pattern, worked, re.MULTILINE))
            if not matches:
                raise InputError(
                    f"{place}: the answer {worked[-80:]!r} does not match {answer_pattern!r}; fix one of them"
                )
            final, meta["worked"] = matches[-1][1], worked
        problem = Problem(task, text, final, meta)
        problems.setdefault(problem.id, problem)
    if not problems:
        raise InputError(f"{path}: there is no problem in this file; give another")
    return list(problems.values())


def rows(path: Path, task: str = "", names: Sequence[str] | None = None) -> Iterator[tuple[str, Row]]:
    """Yield each row of a file or a folder with its place, in words for an error's beginning.

    `names` are the columns that are needed; by default all are. Raises InputError where nothing can be read.
    """
    for part in parts(path, task):
        yield from ((f"{part}, row {row}", record) for row, record in _rows(part, names))


@dataclass(frozen=True)
class Survey:
    """What the rows of a data file hold, before any of them becomes a problem."""

    answers: tuple[str, ...]
    """The first right answer of each row, "" where there is none: `read_problems` says what is wrong."""
    several: bool
    """Whether a row has several right answers."""
    notes: tuple[str, ...]
    """What a person should know: equal rows, questions with two answers."""


def survey(path: Path, task: str, question: str, answer: str) -> Survey:
    """Return what stands in the columns of a file. Raises InputError where nothing can be read."""
    answers: list[str] = []
    several, equal = False, 0
    seen: dict[str, set[str]] = {}
    for place, record in rows(path, task, (question, answer)):
        try:
            text, right = question_text(record, question, place), right_answers(record, answer, place)
        except InputError:
            answers.append("")
            continue
        answers.append(right[0])
        several = several or len(right) > 1
        both = seen.setdefault(content_hash(text), set())
        equal += content_hash(right) in both
        both.add(content_hash(right))
    clashes = sum(len(both) > 1 for both in seen.values())
    notes = [f"note: {equal} of {len(answers)} rows repeat another one; each problem is taken once"] if equal else []
    if clashes:
        notes.append(f"note: {clashes} questions stand with different answers in different rows: each is a problem")
    return Survey(tuple(answers), several, tuple(notes))


def named_problems(path: Path) -> dict[str, Problem]:
    """Return the problems of a data file by the names that its rows give them: `custom_id`, `id`, `extra_info.id`, ...

    Raises InputError where no column names them, or a name stands twice.
    """
    columns = find_columns(path, "", {})
    problems: dict[str, Problem] = {}
    for place, record in rows(path):
        names = (value for name in _NAMES if (value := _lookup(record, name)) not in (_ABSENT, None))
        name = next(names, None)
        if not isinstance(name, str | int):
            raise InputError(f"{place}: no column names the problem; expected one of {', '.join(_NAMES)}")
        if str(name) in problems:
            raise InputError(f"{place}: the problem {name!r} stands twice; give every problem one row")
        question = question_text(record, columns["question"], place)
        problems[str(name)] = Problem(path.stem, question, right_answers(record, columns["answer"], place)[0])
    return problems


def find_columns(path: Path, task: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of question and answer: those given, the usual ones, or those that usually are called so.

    Raises InputError where several columns may be meant; where none may, the usual name is returned.
    """
    first = next(rows(path, task), None)
    record = {} if first is None else first[1]
    columns = dict(given)
    for role, names in USUAL.items():
        if role in columns:
            continue
        fits = [name for name in names if _lookup(record, name) is not _ABSENT and name not in columns.values()]
        if len(fits) > 1 and fits[0] != role:
            raise InputError(
                f"{path}: the columns {' and '.join(map(repr, fits))} may both be the {role}; name one with "
                f"--columns {role}={fits[0]}"
            )
        columns[role] = fits[0] if fits else role
    return columns


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
        listed = _json(folder / "state.json").get("_data_files")
        files = [folder / str(row["filename"]) for row in listed] if isinstance(listed, list) else []
        return {folder.name: files} if files else {}
    if (folder / "dataset_dict.json").is_file():
        names = _json(folder / "dataset_dict.json").get("splits")
        listed = names if isinstance(names, list) else []
        return {name: files for name in listed for files in _splits(folder / name).values()}
    splits: dict[str, list[Path]] = {}
    for inner in (folder, folder / "data") if folder.is_dir() else ():
        for file in sorted(inner.glob("*.parquet")):
            splits.setdefault(_SHARD.sub("", file.stem), []).append(file)
        if splits:
            break
    return splits


def _json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; save the data set anew") from None
    return content if isinstance(content, dict) else {}


def _rows(path: Path, names: Sequence[str] | None) -> Iterator[tuple[int, Row]]:
    """Yield (row number from 1, record) of a file; of a table at least its columns `names`."""
    try:
        head = read_head(path)
    except InputError as error:
        if path.suffix not in (".parquet", ".arrow"):
            raise
        raise InputError(f"{path}: cannot be read as {path.suffix[1:].capitalize()} ({error}); save it anew") from None
    if head.is_json:
        yield from ((row.line, row.fields) for row in json_rows(path))
        return
    tops = {name if name in head.fields else name.split(".", 1)[0] for name in names or ()}
    everything = names is None or not tops <= set(head.fields)  # a row names what it has where it lacks one
    wanted = [name for name in head.fields if everything or name in tops]
    for chunk in table_chunks(path, wanted):
        columns = {name: _labelled(cells(chunk.columns[name]), head.labels.get(name)) for name in wanted}
        for index, place in enumerate(chunk.places):
            yield place, {name: column[index] for name, column in columns.items()}


def _labelled(values: list[object], names: tuple[str, ...] | None) -> list[object]:
    """Return the classes' names for their numbers; a number without a name (-1) is a missing value."""
    if names is None:
        return values
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else None for v in values]


_ABSENT = object()


def _lookup(record: Row, column: str) -> object:
    """Return what stands in a column, or in a field within one; `_ABSENT` where there is none."""
    if column in record:
        return record[column]
    value: object = record
    for part in column.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _value(record: Row, column: str, place: str) -> object:
    value = _lookup(record, column)
    if value is _ABSENT:
        raise InputError(f"{place}: no column is called {column!r}; there are {', '.join(record) or 'none'}")
    return value


def question_text(record: Row, column: str, place: str) -> str:
    """Return the text of a question: a text, or messages, one of the user and perhaps one of the system before it.

    Raises InputError naming place and column for anything else.
    """
    value = _value(record, column, place)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return _text(value, column, place)
    roles = [message.get("role") for message in value]
    if roles not in (["user"], ["system", "user"]):
        raise InputError(
            f"{place}: column {column!r} holds messages of {', '.join(map(str, roles)) or 'nobody'}; expected one of "
            "the user, perhaps after one of the system"
        )
    return "\n\n".join(_text(message_text(message), column, place) for message in value)


def right_answers(record: Row, column: str, place: str) -> list[str]:
    """Return the right answers of a row, at least one: a text or number, a list of them, or one message.

    Raises InputError naming place and column for a value that is missing, in whatever spelling, or anything else.
    """
    value = _value(record, column, place)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = message_text(value[-1])
    items = value if isinstance(value, list) and value else [value]
    return list(dict.fromkeys(_text(item, column, place) for item in items))


def _text(value: object, column: str, place: str) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)  # NaN is how some tools write a missing value
    if isinstance(value, str) and value.strip() in MISSING:
        raise InputError(f"{place}: column {column!r} holds {value!r}, a missing value; fill it in, or drop the row")
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: column {column!r} holds {value!r}; it must hold text")
    return value
