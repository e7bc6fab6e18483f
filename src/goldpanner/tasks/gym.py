"""reasoning-gym's generators as tasks: `reasoning-gym/leg_counting` (Stojanovski et al., arXiv:2505.24760)."""

import difflib
import re
from importlib import import_module
from typing import Any

import numpy as np

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.tasks.generated import made_task
from goldpanner.tasks.task import Family, Task
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.gym import EXTRA, ReasoningGym

BATCH = 32
"""Problems of one seed of the library's, then the next seed: some generators take half a second for one."""


class Gym:
    """Problems of one generator with its default knobs. The library is needed as soon as one is drawn."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.name = task.partition("/")[2]
        self._made: dict[str, Problem] = {}

    def draw(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return `count` questions. Raises MissingExtraError, or InputError where the library has no such generator."""
        seed = int(rng.integers(2**31))
        dataset, questions = self._generator(seed, count), []
        for index in range(count):
            entry = dataset[index]
            answer = entry["answer"] if isinstance(entry["answer"], str) else ""  # where there is no one right answer
            meta = {"dataset": self.name, "seed": seed, "size": count, "index": index}
            self._made.setdefault(entry["question"], Problem(self.task, entry["question"], answer, meta))
            questions.append(entry["question"])
        return questions

    def make(self, question: str) -> Problem:
        """Return the problem of a question that was drawn."""
        return self._made[question]

    def _generator(self, seed: int, size: int) -> Any:
        try:
            library = import_module("reasoning_gym")
        except ImportError:
            raise MissingExtraError(*EXTRA) from None
        names = sorted(set(library.factory.DATASETS) - {"composite"})
        if self.name not in names:
            near = difflib.get_close_matches(self.name, names, n=4, cutoff=0.4) or names[:8]
            raise InputError(
                f"reasoning-gym has no {self.name!r}; did you mean {', '.join(f'reasoning-gym/{x}' for x in near)}?"
            )
        return library.create_dataset(self.name, seed=seed, size=size)


def _task(task: str) -> Task | None:
    """The answer is asked for in the tags that reasoning-gym's own prompts use, and judged by its own scorer."""
    if not re.fullmatch(r"reasoning-gym/\w+", task):
        return None
    template = "{prompt}\nThink step by step, then put the final answer between <answer> and </answer>.\n"
    params = SamplingParams(max_tokens=512, stop=("</answer>",), template=template)
    gym = Gym(task)
    return made_task(task, params, ReasoningGym, gym.draw, gym.make, BATCH)


FAMILY = Family(
    "reasoning-gym",
    "library",
    "any generator of the library reasoning-gym, by its name there",
    ("reasoning-gym/leg_counting",),
    _task,
    "the extra reasoning-gym",
)
