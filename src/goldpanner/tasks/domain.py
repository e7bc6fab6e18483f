"""Domain: what a world of the lab offers, its tasks and a corpus to pretrain on."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from goldpanner.tasks.splits import Split
from goldpanner.tasks.task import Document, Task
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.base import Verifier

PARAMS = SamplingParams(max_tokens=48)
"""How a task of the lab is put: the question as it stands."""


@runtime_checkable
class Domain(Protocol):
    """Tasks that share facts and a corpus: a function of its config and of the generators passed in."""

    @property
    def name(self) -> str:
        """What its task ids begin with, e.g. `world`."""
        ...

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Every task it offers, by its id, e.g. `world/d1`."""
        ...

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token that can occur in a prompt or a response, in a fixed order, special tokens excluded."""
        ...

    def documents(self, n: int, rng: np.random.Generator) -> list[Document]:
        """Return n pretraining documents; none asks a question of the test split."""
        ...

    def demonstrations(self, tasks: Sequence[str], n: int, rng: np.random.Generator) -> list[Document]:
        """Return n worked examples for SFT, spread over `tasks` as evenly as n allows, all of the train split."""
        ...

    def problems(self, task: str, n: int, rng: np.random.Generator, split: Split = "test") -> list[Problem]:
        """Return n distinct problems; the first m of them do not depend on n. Raises InputError if there are not n."""
        ...

    def worked_answer(self, problem: Problem) -> str:
        """Return the canonical chain, worked out anew from the prompt."""
        ...

    def verifiers(self) -> tuple[Verifier, ...]:
        """Return the reward (answer) first, then what else can be asked of a completion (process)."""
        ...

    def controls(self) -> tuple[Verifier, ...]:
        """Return verifiers for control experiments (format), which judge only where one is named as the reward."""
        ...


def tasks_of(domain: Domain, ids: Iterable[str]) -> dict[str, Task]:
    """Return the tasks of a domain by their ids."""
    return {
        name: Task(
            name,
            PARAMS,
            domain.verifiers,
            make=partial(domain.problems, name),
            controls=domain.controls,
            worked=domain.worked_answer,
            demonstrate=partial(domain.demonstrations, [name]),
        )
        for name in ids
    }
