"""What the columns of a table are taken for: named by the user, or found by their usual names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from goldpanner.errors import InputError

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": (
        *("id", "problem_id", "question_id", "task_id", "example_id", "doc_id", "unique_id", "sample_id", "item_id"),
        *("prompt_id", "idx", "index", "problem_idx", "question_idx"),
    ),
    "n": ("n", "num_samples", "n_samples", "total", "num_total", "trials", "attempts"),
    "c": ("c", "num_correct", "n_correct", "correct_count", "successes", "num_passed"),
    "correct": (
        *("correct", "is_correct", "corrects", "is_corrects", "passed", "is_passed", "success", "resolved", "verdict"),
        *("reward", "rewards", "score", "scores", "exact_match", "acc"),
    ),
    "rate": ("rate", "pass_rate", "solve_rate", "success_rate", "pass@1", "accuracy", "avg_reward", "mean_reward"),
    "text": ("text", "completion", "completions", "response", "responses", "generation", "output", "model_output"),
    "finish": ("finish", "finish_reason", "stop_reason", "truncated", "is_truncated"),
    "policy": ("policy", "model", "model_name", "model_id", "checkpoint"),
    "prompt": ("prompt", "question", "problem", "input", "query", "instruction"),
    "answer": ("ground_truth", "gold", "target", "reference", "expected_answer", "reference_answer", "gt", "answer"),
    "step": ("step", "global_step", "training_step"),
}
"""What a column may be taken for -> the names that such columns usually have."""
FURTHER_COUNTS = ("unjudged", "unanswered", "truncated", "finish_unknown")
"""Columns beside n and c of a table of counts, by these names alone."""
_DECIDE = ("id", "correct", "n", "c", "rate", "policy", "step")
"""Of these, a second candidate is an error; of the others it is a note."""
_NUMBER = re.compile(r"(.*?)(\d+)")

Shape = Literal["samples", "counts", "rates", "matrix"]


@dataclass(frozen=True)
class Layout:
    """What each column of a table is taken for."""

    shape: Shape
    """`samples`: a verdict, or a list of them, a row. `matrix`: a problem a row, and a sample a column."""
    columns: Mapping[str, str]
    """Role -> column, for all roles but a matrix's samples."""
    samples: tuple[str, ...] = ()
    """The columns of a matrix's samples."""
    n: int | None = None
    """Samples a problem, where no column says it."""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        return list(dict.fromkeys([*self.columns.values(), *self.samples]))

    @property
    def summary(self) -> dict[str, str]:
        """Role -> column, for people."""
        more = {"correct": f"{self.samples[0]} ... {self.samples[-1]}"} if self.samples else {}
        return {**self.columns, **more, **({} if self.n is None else {"n": str(self.n)})}


def parse_map(text: str | Mapping[str, str]) -> dict[str, str]:
    """Return role -> column of `id=problem,correct=passed`. Raises InputError for anything else.

    >>> parse_map("id=problem,correct=passed")
    {'id': 'problem', 'correct': 'passed'}
    """
    pairs = dict(part.partition("=")[::2] for part in text.split(",")) if isinstance(text, str) else dict(text)
    roles = {role.strip(): column.strip() for role, column in pairs.items()}
    wrong = next((role for role, column in roles.items() if role not in USUAL_NAMES or not column), None)
    if wrong is not None:
        raise InputError(
            f"--map: {wrong!r} {'has no column' if wrong in USUAL_NAMES else 'is nothing that a column can be'}; "
            f"write --map id=COLUMN,correct=COLUMN with some of {', '.join(USUAL_NAMES)}"
        )
    return roles


def find_layout(path: Path, names: Iterable[str], mapping: Mapping[str, str]) -> Layout:
    """Return what the columns `names` of a table are taken for; those of `mapping` are as the user says.

    Raises:
        InputError: a column of the mapping is not there, two columns may be the same thing, or something is missing.
    """
    names = [str(name) for name in names]
    columns, n = _named(path, names, mapping)
    if "*" in columns.get("correct", ""):
        return _matrix_of(path, names, columns)
    notes: list[str] = []
    for role in USUAL_NAMES:
        if role in columns or (role == "n" and n is not None) or _is_settled(role, columns):
            continue
        fits = [name for name in names if _plain(name) in USUAL_NAMES[role] and name not in columns.values()]
        if len(fits) == 1:
            columns[role] = fits[0]
        elif fits and role not in _DECIDE:
            notes.append(f"the columns {' and '.join(fits)} may both be the {role}, and neither was taken; use --map")
        elif fits:
            raise InputError(
                f"{path}: the columns {' and '.join(map(repr, fits))} may both be the {role}; name the one that is "
                f"meant, e.g. --map {role}={fits[0]}"
            )
    shape = _shape(path, columns, n, mapping)
    if shape is None:
        matrix = _matrix(names, columns)
        if matrix is None:
            raise InputError(missing_columns(path, names, columns))
        return matrix
    unused = {"samples": ("n", "c", "rate"), "counts": ("correct", "rate", "text", "finish"), "rates": ("c", "correct")}
    columns = {role: name for role, name in columns.items() if role not in unused[shape] or role in mapping}
    if shape == "counts":
        columns |= {name: name for name in FURTHER_COUNTS if name in names and name not in columns.values()}
    return Layout(shape, columns, n=n, notes=tuple(notes))


def missing_columns(path: Path, names: Iterable[str], columns: Mapping[str, str]) -> str:
    """Return what a table lacks, as a message."""
    taken = ", ".join(f"{role} = {name}" for role, name in columns.items())
    return (
        f"{path}: its columns are {', '.join(names) or 'none'}{f' (taken: {taken})' if taken else ''}; needed are the "
        "problem (id or prompt) and its verdicts (correct), or its counts (n and c), or its rate and n. Name them: "
        "--map id=COLUMN,correct=COLUMN"
    )


def _named(path: Path, names: list[str], mapping: Mapping[str, str]) -> tuple[dict[str, str], int | None]:
    """Return the columns that the user named, and n where that is a number."""
    columns, n = dict(mapping), None
    if columns.get("n", "").isdecimal() and columns["n"] not in names:
        n = int(columns.pop("n"))
        if not 1 <= n <= 10**15:
            raise InputError(f"--map n={n}: give the number of samples a problem, at least 1")
    for role, column in columns.items():
        top = column.split(".", 1)[0]
        if column not in names and top not in names and not (role == "correct" and "*" in column):
            raise InputError(f"{path} has no column {column!r} to be the {role}; it has {', '.join(names)}")
    return columns, n


def _is_settled(role: str, columns: Mapping[str, str]) -> bool:
    """Whether what is known makes a column of this role useless: counts need no verdict, verdicts no counts."""
    return (role in ("rate", "correct") and "c" in columns) or (role == "rate" and "correct" in columns)


def _shape(path: Path, columns: Mapping[str, str], n: int | None, mapping: Mapping[str, str]) -> Shape | None:
    if "id" not in columns and "prompt" not in columns:
        return None
    numbered = "n" in columns or n is not None
    if "c" in columns and numbered:
        return "counts"
    if "rate" in columns and numbered and "correct" not in mapping:
        return "rates"
    if "correct" in columns:
        if "n" in columns and "correct" not in mapping:
            raise InputError(
                f"{path}: the column {columns['correct']!r} may be a verdict a row, or the number correct of "
                f"{columns['n']!r}; say which: --map correct={columns['correct']}, or "
                f"--map n={columns['n']},c={columns['correct']}"
            )
        return "samples"
    return None


def _matrix(names: list[str], columns: Mapping[str, str]) -> Layout | None:
    """Return the layout of a 0/1 matrix: but for an id, the columns are numbered, with one word before the number."""
    others = [name for name in names if name != columns.get("id")]
    parts = [_NUMBER.fullmatch(name) for name in others]
    if len(others) < 2 or None in parts or len({part[1] for part in parts if part is not None}) != 1:
        return None
    return Layout("matrix", {"id": columns["id"]} if "id" in columns else {}, tuple(others))


def _matrix_of(path: Path, names: list[str], columns: Mapping[str, str]) -> Layout:
    samples = tuple(name for name in names if fnmatchcase(name, columns["correct"]))
    if not samples:
        raise InputError(f"{path}: no column fits {columns['correct']!r}; it has {', '.join(names)}")
    return Layout("matrix", {role: name for role, name in columns.items() if role != "correct"}, samples)


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
