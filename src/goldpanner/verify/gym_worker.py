"""The process that runs reasoning-gym's scorers, as `math_worker` runs math-verify.

Some of them have sympy evaluate what a model wrote: they are killed when they take too long, but it is no sandbox.
"""

import json
import math
from copy import deepcopy
from functools import lru_cache
from importlib import import_module
from typing import Any

from goldpanner.verify.math_worker import Equal, work


def main() -> None:
    """Serve until standard input ends."""
    work(score_answer, lambda: import_module("reasoning_gym"))


def score_answer(gold: str, answer: str) -> Equal:
    """Return whether the score reaches the threshold, None where there is none, and why."""
    name, seed, size, index, question, right_answer, threshold = json.loads(gold)
    dataset, entry = _entry(name, seed, size, index)
    # verl's reward function is not told the question: then the answer alone is compared
    if (question and entry["question"] != question) or (right_answer and entry["answer"] != right_answer):
        return {"equal": None, "reason": "this version of reasoning-gym makes another question of that seed"}
    reward = dataset.score_answer(answer, deepcopy(entry))
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not math.isfinite(reward):
        return {"equal": None, "reason": f"reasoning-gym scored it {reward!r}"[:200]}
    right = bool(reward >= threshold)
    return {"equal": right, "reason": "" if right else f"scored {reward:.3g}; {threshold:g} or more is right"}


@lru_cache(maxsize=4096)
def _entry(name: str, seed: int, size: int, index: int) -> tuple[Any, dict[str, object]]:
    dataset = import_module("reasoning_gym").create_dataset(name, seed=seed, size=size)
    return dataset, dataset[index]
