"""Our verifiers as verl's reward function. verl imports this file by its path and calls `compute_score`:

reward.custom_reward_function.path=.../goldpanner/train/verl.py reward.custom_reward_function.name=compute_score

(Older versions of verl: `custom_reward_function.path`, without `reward.`.) `goldpanner export --for verl` writes the
command.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from goldpanner.errors import InputError
from goldpanner.sampling.rollout import judge
from goldpanner.tasks import CONFIGS, build, find_recipe, recipe_ids
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import Verifier


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> dict[str, Any]:
    """Return `score` (1.0 CORRECT, else 0.0) and, for verl's rollout dump, `outcome`, `goldpanner_id`, `extracted`.

    `data_source` is the task id; `extra_info` as `export --for verl` writes it: `id`, and the problem's `meta` as JSON.
    verl knows no missing reward: UNJUDGED is paid 0 like WRONG; `outcome` and `cause` say which (our reader of verl's
    dumps counts it as unjudged). verl does not say whether a response was cut, so a cut one is judged by its text.
    Raises InputError for a task that has no verifier: a reward of 0 for everything would look like a hard task.
    """
    extra = extra_info or {}
    problem = Problem(data_source, "", ground_truth, json.loads(extra.get("meta") or "{}"))
    verdict = judge(verifier_of(data_source), problem, Completion(solution_str, finish="unknown"))
    return {
        "score": float(verdict.correct),
        "acc": float(verdict.correct),
        "judged": float(verdict.outcome is not Outcome.UNJUDGED),
        "outcome": str(verdict.outcome),
        "cause": str(verdict.cause or ""),
        "extracted": verdict.extracted or "",
        "goldpanner_id": str(extra.get("id", "")),
    }


@cache
def verifier_of(task: str) -> Verifier:
    """Return the verifier that gives a task's reward, made once per process. Raises InputError for an unknown task."""
    found = find_recipe(task)
    if found is not None:
        return found.verifier()
    for domain in (build(config()) for config in CONFIGS):
        if task.split("/")[0] == domain.name:
            return domain.verifiers()[0]
    raise InputError(
        f"data_source {task!r} is no task with a verifier; there are world/d1 ..., {', '.join(recipe_ids())}"
    )
