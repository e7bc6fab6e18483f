"""Tasks: families of problems with checkable answers. `world` and `arithmetic` bring a corpus of their own."""

import difflib
from pathlib import Path
from typing import Annotated

from pydantic import Field

from goldpanner.errors import InputError
from goldpanner.rng import stream
from goldpanner.tasks.arithmetic import Arithmetic, ArithmeticConfig
from goldpanner.tasks.domain import Document, Domain, Split
from goldpanner.tasks.files import gsm8k, is_data, read_problems
from goldpanner.tasks.generated import Recipe, find_recipe, recipe, recipe_ids
from goldpanner.tasks.own import data_path, own_task
from goldpanner.tasks.world import World, WorldConfig
from goldpanner.types import Problem

__all__ = [
    "Arithmetic",
    "ArithmeticConfig",
    "Document",
    "Domain",
    "DomainConfig",
    "Recipe",
    "Split",
    "World",
    "WorldConfig",
    "build",
    "data_path",
    "find_recipe",
    "gsm8k",
    "is_data",
    "load",
    "own_task",
    "read_problems",
    "recipe",
    "recipe_ids",
    "task_ids",
]

DomainConfig = Annotated[WorldConfig | ArithmeticConfig, Field(discriminator="kind")]
"""Config of any domain, told apart by its field `kind`."""

CONFIGS: tuple[type[WorldConfig] | type[ArithmeticConfig], ...] = (WorldConfig, ArithmeticConfig)


def build(config: WorldConfig | ArithmeticConfig) -> Domain:
    """Return the domain that a config describes."""
    return World(config) if isinstance(config, WorldConfig) else Arithmetic(config)


def task_ids() -> tuple[str, ...]:
    """Return the id of every task that the domains offer by default."""
    return tuple(task for config in CONFIGS for task in build(config()).tasks)


def load(
    task: str,
    n: int,
    seed: int = 0,
    split: Split = "test",
    config: WorldConfig | ArithmeticConfig | None = None,
    path: Path | str | None = None,
) -> list[Problem]:
    """Return n problems of a task by its readable id, e.g. `load("world/d3", 64)`.

    `seed` says which problems are drawn; the facts they are about come from `config` (by default the task's domain with
    its default knobs). A task that has a recipe instead (`arithmetic/add-2d2d`, `countdown/4`, `gsm8k/test`: see
    `recipes`) takes its problems from there, those of a data file from `path`. Raises InputError for an unknown id,
    naming those near to it.
    """
    domains = [build(config)] if config is not None else [build(kind()) for kind in CONFIGS]
    for domain in domains:
        if task in domain.tasks:
            return domain.problems(task, n, stream("problems", task, split, seed), split)
    found = find_recipe(task) if config is None else None
    if found is not None:
        return found.problems(n, seed, split, path)
    known = [name for domain in domains for name in domain.tasks]
    known += recipe_ids() if config is None else ()
    families = {name.partition("/")[0]: name for name in reversed(known)}  # with the first of each
    near = difflib.get_close_matches(task, known, n=4, cutoff=0.4) or [*reversed(families.values())]
    nor = "" if task.partition("/")[0] in families else ", and no data lies there"
    raise InputError(f"no task is called {task!r}{nor}; did you mean {', '.join(near)}?")
