"""Rewards that know nothing of the answer: what do they raise, and what do they not?

Four runs from one base, with the same prompts and number of rollouts: the true reward; one for the form alone (the
worked answer's shape, any letters); a coin; the same coin with four updates on a step's rollouts, where the clipped
ratio sets in (the published suspect). A coin's expected gradient without clipping is zero, which leaves a random walk.

The exact P of a worked answer is the product of two parts, read from its tokens: that of the form (relation names and
the end) and that of the facts (every letter, given the right tokens before it). Form is style; facts are knowledge.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, RLChanges, Trained
from goldpanner.studies.statistics import bootstrap, exact_change, exact_pass_curve, mean
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.types import Estimate, Problem

TRAINED, HELD_OUT = ("world/d1", "world/d2"), ("world/d3",)
ARMS: dict[str, RLChanges] = {
    "true": {},
    "format": {"reward": "format"},
    "coin": {"random_reward": 0.5},
    "coin-clipped": {"random_reward": 0.5, "minibatches": 4},
}
SPURIOUS = tuple(ARMS)[1:]


class RewardArm(TypedDict):
    """A model after one reward."""

    parts: dict[str, dict[str, list[float]]]
    """Set of problems -> `form`, `facts` -> log P of every problem."""
    clipped: float
    """Mean share of clipped tokens."""


Result = dict[str, RewardArm]
"""By arm, `base` for the model before RL."""
SETS = {"trained": TRAINED, "held-out": HELD_OUT}
KS = tuple(sorted({round(10 ** (i / 4)) for i in range(17)} | {256}))


def _measure(lab: Lab) -> Result:
    """Return exact log P of form and of facts under the base and after each reward, and the share of the right form."""
    world = lab.world(gap=True)
    base = lab.base(world)
    models = {"base": base, **{name: lab.grpo(base, TRAINED, steps=80, **how) for name, how in ARMS.items()}}
    problems = {name: [p for task in tasks for p in lab.problems(world, task)] for name, tasks in SETS.items()}
    return {
        name: {
            "parts": {where: route_parts(model, chosen) for where, chosen in problems.items()},
            "clipped": clipped_share(model),
        }
        for name, model in models.items()
    }


def route_parts(model: Trained, problems: Sequence[Problem]) -> dict[str, list[float]]:
    """Return log P of the form and of the facts of each worked answer; their sum is its log P."""
    chains = [problem.meta["chain"].split() for problem in problems]
    parts: dict[str, list[float]] = {"form": [], "facts": []}
    for chain, logp in zip(chains, model.policy.token_logprobs(problems, [" ".join(chain) for chain in chains])):
        letter = np.array([len(token) == 1 for token in chain] + [False])  # the last token is the end of sequence
        parts["form"].append(float(logp[~letter].sum()))
        parts["facts"].append(float(logp[letter].sum()))
    return parts


def clipped_share(model: Trained) -> float:
    """Return the mean share of clipped tokens over training (0 for a model that no RL has trained)."""
    return float(np.mean([record.get("clipped") or 0.0 for record in model.records]))


def _judge(results: Sequence[Result]) -> Finding:
    """Compare every arm with the base on the same problems."""

    def logp(result: Result, arm: str, where: str = "trained") -> Any:
        return np.add(result[arm]["parts"][where]["form"], result[arm]["parts"][where]["facts"])

    def moved(arm: str, k: int, where: str = "trained") -> list[Estimate]:
        return [exact_change(logp(r, "base", where), logp(r, arm, where), k) for r in results]

    def part(arm: str, name: str) -> list[Estimate]:
        pairs = [(r["base"]["parts"]["trained"][name], r[arm]["parts"]["trained"][name]) for r in results]
        return [mean(np.exp(after) - np.exp(before)) for before, after in pairs]

    def share_of_gain(arm: str, result: Result) -> Estimate:
        def ratio(before: Any, after: Any, best: Any) -> float:
            return float((after - before).mean() / (best - before).mean())

        columns = [np.exp(logp(result, name)) for name in ("base", arm, "true")]
        if exact_change(logp(result, "base"), logp(result, "true"), 1).low <= 0:  # no gain to divide by
            return Estimate.undefined("bootstrap")
        return bootstrap(ratio, *columns, key="spurious")

    arms = {name.replace("-", "_"): name for name in ARMS}
    shared = {name: [share_of_gain(name, r) for r in results] for name in SPURIOUS}
    values: dict[str, object] = {
        **{f"{key}1": moved(name, 1) for key, name in arms.items()},
        **{f"{key}256": moved(name, 256) for key, name in arms.items()},
        **{f"{key}_form": part(name, "form") for key, name in arms.items()},
        **{f"{key}_facts": part(name, "facts") for key, name in arms.items()},
        "share": {name: [e.value for e in estimates] for name, estimates in shared.items()},
        "held_out": {name: [e.value for e in moved(name, 1, "held-out")] for name in ARMS},
        "clipped": [r["coin-clipped"]["clipped"] for r in results],
    }
    rows = [
        {"x": k, "y": float(y), "series": name, "world": w}
        for w, result in enumerate(results)
        for name in ("base", *ARMS)
        for k, y in zip(KS, exact_pass_curve(logp(result, name), KS))
    ]
    coins = ("coin", "coin-clipped")
    return Finding(
        effects={
            "format-lifts": [Effect("format", moved("format", 1), low=0.1)],
            "format-share": [Effect("format", shared["format"], low=0.25, high=0.85)],
            "format-is-form": [Effect("format", part("format", "form"), low=0.2)],
            "facts-need-truth": [Effect("true", part("true", "facts"), low=0.05)],
            "no-facts": [Effect(name, part(name, "facts"), high=0.03) for name in SPURIOUS],
            "coin-lifts-nothing": [Effect(name, moved(name, 1), high=0.03) for name in coins],
            "no-expansion": [Effect(name, moved(name, 256), high=0.05) for name in SPURIOUS],
        },
        values=values,
        plots=[Plot("curves", rows, log_x=True)],
    )


STUDY = Study("spurious-reward", _measure, _judge)
