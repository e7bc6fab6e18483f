"""What a family of tasks offers: problems with checkable answers, and a corpus to pretrain on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from goldpanner.errors import InputError
from goldpanner.rng import seed_for
from goldpanner.types import Problem
from goldpanner.verify import Verifier

Split = Literal["train", "test"]
MOST = 1_000_000
"""Problems made at once at most: a minute or two, and all of them in memory."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of training text: space-separated tokens, without the end-of-sequence token that the trainer appends."""

    prompt: str
    response: str

    @property
    def text(self) -> str:
        """Prompt and response."""
        return f"{self.prompt} {self.response}"


@runtime_checkable
class Domain(Protocol):
    """A family of tasks that brings its own corpus: a function of its config and of the generators passed in."""

    @property
    def name(self) -> str:
        """What its task ids begin with, e.g. `world`."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task id it offers, e.g. `world/d1`."""
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


def in_test(query: str, share: float) -> bool:
    """Return whether a query belongs to the test split: a hash of its text alone decides, so the splits never meet."""
    return seed_for("split", query) < share * 2**63


def distinct_queries(
    draw: Callable[[int], list[str]], n: int, split: Split, share: float, label: str, batch: int = 4096
) -> list[str]:
    """Return n distinct queries of a split, drawing `batch` at a time, so that a longer list begins with a shorter one.

    Raises InputError if n < 1 or above `MOST`, if the split is unknown, or if three batches in a row bring nothing new.
    """
    if not 1 <= n <= MOST:
        raise InputError(f"{label}: {n:,} problems were asked for; ask for 1 to {MOST:,}")
    if split not in ("train", "test"):
        raise InputError(f"{label}: no split is called {split!r}; give 'train' or 'test'")
    found: dict[str, None] = {}
    idle = 0
    while len(found) < n:
        before = len(found)
        found.update((query, None) for query in draw(batch) if in_test(query, share) == (split == "test"))
        idle = idle + 1 if len(found) == before else 0
        if idle == 3:
            raise InputError(f"{label}: {n} {split} problems were asked for, {len(found)} were found; ask for fewer")
    return list(found)[:n]


def shares_of(n: int, parts: int) -> list[int]:
    """Return n split over `parts` as evenly as possible, the first ones larger: 64 over 3 is 22, 21, 21."""
    return [n // parts + (i < n % parts) for i in range(parts)]
