"""Policies: anything that can be sampled. The protocol is here; scripted.py needs no torch, local.py does."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from goldpanner.errors import InputError
from goldpanner.types import Completion, IntArray, Problem, SamplingParams


@dataclass(frozen=True)
class Request:
    """Which samples of one problem to draw."""

    problem: Problem
    indices: range | tuple[int, ...]
    """Numbers of the samples, each >= 0: sample i of (problem, seed) is the same one whenever it is drawn."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.indices, default=0) < 0:
            raise InputError(f"request: indices {self.indices!r} include a negative number; give numbers >= 0")

    @property
    def index_array(self) -> IntArray:
        """The indices as an array, shape (n,)."""
        return np.asarray(self.indices, dtype=np.int64)


@runtime_checkable
class Policy(Protocol):
    """What `rollout` and the measurements need of a policy."""

    @property
    def id(self) -> str:
        """Hash of what decides the policy's distribution (for a local model: weights and tokenizer)."""
        ...

    def describe(self) -> dict[str, object]:
        """Return a JSON record that tells a reader what the policy is."""
        ...

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[list[Completion]]:
        """Yield one list of completions per request, in order, as they finish; completion j is `indices[j]`."""
        ...


def on_hub(name: Path | str) -> bool:
    """Return whether a name is a model's on the Hugging Face hub: `OWNER/NAME`, and nothing here is called OWNER."""
    owner, _, model = str(name).partition("/")
    return all(re.fullmatch(r"\w[\w.-]*", part) for part in (owner, model)) and not Path(owner).exists()
