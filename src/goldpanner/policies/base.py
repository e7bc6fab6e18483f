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
    """Return whether a name is a model's on the Hugging Face hub: `OWNER/NAME`, and nothing here is called OWNER.

    >>> on_hub("Qwen/Qwen3-0.6B")
    True
    """
    owner, _, model = str(name).partition("/")
    return all(re.fullmatch(r"\w[\w.-]*", part) for part in (owner, model)) and not Path(owner).exists()


@dataclass(frozen=True)
class Probe:
    """What a server was seen to do, stored with the run."""

    n_honoured: bool
    """Whether n > 1 gives n samples that are not copies; otherwise they are asked for one by one."""
    draws_distinct: bool
    """Whether draws at T = 1 differ from one another."""
    greedy_equal: bool
    """Whether draws at T = 0 are equal."""
    logprobs: bool
    """Whether log-probabilities come."""
    token_ids: bool
    """Whether token ids come."""
    seeds: str
    """`not sent`, `honoured` (equal for equal seeds), `ignored`, or `failed`."""
    finish: tuple[str, ...]
    """Finish reasons that came."""
    fingerprint: str
    """Of the system that answered; empty where it names none."""
    made: str
    """When, UTC."""
    requests: int = 0
    """Requests of the probe."""
    refused: tuple[str, ...] = ()
    """Optional fields that the server would not take, so that they are not sent."""
    faults: tuple[str, ...] = ()
    """What makes samples other than asked for and cannot be worked around."""
    notes: tuple[str, ...] = ()
    """What was worked around, or cannot be known."""
    answered_as: str = ""
    """Name of the model in the answers; empty where they name none."""
    text_logprobs: tuple[float, ...] = ()
    """Log P (nats) of the tokens of a fixed text (`identity.TEXT`); empty where the server does not score."""

    def lines(self) -> list[str]:
        """Return what a person should read."""
        abilities = {
            "n > 1": self.n_honoured,
            "T = 1 draws differ": self.draws_distinct,
            "T = 0 draws equal": self.greedy_equal,
        }
        abilities |= {"log-probabilities": self.logprobs, "token ids": self.token_ids}
        summary = ", ".join(f"{name} {'yes' if ok else 'NO'}" for name, ok in abilities.items())
        out = [f"probe, {self.requests} requests: {summary}, seeds {self.seeds}"]
        return out + [f"  fault: {fault}" for fault in self.faults] + [f"  note: {note}" for note in self.notes]
