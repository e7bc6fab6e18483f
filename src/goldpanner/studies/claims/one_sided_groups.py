"""The share of groups without a gradient, step by step, against the share that exact P implies, and two remedies.

Before each step the exact P of the step's own prompts is computed with the weights that will sample them. What is left
between the observed shares and the expected ones is then the draw of the answers alone, not the choice of prompts, so
few groups test the law sharply; any other route to the right answer than the worked one would show as a bias.

The remedies start from the same base and end when they have drawn as many rollouts as plain GRPO, groups that were
passed over included. They differ from it in nothing else: dynamic sampling keeps GRPO's clip and reduction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

import numpy as np

from goldpanner.policies.local import LocalPolicy
from goldpanner.runs.stages import Stage, Workplace, rl_stage
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import PARAMS, Lab, RLChanges, Trained
from goldpanner.studies.statistics import exact_change, mean, pass_at
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World
from goldpanner.train.rlvr import RLVRConfig, RolloutRecord, step_problems
from goldpanner.types import Estimate, FloatArray, Problem

TASKS = ("world/d1", "world/d2")
STATES = ("mixed", "all-wrong", "all-correct")
PROMPTS, GROUP, STEPS = 48, 16, 80
ARMS: dict[str, RLChanges] = {
    "plain": {},
    "dynamic": {"variant": "dapo", "clip_low": 0.2, "clip_high": 0.2, "reduction": "sequence-mean"},
    "wide": {},
}
SIZES = {"plain": GROUP, "dynamic": GROUP, "wide": 4 * GROUP}
"""Samples of a group, by arm."""
HARD = np.log(1e-5)


class Course(TypedDict):
    """The looks at an arm: rollouts and steps so far, and log P of the held-out problems."""

    rollouts: list[int]
    steps: list[int]
    logp: list[list[float]]


class GroupsWorld(TypedDict):
    """What one world gave."""

    base: list[float]
    """Log P of the held-out problems."""
    observed: dict[str, list[float]]
    """State -> share of the groups at every plain step."""
    expected: dict[str, list[float]]
    """The same, from the exact P of the prompts."""
    arms: dict[str, Course]


@dataclass(frozen=True)
class Foreseen(RolloutRecord):
    """A step's record with the exact P of its prompts before it; None where it draws others (dynamic sampling)."""

    exact: list[float] | None = None


def _measure(lab: Lab) -> GroupsWorld:
    """Return observed and expected shares of every plain step, and exact log P of held-out problems along all arms."""
    base = lab.base(lab.world(gap=True))
    problems = [problem for task in TASKS for problem in lab.problems(base.world, task, 128)]
    result: GroupsWorld = {"base": lab.logp(base, problems).tolist(), "observed": {}, "expected": {}, "arms": {}}
    for name in ARMS:
        rl = _train(lab, base, name, problems)
        done, logp = rl.watched("held-out")
        spent = np.cumsum([0, *(record["groups"] for record in rl.records)]) * SIZES[name]
        result["arms"][name] = {"rollouts": spent[done].tolist(), "steps": done, "logp": logp}
        if name == "plain":
            observed = [(r["mixed"], r["all_wrong"], r["all_correct"]) for r in rl.records]
            result["observed"] = {state: list(shares) for state, shares in zip(STATES, zip(*observed))}
            shares = [expected_shares(np.array(record["exact"])) for record in rl.records]
            result["expected"] = {state: [share[state] for share in shares] for state in STATES}
    return result


def _train(lab: Lab, base: Trained, name: str, problems: Sequence[Problem]) -> Trained:
    """Return `base` after RL with one remedy, ended when it has drawn what plain GRPO draws in all its steps."""
    prompts, steps = lab.size(PROMPTS), lab.steps(STEPS)
    sizes = {"group_size": SIZES[name], "prompts_per_step": max(2, prompts * GROUP // SIZES[name])}
    fixed = {"tasks": dict.fromkeys(TASKS, 1.0), "steps": steps, "seed": lab.seed, "max_tokens": PARAMS.max_tokens}
    config = RLVRConfig.model_validate({**fixed, **sizes, **ARMS[name]})
    tasks, budget = World(base.world).tasks, steps * prompts * GROUP

    def run(policy: LocalPolicy, place: Workplace) -> Iterator[Foreseen]:
        total = 0
        records = iter(rl_stage("grpo", tasks, config).steps(policy, place))
        for step in range(steps):
            batch = step_problems(tasks, config, step, config.prompts_per_step)
            exact = np.exp(lab.logp(policy, batch)).tolist() if name == "plain" else None
            record = next(records)
            yield Foreseen(**asdict(record), exact=exact)
            total += record.groups * config.group_size
            if total >= budget:
                break

    every = 1 if name == "dynamic" else 5  # its steps are few and long
    identity = ["exact P of the prompts, rollouts stored", budget]
    stage = Stage("grpo", config, run, steps)
    return lab.train(stage, base.world, base, identity, watch={"held-out": problems}, every=every)


def expected_shares(p: FloatArray, size: int = GROUP) -> dict[str, float]:
    """Return the shares of groups that prompts with exact P = p imply, shape (prompts,): means over the prompts."""
    wrong, right = (1 - p) ** size, p**size
    shares = zip(STATES, (1 - wrong - right, wrong, right))
    return {state: float(share.mean()) for state, share in shares}


def _judge(results: Sequence[GroupsWorld]) -> Finding:
    """Every world gives one estimate of each effect; the steps are independent draws given the policy."""

    def bias(result: GroupsWorld, state: str) -> Estimate:
        return mean(np.subtract(result["observed"][state], result["expected"][state]))

    def quarter(result: GroupsWorld, state: str, last: bool) -> Estimate:
        steps = np.array(result["observed"][state])
        size = max(2, len(steps) // 4)
        return mean(steps[-size:] if last else steps[:size])

    def at(result: GroupsWorld, arm: str, share: float) -> list[float]:
        """Log P at the look that is nearest to a share of plain GRPO's rollouts."""
        aim = share * result["arms"]["plain"]["rollouts"][-1]
        look = int(np.abs(np.subtract(result["arms"][arm]["rollouts"], aim)).argmin())
        return result["arms"][arm]["logp"][look]

    def gain(result: GroupsWorld, arm: str, share: float) -> Estimate:
        return exact_change(at(result, "plain", share), at(result, arm, share), 1)

    def hard(result: GroupsWorld, arm: str) -> Estimate:
        chosen = np.array(at(result, arm, 1.0))[np.array(result["base"]) < HARD]
        return pass_at(chosen, 1) if len(chosen) > 1 else Estimate.undefined("too few hard problems")

    biases = {state: [bias(r, state) for r in results] for state in STATES}
    ends = {s: {last: [quarter(r, s, last) for r in results] for last in (False, True)} for s in STATES}
    gains = {(arm, name): [gain(r, arm, share) for r in results] for arm in ("dynamic", "wide")
             for name, share in (("quarter", 0.25), ("all", 1.0))}  # fmt: skip
    hardest = {arm: [hard(r, arm) for r in results] for arm in ARMS}
    values = {
        **{state.replace("-", "_"): estimate for state, estimate in biases.items()},
        **{n: {s: [e.value for e in ends[s][last]] for s in STATES} for n, last in (("first", False), ("last", True))},
        **{name: {arm: gains[arm, name] for arm in ("dynamic", "wide")} for name in ("quarter", "all")},
        "groups": results[0]["arms"]["plain"]["rollouts"][-1] // GROUP,
        "rollouts": results[0]["arms"]["plain"]["rollouts"][-1],
        "base": [pass_at(r["base"], 1).value for r in results],
        "after": {arm: [pass_at(at(r, arm, 1.0), 1).value for r in results] for arm in ARMS},
        "steps": {arm: [r["arms"][arm]["steps"][-1] for r in results] for arm in ARMS},
        "hard": [int((np.array(r["base"]) < HARD).sum()) for r in results],
        "hard_after": hardest,
    }
    return Finding(
        effects={
            "law": [Effect(state, estimate, -0.02, 0.02) for state, estimate in biases.items()],
            "starves": [Effect("mixed", ends["mixed"][True], high=0.25)],
            "wrong-remain": [Effect("all-wrong", ends["all-wrong"][True], low=0.25)],
            "no-free-lunch": [Effect(f"{arm}-{name}", estimate, high=0.02) for (arm, name), estimate in gains.items()],
            "hard-stay": [Effect(arm, estimate, high=0.05) for arm, estimate in hardest.items()],
        },
        values=values,
        plots=[Plot("shares", share_rows(results)), Plot("remedies", remedy_rows(results))],
    )


def share_rows(results: Sequence[GroupsWorld], width: int = 5) -> list[dict[str, object]]:
    """Return both shares of each state, means of `width` steps."""
    return [
        {"x": start + width / 2, "y": float(np.mean(steps[start : start + width])), "series": state, "panel": kind,
         "world": world}
        for world, result in enumerate(results)
        for kind, shares in (("observed", result["observed"]), ("expected", result["expected"]))
        for state, steps in shares.items()
        for start in range(0, len(steps), width)
    ]  # fmt: skip


def remedy_rows(results: Sequence[GroupsWorld]) -> list[dict[str, object]]:
    """Return exact pass@1 of the held-out problems along every arm."""
    return [
        {"x": rollouts, "y": float(np.exp(logp).mean()), "series": arm, "world": world}
        for world, result in enumerate(results)
        for arm in ARMS
        for rollouts, logp in zip(result["arms"][arm]["rollouts"], result["arms"][arm]["logp"])
    ]


STUDY = Study("one-sided-groups", _measure, _judge)
