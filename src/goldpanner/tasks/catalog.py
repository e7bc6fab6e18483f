"""The catalogue: the one place that knows what the name of a task stands for.

A name is a data file or folder of yours, or the id of a task: family, slash, member (`world/d3`, `countdown/4`).
A family says what its members are; `register` adds one.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Annotated

from pydantic import Field

from goldpanner.errors import InputError
from goldpanner.tasks import benchmarks, column_addition, generated, gym, programs, world
from goldpanner.tasks.column_addition import ColumnAddition, ColumnAdditionConfig
from goldpanner.tasks.domain import Domain
from goldpanner.tasks.files import SUFFIXES, find_columns, is_data, parts, read_columns, read_problems, survey
from goldpanner.tasks.splits import Split
from goldpanner.tasks.task import Family, Task
from goldpanner.tasks.world import World, WorldConfig
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.any_answer import AnyAnswer
from goldpanner.verify.base import Verifier
from goldpanner.verify.named import absolute, default_verifier, named_verifier
from goldpanner.verify.references import count_types

DomainConfig = Annotated[WorldConfig | ColumnAdditionConfig, Field(discriminator="kind")]
"""Config of any domain, told apart by its field `kind`."""

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        world.FAMILY,
        column_addition.FAMILY,
        *generated.FAMILIES,
        *benchmarks.FAMILIES,
        *programs.FAMILIES,
        gym.FAMILY,
    )
}
"""Every family by its name."""

GROUPS = {
    "lab": "made; every fact and every skill is known",
    "made": "made for any model; a fifth of the questions is the test split",
    "benchmarks": "read from a file that you have",
    "library": "made by another library",
    "your file": "the path of a JSON, CSV, Parquet or Arrow file, or of a data set's folder, is a task, too",
}
"""Groups of families with what their tasks have in common, in the order in which they are listed."""

MAX_TOKENS = 48
"""Token limit of a data file's completions unless another is given."""


def register(family: Family) -> None:
    """Make the tasks of a family known to `task`, `load` and every command of this process.

    Raises InputError where another family has the name.
    """
    if FAMILIES.setdefault(family.name, family) is not family:
        raise InputError(f"a family of tasks is called {family.name!r} already; choose another name")


def groups() -> dict[str, list[Family]]:
    """Return the families of every group, in the order in which they are listed."""
    listed: dict[str, list[Family]] = {name: [] for name in GROUPS}
    for family in FAMILIES.values():
        listed.setdefault(family.group, []).append(family)
    return listed


def catalog_lines(width: int = 96) -> list[str]:
    """Return lines that list every group with its families: what the problems are, what is needed, and the ids."""
    lines = []
    for group, families in groups().items():
        lines.append(f"{group}: {GROUPS[group]}" if group in GROUPS else group)
        for family in families:
            needs = f" (needs {family.needs})" if family.needs else ""
            lines.append(f"  {family.name}: {family.about}{needs}")
            lines += [f"      {line}" for line in wrap(" ".join(family.ids), width, break_on_hyphens=False)]
    return lines


def catalog_json() -> dict[str, list[dict[str, object]]]:
    """Return every group with its families as JSON values."""
    return {
        group: [{"family": f.name, "about": f.about, "needs": f.needs, "tasks": list(f.ids)} for f in families]
        for group, families in groups().items()
    }


def task_names() -> tuple[str, ...]:
    """Return the listed ids of every family, group by group; there are more (digits and numbers vary)."""
    return tuple(name for families in groups().values() for family in families for name in family.ids)


def build_domain(config: WorldConfig | ColumnAdditionConfig) -> Domain:
    """Return the domain that a config describes."""
    return World(config) if isinstance(config, WorldConfig) else ColumnAddition(config)


def find_task(name: str) -> Task | None:
    """Return the task of an id, None where there is none (a data file's task is not known by its id)."""
    family = FAMILIES.get(name.partition("/")[0])
    return None if family is None or "/" not in name else family.find(name)


def task(
    name: str,
    data: Path | str | None = None,
    columns: str | None = None,
    verifier: str | None = None,
    threshold: float | None = None,
    config: WorldConfig | ColumnAdditionConfig | None = None,
    examples: Path | str | None = None,
    set_aside: bool = False,
) -> Task:
    """Return the task of a name: an id such as `world/d3` or `gsm8k/test`, or the path of a data file or folder.

        >>> task("arithmetic/add-2d2d").problems(1)[0].answer
        '152'

    Args:
        name: an id, or a path. A relative path that is also an id is the id; write `./gsm8k/test` for the folder.
        data: file, or folder of a data set, of a task that reads one (`gsm8k/test`).
        columns: of a data file, `question=NAME,answer=NAME`, where they differ.
        verifier: the verifier to use instead of the task's own, by its name (`verify.named`).
        threshold: reward from which a completion is right, of a verifier that is a function.
        config: the facts of a task of the lab; None: those of its domain's default knobs.
        examples: file of worked examples for `demonstrations`, columns `prompt` and `response`.
        set_aside: leave out a file's problems whose right answer the verifier cannot judge, instead of an error.

    Raises:
        InputError: an unknown name (the near ones are named), an unknown verifier, or an argument that the task has no
            use for.
    """
    path = data_path(name)
    if config is not None and (path is not None or (find_task(name) and name.partition("/")[0] != config.kind)):
        raise InputError(f"{name} has none of the facts of domain {config.kind}; leave out --config and --set")
    chosen = _of_id(name, data, columns, config) if path is None else _of_file(path, columns, verifier, data)
    if verifier is None and threshold is not None:
        raise InputError(f"--threshold {threshold:g} is that of a reward function; name it with --verifier file.py:f")
    if verifier is not None:
        named = read_columns(columns)
        answer = named.get("answer", "answer") if path is None else find_columns(path, chosen.id, named)["answer"]
        several = isinstance(chosen.verifiers()[0], AnyAnswer)
        chosen = replace(chosen, verifiers=_verifiers(verifier, threshold, answer, several))
        chosen.verifiers()  # an unknown one is refused now
    chosen = replace(chosen, set_aside=set_aside)
    return chosen if examples is None else replace(chosen, examples=Path(examples))


def load(
    name: str,
    n: int,
    seed: int = 0,
    split: Split = "test",
    config: WorldConfig | ColumnAdditionConfig | None = None,
    path: Path | str | None = None,
) -> list[Problem]:
    """Return n problems of a task by its name, e.g. `load("world/d3", 64)`.

        >>> len(load("world/d1", 3))
        3

    Args:
        name: an id, or the path of a data file, as for `task`.
        n: problems; of a file at most so many, in their order there.
        seed: which problems are made.
        split: `test` or `train`; a data file is not split.
        config: the facts of a task of the lab, by default those of its domain's default knobs.
        path: file of a task that reads one.

    Raises:
        InputError: as `task` and `Task.problems` do.
    """
    return task(name, path, config=config).problems(n, seed, split)


def data_path(word: str) -> Path | None:
    """Return the path of the data file or folder that a word stands for, None for a task's id.

    Raises InputError for what can only be a path, and where nothing is.
    """
    path = Path(word)
    if path.is_file() or (find_task(word) is None and is_data(path)):
        return path
    bare = path.is_dir() and "/" not in word  # every task's id has a slash
    if bare or path.suffix in SUFFIXES or word.startswith((".", "/", "~")):
        parts(path)  # raises: it says what is wrong with it
    return None


def stored_names(words: Sequence[str]) -> list[str]:
    """Return the names by which a store knows tasks: of an id the id, of a data file or split the name of its task."""
    return [
        _file_task(Path(word)) if Path(word).is_file() or ("/" in word and data_path(word)) else word for word in words
    ]


def _file_task(path: Path) -> str:
    """Return the name of a data file's task: `mine` for `mine.jsonl`, `my-set-test` for a split of a folder."""
    stem = Path(path.stem).stem if path.suffix in (".gz", ".zst") else path.stem
    return stem if path.exists() else f"{path.parent.name}-{path.name}"


def _of_id(
    name: str, data: Path | str | None, columns: str | None, config: WorldConfig | ColumnAdditionConfig | None
) -> Task:
    chosen = find_task(name) if config is None else build_domain(config).tasks.get(name)
    if chosen is None:
        raise InputError(_unknown(name, None if config is None else tuple(build_domain(config).tasks)))
    if columns is not None:
        raise InputError(f"--columns names those of a data file, and {name} is a task; leave it out")
    if data is None:
        return chosen
    if chosen.read is None:
        raise InputError(f"{name}: its problems are made, not read; leave out the path {str(data)!r}")
    return replace(chosen, data=Path(data))


def _unknown(name: str, ids: Sequence[str] | None) -> str:
    """Return what is said of an unknown task: the ids near to it, or one of each family."""
    names = task_names() if ids is None else ids
    families = {each.partition("/")[0]: each for each in reversed(names)}  # with the first of each
    near = difflib.get_close_matches(name, names, n=4, cutoff=0.4) or [*reversed(families.values())]
    nor = "" if name.partition("/")[0] in families else ", and no data lies there"
    return f"no task is called {name!r}{nor}; did you mean {', '.join(near)}?"


def _of_file(path: Path, columns: str | None, verifier: str | None, data: Path | str | None) -> Task:
    """Return the task of a data file: its questions as they stand, and its default verifier unless one is named."""
    if data is not None:
        raise InputError(f"--data {data}: {path} is a data file itself; leave one of them out")
    name = _file_task(path)
    given = read_columns(columns)
    names = find_columns(path, name, given)
    seen = survey(path, name, **names)
    notes = list(seen.notes)
    if verifier is None:
        verifier, why = default_verifier(seen.answers)
        judged = f"judged by {verifier} ({why}); --verifier math, or file.py:function, judges otherwise"
        notes = [judged, f"right answers: {count_types(seen.answers)}", *notes]
    if names != {"question": "question", "answer": "answer"} and len(given) < len(names):
        notes.append(f"columns taken: {', '.join(f'{role} = {column}' for role, column in names.items())}")

    def read(path: Path, n: int | None) -> list[Problem]:
        try:
            return read_problems(path, task=name, n=n, **names)
        except InputError as error:
            if "no column is called" not in str(error):
                raise
            raise InputError(f"{error}; say which with --columns question=NAME,answer=NAME") from None

    params = SamplingParams(max_tokens=MAX_TOKENS)
    judges = _verifiers(verifier, None, names["answer"], seen.several)
    return Task(name, params, judges, read=read, data=path, note="\n".join(notes))


def _verifiers(name: str, threshold: float | None, answer: str, several: bool) -> "partial[tuple[Verifier]]":
    return partial(_one, absolute(name), threshold, answer, several)


def _one(name: str, threshold: float | None, answer: str, several: bool) -> tuple[Verifier]:
    verifier = named_verifier(name, threshold, answer)
    return (AnyAnswer(verifier) if several else verifier,)
