"""A data file of one's own as a task: its prompts as they stand, its answers, and who judges them."""

from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.tasks.files import SUFFIXES, answers, is_data, parts, read_problems
from goldpanner.tasks.generated import Recipe, find_recipe
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify import Exact, Math, Number, Verifier, load_reward, reading
from goldpanner.verify.math import Missing

NAMED = (
    "number", "number:flexible", "number:wrong-if-missing", "math", "math:flexible", "math:wrong-if-missing", "exact"
)  # fmt: skip
MAX_TOKENS = 48
"""Token limit of a task that has no recipe."""


def named_verifier(name: str, threshold: float | None = None, columns: str | None = None) -> Verifier | None:
    """Return the verifier of a name, or of a function with TRL's signature (`file.py:function`); None for a task.

    The function is given the answer as `answer`, and under the name that `columns` says it has in the data file.
    """
    kind, _, option = name.partition(":")
    if name in NAMED:
        if kind == "exact":
            return Exact()
        missing: Missing = "wrong" if option == "wrong-if-missing" else "unjudged"
        return (Number if kind == "number" else Math)(missing, option == "flexible")
    if ":" not in name or Path(name).is_file():
        return None
    column = named_columns(columns).get("answer", "answer")
    return load_reward(name, threshold, columns={} if column == "answer" else {column: "answer"})


def judge_of(name: str, threshold: float | None = None, columns: str | None = None) -> Verifier:
    """Return the verifier of a name. Raises InputError for an unknown one, or a threshold that it does not have."""
    found = named_verifier(name, threshold, columns)
    if found is None:
        raise InputError(f"no verifier is called {name!r}; give {', '.join(NAMED)}, or file.py:function")
    if threshold is not None and name in NAMED:
        raise InputError(f"--threshold {threshold:g} is that of a reward function, and {name} is none; leave it out")
    return found


def usual_verifier(path: Path, columns: str | None = None) -> str:
    """Return who judges a data file unless somebody is named: `exact`, or, if every answer is a number, `number`.

    A finished text that declares no number is then wrong, as with `exact`: in training silence must not pay.
    """
    column = named_columns(columns).get("answer", "answer")
    numbers = all(
        reading.number(answer, bare_units=False) is not None for answer in answers(path, task_name(path), column)
    )
    return "number:wrong-if-missing" if numbers else "exact"


def data_path(word: str) -> Path | None:
    """Return the path of the data file or folder that a word stands for, None for a task's name.

    Raises InputError for what can only be a path, and where nothing is.
    """
    path = Path(word)
    if path.is_file() or (find_recipe(word) is None and is_data(path)):
        return path
    bare = path.is_dir() and "/" not in word  # every task's name has a slash
    if bare or path.suffix in SUFFIXES or word.startswith((".", "/", "~")):
        parts(path)  # raises: it says what is wrong with it
    return None


def task_name(path: Path) -> str:
    """Return what the task of a data file is called: `problems` for `problems.jsonl`, `my-set-test` for a split."""
    return path.stem if path.exists() else f"{path.parent.name}-{path.name}"


def own_task(
    path: Path, columns: str | None = None, verifier: str | None = None, threshold: float | None = None
) -> Recipe:
    """Return the recipe of a data file or a data set's folder.

    `columns` names its columns, `question=prompt,answer=final`; `verifier` who judges, by default `usual_verifier`.
    """
    named, task = named_columns(columns), task_name(path)
    judge = verifier or usual_verifier(path, columns)

    def read(path: Path, n: int | None) -> list[Problem]:
        try:
            return read_problems(path, task=task, n=n, **named)
        except InputError as error:
            if "no column is called" not in str(error):
                raise
            raise InputError(f"{error}; say which with --columns question=NAME,answer=NAME") from None

    return Recipe(task, SamplingParams(max_tokens=MAX_TOKENS), lambda: judge_of(judge, threshold, columns), read)


def named_columns(text: str | None) -> dict[str, str]:
    """Return the columns that `question=prompt,answer=final` names. Raises InputError for anything else."""
    named = {}
    for part in (text or "").split(",") if text is not None else ():
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if role not in ("question", "answer") or not equals or not column or role in named:
            raise InputError(f"--columns is {text!r}; write question=NAME,answer=NAME")
        named[role] = column
    return named
