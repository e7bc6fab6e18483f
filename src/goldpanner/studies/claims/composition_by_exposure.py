"""How many documents must compose before RL on depth 2 has something to amplify?

Five corpora that differ in one knob: the share of documents that work out two relations or more in a row. All single
facts are stated right, and every text is carried to its end, so depth is all that can be missing. From each base the
same RL on depth 2, with reward for the whole worked answer. The positive control is text: 256 worked examples of depth
2 from the base whose corpus never composes. The treatment check is the base that composes most: RL must lift it.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, Trained
from goldpanner.studies.statistics import exact_change, log_mean_p
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import WorldConfig

RATIOS = {"0": 1e-12, "0.04%": 5.56e-4, "0.6%": 8.4e-3, "3%": 0.0417, "16%": 0.2225}
"""Share of documents that compose -> how much rarer each further depth is in the corpus: with no lazy text, .72 of the
documents are chains, and a chain has two relations or more with probability near the ratio."""
DEPTHS = (1, 2, 3, 4)
NONE, MOST = "0", "16%"
STEPS, PROMPTS, GROUP, EXAMPLES, TUNING = 50, 48, 16, 256, 150


class ComposingCorpus(TypedDict):
    """Depth -> log P of every problem before and after RL (and after the control, where there is one)."""

    base: dict[str, list[float]]
    rl: dict[str, list[float]]
    control: dict[str, list[float]]


class Compositions(TypedDict):
    """What one world gave."""

    seed: int
    """Of RL."""
    rollouts: int
    corpora: dict[str, ComposingCorpus]
    """By share of documents that compose."""


def world_of(lab: Lab, share: str) -> WorldConfig:
    """Return the world whose corpus composes in a share of its documents."""
    every = {"reliabilities": ((0.99, 1.0),), "diligence": 1.0, "textbook_diligence": 1.0}
    return lab.world(depth_ratio=RATIOS[share], **every)


def _measure(lab: Lab) -> Compositions:
    """Return exact log P by depth before and after RL on depth 2, by corpus."""
    corpora: dict[str, ComposingCorpus] = {}
    prompts = lab.size(PROMPTS)
    for share in reversed(RATIOS):
        world = world_of(lab, share)
        base = lab.base(world)
        rl = lab.grpo(base, ("world/d2",), steps=STEPS, reward="process", prompts_per_step=prompts, group_size=GROUP)
        corpora[share] = {"base": _by_depth(lab, base), "rl": _by_depth(lab, rl), "control": {}}
        if share == NONE:
            taught = lab.sft(base, lab.demonstrations(world, ("world/d2",), lab.size(EXAMPLES)), steps=TUNING)
            corpora[share]["control"] = _by_depth(lab, taught)
    return {"seed": lab.seed, "rollouts": lab.steps(STEPS) * prompts * GROUP, "corpora": corpora}


def _by_depth(lab: Lab, model: Trained) -> dict[str, list[float]]:
    problems = {f"d{depth}": lab.problems(model.world, f"world/d{depth}", 128) for depth in DEPTHS}
    return {name: np.round(lab.logp(model, chosen), 3).tolist() for name, chosen in problems.items()}


def _judge(results: Sequence[Compositions]) -> Finding:
    """Every world gives one estimate of each effect."""

    def gain(share: str, depth: str) -> Effect:
        corpora = [r["corpora"][share] for r in results]
        at_least = share == MOST
        estimates = [exact_change(c["base"][depth], c["rl"][depth], 1) for c in corpora]
        return Effect(f"{share}-{depth}", estimates, *((0.1, np.inf) if at_least else (-np.inf, 0.1)))

    def means(arm: str) -> dict[str, list[float]]:
        names = [f"d{depth}" for depth in DEPTHS]
        corpora = {share: [r["corpora"][share] for r in results] for share in RATIOS}
        chosen = {share: [c["base"] if arm == "base" else c["rl"] for c in rows] for share, rows in corpora.items()}
        return {f"{s} {n}": [10 ** log_mean_p(c[n]) for c in rows] for s, rows in chosen.items() for n in names}

    control = [{n: 10 ** log_mean_p(logp) for n, logp in r["corpora"][NONE]["control"].items()} for r in results]
    rows = [
        {"x": 1 + i, "y": 10 ** log_mean_p(c["base"][f"d{d}"] if arm == "base" else c["rl"][f"d{d}"]),
         "series": f"{arm}-d{d}", "world": w}
        for w, r in enumerate(results)
        for i, c in enumerate(r["corpora"][share] for share in RATIOS)
        for arm in ("base", "rl")
        for d in DEPTHS[1:]
    ]  # fmt: skip
    return Finding(
        effects={
            "enough-text-composes": [gain(MOST, depth) for depth in ("d3", "d4")],
            "single-facts-do-not": [gain(share, depth) for share in ("0", "0.04%") for depth in ("d3", "d4")],
        },
        values={"rollouts": results[0]["rollouts"], "base": means("base"), "rl": means("rl"), "control": control},
        plots=[Plot("shares", rows, log_y=True)],
    )


STUDY = Study("composition-by-exposure", _measure, _judge)
