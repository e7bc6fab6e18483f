"""RL from a base that knows but hardly ever works anything out: by how often it does, and after a few examples.

Coldness is the exact probability of the chain style, nothing else: pretraining goes on with text of the same world in
which nobody works a question out any more, until that probability has fallen to a stated level. Textbooks go on, so the
facts stay known; only the last decade, a few dozen steps, is done without them, because a model that goes on reading
them stays above it. P(correct) is then low for want of a manner and not of knowledge, and every level gets the same RL.
That examples cure the cold is asked at each level, so that their worth can be told from that of being warm.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypedDict, TypeVar

import numpy as np

from goldpanner import rng
from goldpanner.policies.local import LocalPolicy
from goldpanner.runs.stages import Stage, Workplace
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, Trained
from goldpanner.studies.statistics import exact_change, mean, pass_at, share
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.task import Document
from goldpanner.train.supervised import SFT, StepRecord, supervised
from goldpanner.types import Estimate, FloatArray, Problem

TASKS = ("world/d1", "world/d2")
LEVELS = (5e-2, 1e-3, 1e-4, 1e-5)
NAMES = ("5e-2", "1e-3", "1e-4", "1e-5")
COLD, WARM = NAMES[2:], NAMES[:2]
EXAMPLES = {"5e-2": (24,), "1e-3": (24,), "1e-4": (24,), "1e-5": (8, 24, 200)}


class ColdArm(TypedDict):
    """What RL made of one level after some examples; log P by problem, numbers by step."""

    before: list[float]
    after: list[float]
    style: list[float]
    """Log P that an answer begins as a chain does."""
    style_after: list[float]
    rewards: list[float]
    groups: int
    mixed: int
    hits: int
    """Rewarded rollouts."""


class ColdStarts(TypedDict):
    """What one world gave: the task of each problem; level -> examples -> arm."""

    tasks: list[str]
    levels: dict[str, dict[str, ColdArm]]


T = TypeVar("T")
STEPS, ROLLOUTS = 60, 48 * 16
CAP = 400
"""Steps of silent text at most, per level."""
SILENT = {"chain_share": 0.0, "terse_share": 0.6, "ramble_share": 0.4}
RATES = (5e-4, 1e-3, 2e-3, 1e-3)
"""Adam's rate on the way to each level: low enough to hit it closely, high enough to come there."""


def style(policy: LocalPolicy, problems: Sequence[Problem]) -> FloatArray:
    """Return exact log P (nats) that the answer to each problem begins as only a chain does: with the name of the first
    relation. A terse text begins with a letter, a rambling one with the filler.
    """
    return policy.logprobs(problems, [policy.encode_response(p.meta["chain"])[:1] for p in problems])


def cold(lab: Lab, world: WorldConfig, level: int) -> Trained:
    """Return the base of `world` after silent text until P(style), geometric mean over held-out problems of both
    depths, is at most `LEVELS[level]`; each level goes on from the one before.
    """
    parent = cold(lab, world, level - 1) if level else lab.base(world)
    last = level == len(LEVELS) - 1
    silent = World(world.model_copy(update={**SILENT, "textbook_share": 0.0 if last else world.textbook_share}))
    judged = [problem for task in TASKS for problem in lab.problems(world, task, 64)]
    given = {"steps": lab.steps(CAP), "batch": 80, "learning_rate": RATES[level], "seed": lab.seed}
    config = SFT.model_copy(update=given)

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[StepRecord]:
        def text(step: int) -> Sequence[Document]:
            return silent.documents(config.batch, rng.stream("studies/silent", lab.seed, level, step))

        return supervised(policy.model, policy.tokenizer, text, config)

    def stop(policy: LocalPolicy) -> bool:
        return bool(style(policy, judged).mean() <= np.log(LEVELS[level]))

    identity = [silent.config, LEVELS[level], [problem.id for problem in judged]]
    return lab.train(Stage("pretrain", config, steps, config.steps), world, parent, identity, every=1, stop=stop)


def _measure(lab: Lab) -> ColdStarts:
    """Return, by level and number of examples (0: RL-Zero), exact log P and log P(style) before and after RL."""
    world = lab.world(gap=False)
    problems = [problem for task in TASKS for problem in lab.problems(world, task, 128)]
    levels: dict[str, dict[str, ColdArm]] = {}
    for i, name in enumerate(NAMES):
        start = cold(lab, world, i)
        arms = {0: start}
        arms |= {n: lab.sft(start, lab.demonstrations(world, TASKS, n)) for n in EXAMPLES[name]}
        levels[name] = {str(n): _arm(lab, parent, problems) for n, parent in arms.items()}
    return {"tasks": [problem.task for problem in problems], "levels": levels}


def _arm(lab: Lab, parent: Trained, problems: Sequence[Problem]) -> ColdArm:
    rl = lab.grpo(parent, TASKS, steps=STEPS)
    groups = [record["groups"] for record in rl.records]
    rewards = [record["reward"] for record in rl.records]
    return {
        "before": lab.logp(parent, problems).tolist(),
        "after": lab.logp(rl, problems).tolist(),
        "style": style(parent.policy, problems).tolist(),
        "style_after": style(rl.policy, problems).tolist(),
        "rewards": rewards,
        "groups": sum(groups),
        "mixed": round(sum(record["mixed"] * record["groups"] for record in rl.records)),
        "hits": round(sum(r * g * 16 for r, g in zip(rewards, groups))),
    }


def rollouts_until(rewards: Sequence[float], goal: float = 0.5) -> int | None:
    """Return the rollouts drawn before the first step whose mean reward is above `goal`; None if none was."""
    return next((step * ROLLOUTS for step, reward in enumerate(rewards) if reward > goal), None)


def _each(results: Sequence[ColdStarts], quantity: Callable[[ColdArm], T], level: str, n: int = 0) -> list[T]:
    """Return a quantity of one arm, world by world."""
    return [quantity(result["levels"][level][str(n)]) for result in results]


def _exact(arm: ColdArm, stage: Literal["before", "after"]) -> float:
    return float(np.exp(arm[stage]).mean())


def _opens(arm: ColdArm, stage: Literal["style", "style_after"] = "style") -> float:
    return float(np.exp(np.mean(arm[stage])))


def _mixed(arm: ColdArm) -> Estimate:
    return share(np.arange(arm["groups"]) < arm["mixed"])


def _until(arm: ColdArm) -> str:
    needed = rollouts_until(arm["rewards"])
    return "–" if needed is None else f"{needed:,}"


def _judge(results: Sequence[ColdStarts]) -> Finding:
    """Pool both depths; every world gives one estimate of each effect."""

    def ends(level: str, n: int = 0) -> list[Estimate]:
        return _each(results, lambda arm: pass_at(arm["after"], 1), level, n)

    def gain(level: str, n: int, over: int, over_level: str = "") -> list[Estimate]:
        """Pass@1 after RL of (level, n) minus that of (over_level or level, over)."""
        more = _each(results, lambda arm: arm["after"], level, n)
        less = _each(results, lambda arm: arm["after"], over_level or level, over)
        return [exact_change(before, after, 1) for before, after in zip(less, more)]

    def warmed(arm: ColdArm) -> Estimate:
        return mean(np.subtract(arm["style_after"], arm["style"]) / np.log(10))

    return Finding(
        effects={
            "stalls": [Effect(level, ends(level), high=0.05) for level in COLD],
            "starts": [Effect(level, ends(level), low=0.5) for level in WARM],
            "no-signal": [Effect(level, _each(results, _mixed, level), high=0.02) for level in COLD],
            "style-stays-rare": [Effect(level, _each(results, warmed, level), high=1.0) for level in COLD],
            "examples-start": [Effect(level, ends(level, 24), low=0.8) for level in COLD],
            "few-are-enough": [Effect(f"{n}-examples", gain("1e-5", n, 200), low=-0.1) for n in (8, 24)],
            "idle-when-warm": [Effect("5e-2", gain("5e-2", 24, 0), -0.1, 0.1)],
            "cold-forgotten": [Effect(level, gain(level, 24, 24, "5e-2"), -0.1, 0.1) for level in COLD],
        },
        values=_values(results),
        plots=_plots(results),
    )


def _values(results: Sequence[ColdStarts]) -> dict[str, object]:
    def by_arm(quantity: Callable[[ColdArm], T]) -> dict[str, list[T]]:
        arms = [(level, n) for level in NAMES for n in (0, *EXAMPLES[level])]
        return {f"{level}+{n}": _each(results, quantity, level, n) for level, n in arms}

    return {
        "style": {level: _each(results, _opens, level) for level in NAMES},
        "style_after": {level: _each(results, lambda arm: _opens(arm, "style_after"), level) for level in NAMES},
        "before": by_arm(lambda arm: _exact(arm, "before")),
        "after": by_arm(lambda arm: _exact(arm, "after")),
        "rollouts": by_arm(_until),
        "hits": by_arm(lambda arm: arm["hits"]),
        "mixed": {level: _each(results, lambda arm: _mixed(arm).value, level) for level in NAMES},
    }


def _plots(results: Sequence[ColdStarts]) -> list[Plot]:
    stages: tuple[Literal["before"], Literal["after"]] = ("before", "after")
    starts = [
        {"x": _opens(levels[level]["0"]), "y": _exact(levels[level][n], stage), "series": f"{n}-{stage}", "world": w}
        for w, levels in enumerate(result["levels"] for result in results)
        for n in ("0", "24")
        for stage in stages
        for level in sorted(NAMES, key=float)
    ]
    course = [
        {"x": (step + 1) * ROLLOUTS, "y": reward, "series": level, "panel": f"examples-{n}", "world": w}
        for w, result in enumerate(results)
        for n in ("0", "24")
        for level in NAMES
        for step, reward in enumerate(result["levels"][level][n]["rewards"])
    ]
    return [Plot("levels", starts, log_x=True, log_y=True), Plot("course", course)]


STUDY = Study("cold-start", _measure, _judge)
