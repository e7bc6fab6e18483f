"""RL on one relation alone, for relations that pretraining saw often, seldom, never, or could not even have spelled.

Every arm draws the same number of rollouts N, so that N P(correct) is what the budget can find in the untouched base:
the threshold is asked for in that unit, not in percent of documents. P(correct) is the exact probability of the worked
answer, so "never" (3e-22) and "very rare" (1e-6) are different numbers, not both 0 of N. Outcome reward also pays an
answer that is right by luck; process reward does not: what differs between the two is what luck does.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from goldpanner.measure.thresholds import SOLVED
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import bootstrap, log_mean_p, mean, pass_at
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.types import Estimate

ARMS = ("klingon", "exposure-0%", "exposure-0.03%", "exposure-0.1%", "exposure-0.2%", "exposure-0.3%", "exposure-1%")
REWARDS = ("process", "outcome")
GROUP, PROMPTS, STEPS = 16, 48, 50
LITTLE = 0.1
"""P(correct) of a relation that took off; expected right answers that are as good as none."""


class AfterReward(TypedDict):
    """What one reward made of an arm."""

    logp: list[float]
    """Log P of every problem."""
    hits: int
    """Rewarded rollouts."""


class RelationArm(TypedDict):
    """A relation before RL, and after each reward."""

    base: list[float]
    """Log P of every problem."""
    after: dict[str, AfterReward]
    """By reward."""


class Relations(TypedDict):
    """What one world gave."""

    rollouts: int
    """Rollouts of each training."""
    arms: dict[str, RelationArm]


def _measure(lab: Lab) -> Relations:
    """Return, for every relation, exact log P before and after each reward, and how many rollouts were rewarded."""
    base, prompts = lab.base(lab.world()), lab.size(PROMPTS)
    arms: dict[str, RelationArm] = {}
    for arm in ARMS:
        problems = lab.problems(base.world, f"world/{arm}", 80)
        arms[arm] = {"base": lab.logp(base, problems).tolist(), "after": {}}
        for reward in REWARDS:
            chosen = "process" if reward == "process" else "answer"
            rl = lab.grpo(
                base, (f"world/{arm}",), steps=STEPS, reward=chosen, prompts_per_step=prompts, group_size=GROUP
            )
            hits = sum(record["reward"] * record["groups"] * GROUP for record in rl.records)
            arms[arm]["after"][reward] = {"logp": lab.logp(rl, problems).tolist(), "hits": round(hits)}
    return {"rollouts": lab.steps(STEPS) * prompts * GROUP, "arms": arms}


def between(expected: Sequence[float], took_off: Sequence[bool]) -> Estimate:
    """Return where the threshold lies: between the largest `expected` (a log10) that failed and the least that took
    off, the two neighbours being the interval. If these have changed places, no threshold parts all arms: the one of
    them that is farther from 0 is returned, as an arm on the wrong side. Undefined where all arms end alike.
    """
    x, up = np.asarray(expected, np.float64), np.asarray(took_off, bool)
    if up.all() or not up.any():
        return Estimate.undefined("between neighbouring arms")
    low, high = float(x[~up].max()), float(x[up].min())
    if low > high:
        low = high = max(low, high, key=abs)
    return Estimate((low + high) / 2, low, high, 0.95, "between neighbouring arms", len(x))


def _judge(results: Sequence[Relations]) -> Finding:
    """Every world gives one estimate of each effect."""

    def after(result: Relations, arm: str, reward: str) -> list[float]:
        return result["arms"][arm]["after"][reward]["logp"]

    def expected(result: Relations, arm: str) -> float:
        return log_mean_p(result["arms"][arm]["base"]) + float(np.log10(result["rollouts"]))

    def threshold(result: Relations, reward: str) -> Estimate:
        up = [log_mean_p(after(result, arm, reward)) > np.log10(SOLVED) for arm in ARMS]
        return between([expected(result, arm) for arm in ARMS], up)

    def moved(result: Relations, arm: str, reward: str) -> Estimate:
        shift = np.subtract(after(result, arm, reward), result["arms"][arm]["base"]) / np.log(10)
        return mean(shift)

    def unfound(result: Relations) -> Estimate:
        """The arm that moved most, of those in which the budget finds as good as nothing."""
        little = [moved(result, arm, "process") for arm in ARMS if expected(result, arm) < np.log10(LITTLE)]
        return max(little, key=lambda e: abs(e.value), default=Estimate.undefined("no arm is so rare"))

    def floors(arm: str, reward: str) -> list[Estimate]:
        return [bootstrap(log_mean_p, after(r, arm, reward), key=arm) for r in results]

    thresholds = {reward: [threshold(r, reward) for r in results] for reward in REWARDS}
    outcome = {arm: [moved(r, arm, "outcome") for r in results] for arm in ARMS}
    values = {
        "rollouts": results[0]["rollouts"],
        "before": {arm: [10 ** log_mean_p(r["arms"][arm]["base"]) for r in results] for arm in ARMS},
        **{w: {arm: [10 ** log_mean_p(after(r, arm, w)) for r in results] for arm in ARMS} for w in REWARDS},
        **{f"hits_{w}": {arm: [r["arms"][arm]["after"][w]["hits"] for r in results] for arm in ARMS} for w in REWARDS},
        **{f"threshold_{reward}": estimates for reward, estimates in thresholds.items()},
        "moved_outcome": {arm: [e.value for e in estimates] for arm, estimates in outcome.items()},
        "moved_process": {arm: [moved(r, arm, "process").value for r in results] for arm in ARMS},
    }
    rows = [
        {"x": 10 ** expected(r, arm), "y": 10 ** log_mean_p(after(r, arm, reward)), "series": reward, "world": w}
        for w, r in enumerate(results)
        for reward in REWARDS
        for arm in sorted(ARMS, key=lambda arm: expected(r, arm))
    ]
    enough = [(arm, reward) for arm in ("exposure-0.3%", "exposure-1%") for reward in REWARDS]
    never = [(arm, reward) for arm in ("klingon", "exposure-0%") for reward in REWARDS]
    return Finding(
        effects={
            "floor": [Effect(f"{arm}-{reward}", floors(arm, reward), high=-6.0) for arm, reward in never],
            "threshold": [Effect(reward, thresholds[reward], -2.0, 2.0) for reward in REWARDS],
            "known-enough": [
                Effect(f"{arm}-{reward}", [pass_at(after(r, arm, reward), 1) for r in results], low=0.9)
                for arm, reward in enough
            ],
            "no-signal": [Effect("process", [unfound(r) for r in results], -np.log10(2), np.log10(2))],
            "lucky-answers": [Effect(arm, outcome[arm], high=-1.0) for arm in ("exposure-0.03%", "exposure-0.1%")],
        },
        values=values,
        plots=[Plot("threshold", rows, log_x=True, log_y=True, lines=False)],
    )


STUDY = Study("absent-knowledge", _measure, _judge)
