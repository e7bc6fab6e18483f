"""Our verifiers as verl's reward function. verl imports this file by its path and calls `compute_score`:

reward.custom_reward_function.path=.../goldpanner/train/verl.py reward.custom_reward_function.name=compute_score

(Older versions of verl: `custom_reward_function.path`, without `reward.`.) `goldpanner export --for verl` writes the
command.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache

from goldpanner.errors import InputError
from goldpanner.sampling.rollout import judge
from goldpanner.tasks.catalog import find_task, task_names
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import Verifier


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, object] | None = None, **_: object
) -> dict[str, float | str]:
    """Return `score` (1.0 CORRECT, else 0.0) and, for verl's rollout dump, `outcome`, `goldpanner_id`, `extracted`.

    `data_source` is the task id; `extra_info` as `export --for verl` writes it: `id`, and the problem's `meta` as JSON.
    verl knows no missing reward: UNJUDGED is paid 0 like WRONG; `outcome` and `cause` say which (our reader of verl's
    dumps counts it as unjudged). verl does not say whether a response was cut, so a cut one is judged by its text.
    Raises InputError for a task that has no verifier: a reward of 0 for everything would look like a hard task.
    """
    extra = extra_info or {}
    problem = Problem(data_source, "", ground_truth, json.loads(str(extra.get("meta") or "{}")))
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
    judged = find_task(task)
    if judged is None:
        families = dict.fromkeys(name.partition("/")[0] for name in task_names())
        raise InputError(f"data_source {task!r} is no task with a verifier; there are those of {', '.join(families)}")
    return judged.verifiers()[0]


def export_notes(names: Collection[str]) -> list[str]:
    """Return what somebody who trains on these tasks with verl should know: bare prompts, and tasks nobody judges."""
    notes, tasks = [], {name: find_task(name) for name in sorted(names)}
    wrapped = [name for name, task in tasks.items() if task is not None and task.params.template != "{prompt}"]
    if wrapped:
        notes.append(
            f"each prompt stands there bare, as a message of the user's: the template that {', '.join(wrapped)} is "
            "sampled with is not, and verl puts the model's chat template around it"
        )
    unknown = [name for name, task in tasks.items() if task is None]
    if unknown:
        notes.append(
            f"compute_score knows no verifier of {', '.join(unknown)} and will refuse it: point "
            "reward.custom_reward_function at a function of yours"
        )
    return notes
