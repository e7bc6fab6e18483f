"""Pretraining, SFT and RL, each taken away or put in: which of them moves pass@1, and which pass@256?

A full factorial of two levels each: 200 or 500 steps of pretraining; no SFT or 64 worked examples; no RL or 80 steps of
GRPO. All eight models answer the same problems with exact P, so every main effect and interaction is a contrast of the
same problem with itself. If "pretraining is the ceiling, SFT the access, RL the policy" is more than a picture, then
pretraining must have the largest effect at k = 256, RL almost none there, and SFT must help RL little that has access.

Worked examples state facts as well as the form. So SFT is also done with examples that state what the web believes:
the form alone.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from goldpanner.measure import passk
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import curve, mean
from goldpanner.studies.study import Finding, Plot, Result, Study
from goldpanner.types import Estimate

TRAINED, DEMONSTRATED = ("world/d1", "world/d2"), ("world/d1", "world/d2", "world/d3")
PRETRAINING = {"short": 200, "long": 500}
FACTORS = ("pretraining", "sft", "rl")
CELLS = tuple(product((0, 1), repeat=3))
"""(pretraining, SFT, RL): 0 the low level."""
SETS = {"trained": TRAINED, "held-out": ("world/d3",)}
KS = tuple(sorted({round(10 ** (i / 4)) for i in range(17)} | {256}))
"""1 ... 10,000, four a decade."""


def measure(lab: Lab) -> Result:
    """Return exact log P of all cells' models, and of those fine-tuned on what the web believes."""
    world = lab.world(gap=True)
    clean = lab.demonstrations(world, DEMONSTRATED, 64)
    web = lab.demonstrations(lab.world(gap=True, demonstrations="web"), DEMONSTRATED, 64)
    problems = {name: [p for task in tasks for p in lab.problems(world, task)] for name, tasks in SETS.items()}
    found: Result = {}
    for level, steps in enumerate(PRETRAINING.values()):
        base = lab.base(world, steps=steps)
        sft = lab.sft(base, clean)
        models = {
            f"{level}00": base,
            f"{level}10": sft,
            f"{level}01": lab.grpo(base, TRAINED, steps=80),
            f"{level}11": lab.grpo(sft, TRAINED, steps=80),
            f"{level}w0": lab.sft(base, web),
        }
        for cell, model in models.items():
            found[cell] = {name: lab.logp(model, asked).tolist() for name, asked in problems.items()}
    return found


def contrast(cells: Any, *factors: int) -> Any:
    """Return the main effect of a factor, or the interaction of several, shape (problems,).

    `cells` has shape (8, problems), in the order of CELLS. Main effect: mean over the four cells at its high level
    minus the mean over those at its low one. Interaction of A and B: half the difference between A's effect at B's
    high level and at its low one (Yates 1937; Box, Hunter & Hunter, Statistics for Experimenters, chapter 5).
    """
    signs = [prod(2 * cell[factor] - 1 for factor in factors) for cell in CELLS]
    return np.asarray(signs, np.float64) @ np.asarray(cells, np.float64) / 4


def solved(result: Result, cell: str, k: int, where: str = "trained") -> Any:
    """Return exact pass@k of every problem under one model, shape (problems,)."""
    return passk.exact_rows(result[cell][where], [k])[:, 0]


def table(result: Result, k: int, where: str = "trained") -> Any:
    """Return exact pass@k of every problem under all eight models, shape (8, problems)."""
    return np.array([solved(result, "".join(map(str, cell)), k, where) for cell in CELLS])


def shares(cells: Any) -> dict[str, float]:
    """Return how the variance between the eight mean pass@k divides among factors and interactions; they sum to 1.

    The seven contrasts are orthogonal, so their squares add up to the sum of squares between cells.
    """
    names = {name: float(contrast(cells, i).mean()) ** 2 for i, name in enumerate(FACTORS)}
    crossed = sum(float(contrast(cells, *pair).mean()) ** 2 for pair in ((0, 1), (0, 2), (1, 2), (0, 1, 2)))
    total = sum(names.values()) + crossed
    return {
        name: value / total if total else float("nan") for name, value in {**names, "interactions": crossed}.items()
    }


def judge(results: Sequence[Result]) -> Finding:
    """Contrasts over the problems of the trained depths, world by world."""
    low, high = ([table(result, k) for result in results] for k in (1, 256))

    def effect(tables: Sequence[Any], *factors: int) -> list[Estimate]:
        return [mean(contrast(cells, *factors)) for cells in tables]

    def more(name: int) -> list[Estimate]:
        return [mean(contrast(cells, 0) - contrast(cells, name)) for cells in high]

    def gain(result: Result, level: int, k: int, pairs: Sequence[tuple[str, str]]) -> Estimate:
        steps = [
            solved(result, f"{level}{after}", k) - solved(result, f"{level}{before}", k) for before, after in pairs
        ]
        return mean(np.mean(steps, axis=0))

    def gains(k: int, pairs: Sequence[tuple[str, str]]) -> dict[str, list[Estimate]]:
        """Mean gain over (before, after) pairs of SFT and RL levels, by amount of pretraining."""
        return {name: [gain(r, level, k, pairs) for r in results] for level, name in enumerate(PRETRAINING)}

    def both(estimates: dict[str, list[Estimate]], low: float = -np.inf, high: float = np.inf) -> list[Effect]:
        return [Effect(name, found, low, high) for name, found in estimates.items()]

    by_rl, by_sft, by_form = (("00", "01"), ("10", "11")), (("00", "10"),), (("00", "w0"),)
    values: dict[str, Any] = {
        f"{name}{k}": effect(tables, i) for k, tables in ((1, low), (256, high)) for i, name in enumerate(FACTORS)
    }
    values |= {
        f"{a}{b}{k}": effect(tables, i, j)
        for k, tables in ((1, low), (256, high))
        for a, b, i, j in (("p", "s", 0, 1), ("p", "r", 0, 2), ("s", "r", 1, 2))
    }
    for k, tables in ((1, low), (256, high)):
        parts = [shares(cells) for cells in tables]
        values[f"shares{k}"] = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    values["held_out"] = [mean(contrast(table(r, 1, "held-out"), 2)) for r in results]
    values |= {
        f"{name}_{amount}": found
        for name, pairs in (("facts", by_sft), ("form", by_form), ("rl", by_rl))
        for amount, found in gains(256, pairs).items()
    }
    effects_by_k = [
        {"x": k, "y": float(contrast(cells, i).mean()), "series": name, "panel": where, "world": w}
        for w, result in enumerate(results)
        for where in SETS
        for k in KS
        for cells in [table(result, k, where)]
        for i, name in enumerate(FACTORS)
    ]
    curves = [
        {"x": k, "y": float(y), "series": f"{s}{r}", "panel": level, "world": w}
        for w, result in enumerate(results)
        for p, level in enumerate(PRETRAINING)
        for s, r in product((0, 1), repeat=2)
        for k, y in zip(KS, curve(result[f"{p}{s}{r}"]["trained"], KS))
    ]
    return Finding(
        effects={
            "ceiling": [Effect("over-sft", more(1), low=0.0), Effect("over-rl", more(2), low=0.0)],
            "rl-pass1": both(gains(1, by_rl), low=0.15),
            "rl-flat": both(gains(256, by_rl), -0.05, 0.05),
            "sft-opens": both(gains(1, by_sft), low=0.1),
            "form-no-facts": both(gains(256, by_form), -0.05, 0.05),
            "facts-in-demonstrations": both(gains(256, by_sft), low=0.1),
            "substitutes": [Effect("trained", values["sr1"], high=0.0)],
            "multiplies": [Effect("trained", values["pr1"], low=0.0)],
        },
        values=values,
        plots=[Plot("effects", effects_by_k, log_x=True), Plot("curves", curves, log_x=True)],
    )


STUDY = Study("attribution", measure, judge)
