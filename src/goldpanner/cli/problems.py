"""Which problems a word on the command line stands for: a task's, or those of a data file."""

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
    path = tasks.data_path(task)
    if path is not None:
        if data is not None:
            raise InputError(f"--data {data}: {task} is a data file itself; leave one of them out")
        return tasks.own_task(path, columns).problems(n, path=path)
    if columns is not None:
        raise InputError(f"--columns names those of a data file, and {task} is a task; leave it out")
    if config is None and not overrides:
        return tasks.load(task, n, seed, path=data)
    from goldpanner.cli.run import load_config

    return tasks.load(task, n, seed, config=load_config(config, None, overrides).domain)
