"""RL on depth 2, RL on depth 1, and imitation of right answers, judged at depths that none of them trained.

The three answer different questions from the same base: does rewarding a composition teach to compose (depth 2), does
rewarding the parts do it (depth 1), and is it RL that does it, or the data it draws (RFT: the distinct right answers
among the very rollouts of the depth-2 run; and among as many that the untouched base draws)? P(correct) is exact, so a
ratio is measured where the base is right once in a million, and pass@256 tells a route that is used more often from
one that was not there.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from goldpanner.policies.local import LocalPolicy
from goldpanner.runs.stages import Stage, Workplace, rft_stage
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, Trained
from goldpanner.studies.statistics import bootstrap, exact_change
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World
from goldpanner.train.config import RFTConfig
from goldpanner.train.rejection import keep_correct, to_rows
from goldpanner.train.supervised import SFT, StepRecord, epochs, supervised
from goldpanner.types import Estimate

SPECTRA = ("gap", "no-gap")
DEPTHS, HELD_OUT = (1, 2, 3, 4, 5, 6, 8), (3, 4, 5, 6)
ARMS = ("base", "rl2", "rl1", "rft", "rft_base")
Result = dict[str, dict[str, dict[str, list[float]]]]
"""Spectrum -> arm -> depth -> log P of every problem."""
STEPS, PROMPTS, GROUP, TUNING = 50, 48, 16, 150


def _measure(lab: Lab) -> Result:
    """Return exact log P by depth of the base and the four arms, with and without the gap."""
    results: Result = {}
    for spectrum in SPECTRA:
        world = lab.world(gap=spectrum == "gap")
        base = lab.base(world)
        rl2, rl1 = (lab.grpo(base, (f"world/d{depth}",), steps=STEPS) for depth in (2, 1))
        models = (base, rl2, rl1, imitation(lab, base, rl2), own_imitation(lab, base))
        logp: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
        for depth in DEPTHS:
            problems = lab.problems(world, f"world/d{depth}")
            for arm, model in zip(ARMS, models):
                logp[arm][f"d{depth}"] = lab.logp(model, problems).tolist()
        results[spectrum] = logp
    return results


def imitation(lab: Lab, base: Trained, rl: Trained) -> Trained:
    """Return `base` fine-tuned on the distinct right answers among the rollouts that `rl` stored while it trained."""
    config = SFT.model_copy(update={"steps": lab.steps(TUNING), "seed": lab.seed})

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[StepRecord]:
        right = keep_correct(lab.store.samples(run=rl.key))
        if not right:
            return
        rows = to_rows(right, lab.store.problems("world/d2"), base.policy)
        yield from supervised(policy.model, policy.tokenizer, epochs(rows, config), config)

    return lab.train(Stage("rft", config, steps, config.steps), base.world, base, ["imitation", rl.key])


def own_imitation(lab: Lab, base: Trained) -> Trained:
    """Return `base` after one round of RFT on as many rollouts as RL draws, its own."""
    tuning = SFT.model_copy(update={"steps": lab.steps(TUNING)})
    prompts = lab.steps(STEPS) * PROMPTS
    config = RFTConfig(tasks={"world/d2": 1.0}, prompts=prompts, group_size=GROUP, seed=lab.seed, training=tuning)
    return lab.train(rft_stage(World(base.world).tasks, config), base.world, base)


def log_mean_ratio(before: Any, after: Any) -> float:
    """Return log10 of mean P after over mean P before, from log P in nats."""
    top = max(np.max(before), np.max(after))  # scaled, so that neither mean underflows
    return float(np.log10(np.exp(after - top).mean()) - np.log10(np.exp(before - top).mean()))


def _judge(results: Sequence[Result]) -> Finding:
    """Every world gives a ratio for each spectrum, arm and depth."""

    def ratios(spectrum: str, depth: int, below: str, above: str) -> list[Estimate]:
        pairs = [(r[spectrum][below][f"d{depth}"], r[spectrum][above][f"d{depth}"]) for r in results]
        return [bootstrap(log_mean_ratio, b, a, key=f"{spectrum}-d{depth}") for b, a in pairs]

    def over_all(below: str, above: str, **edges: float) -> list[Effect]:
        return [Effect(f"{s}-d{d}", ratios(s, d, below, above), **edges) for s in SPECTRA for d in HELD_OUT]

    def times(result: Result, spectrum: str, arm: str, depth: int) -> float:
        logp = result[spectrum]
        return float(10 ** log_mean_ratio(np.asarray(logp["base"][f"d{depth}"]), np.asarray(logp[arm][f"d{depth}"])))

    def pooled(result: Result, spectrum: str, arm: str) -> Any:
        return np.concatenate([result[spectrum][arm][f"d{depth}"] for depth in HELD_OUT])

    at_256 = {s: [exact_change(pooled(r, s, "base"), pooled(r, s, "rl2"), 256) for r in results] for s in SPECTRA}
    values: dict[str, object] = {}
    for spectrum in SPECTRA:
        name = spectrum.replace("-", "_")
        values[f"{name}_change256"] = at_256[spectrum]
        for arm in ARMS[1:]:
            values[f"{name}_{arm}"] = {f"d{d}": [times(r, spectrum, arm, d) for r in results] for d in HELD_OUT}
    rows = [
        {"x": d, "y": float(np.exp(r[s][arm][f"d{d}"]).mean()), "series": arm, "panel": s, "world": w}
        for w, r in enumerate(results)
        for s in SPECTRA
        for arm in ARMS
        for d in DEPTHS
    ]
    return Finding(
        effects={
            "composes": over_all("base", "rl2", low=np.log10(5)),
            "single-facts-do-not": over_all("base", "rl1", high=np.log10(2)),
            "imitation-keeps-up": over_all("rl2", "rft", low=np.log10(0.5)),
            "flat-with-gap": [Effect("gap", at_256["gap"], high=0.05)],
            "expands-without-gap": [Effect("no-gap", at_256["no-gap"], low=0.05)],
        },
        values=values,
        plots=[Plot("depths", rows, log_y=True)],
    )


STUDY = Study("composition", _measure, _judge)
