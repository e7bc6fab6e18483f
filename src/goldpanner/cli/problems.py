"""Which problems a word on the command line stands for: a task's, or those of a data file."""

from collections.abc import Mapping
from pathlib import Path

from goldpanner import tasks
from goldpanner.errors import InputError
from goldpanner.types import Problem


def load_problems(
    task: str,
    n: int,
    seed: int,
    config: Path | None,
    overrides: list[str],
    data: Path | None = None,
    columns: str | None = None,
) -> list[Problem]:
    """Return n problems of a task (`data` is the file of one that reads a file), or the first n of a data file.

    `columns` names those of a data file, `question=prompt,answer=final`; else they are `question` and `answer`.
    """
    path = Path(task)
    if path.is_file() or (tasks.find_recipe(task) is None and tasks.is_data(path)):
        name = path.stem if path.exists() else f"{path.parent.name}-{path.name}"
        return _read_problems(path, name, n, named_columns(columns))
    if columns is not None:
        raise InputError(f"--columns names those of a data file, and {task} is a task; leave it out")
    if config is None and not overrides:
        return tasks.load(task, n, seed, path=data)
    from goldpanner.cli.lab import load_config

    return tasks.load(task, n, seed, config=load_config(config, None, overrides).domain)


def named_columns(text: str | None) -> dict[str, str]:
    """Return the columns that `question=prompt,answer=final` names. Raises InputError for anything else."""
    named = {}
    for part in (text or "").split(",") if text is not None else ():
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if role not in ("question", "answer") or not equals or not column or role in named:
            raise InputError(f"--columns is {text!r}; write question=NAME,answer=NAME")
        named[role] = column
    return named


def _read_problems(path: Path, name: str, n: int, columns: Mapping[str, str]) -> list[Problem]:
    try:
        return tasks.read_problems(path, task=name, n=n, **columns)
    except InputError as error:
        if "no column is called" not in str(error):
            raise
        raise InputError(f"{error}; say which with --columns question=NAME,answer=NAME") from None
