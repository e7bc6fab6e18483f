"""Pretraining, SFT and RL, each taken away or put in: which of them moves pass@1, and which pass@256?

Two full factorials of two levels each, in which all eight models answer the same problems with exact P, so that every
main effect and interaction is a contrast of a problem with itself.

- amount: 200 or 500 steps of pretraining; no SFT or 64 true worked examples; no RL or 80 steps of GRPO. True examples
  state facts as well as the form (64 of them state most facts of the world).
- content: 500 steps on text that never states a twelfth of the facts right, or on text that states the rarest in 1% to
  5% of the cases; no SFT or 64 examples that state what the web believes (the form alone); RL as above.

If "pretraining is the ceiling, SFT the access, RL the policy" is more than a picture, pretraining has the largest
effect at k = 256, RL almost none there, and SFT helps RL little that has access.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from goldpanner.measure import passk
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, Trained
from goldpanner.studies.statistics import exact_pass_curve, mean
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.types import Estimate

TRAINED, DEMONSTRATED = ("world/d1", "world/d2"), ("world/d1", "world/d2", "world/d3")
SETS = {"trained": TRAINED, "held-out": ("world/d3",)}
FACTORS = ("pretraining", "sft", "rl")
Cell = tuple[str, str, str]
"""(pretraining, SFT, RL)."""
FACTORIALS: dict[str, list[Cell]] = {
    "amount": list(product(("short", "long"), ("none", "true"), ("none", "rl"))),
    "content": list(product(("long", "rare-facts"), ("none", "form"), ("none", "rl"))),
}
"""Cells in the order low before high, the last factor fastest."""
Result = dict[str, dict[str, list[float]]]
"""Cell, its levels joined by slashes -> set of problems -> log P of every problem."""
CELLS = sorted({*FACTORIALS["amount"], *FACTORIALS["content"], ("short", "form", "none")})
KS = tuple(sorted({round(10 ** (i / 4)) for i in range(17)} | {256}))
"""1 ... 10,000, four a decade."""


def _measure(lab: Lab) -> Result:
    """Return exact log P of every cell's model, on the depths that RL trains and on one that it does not."""
    questions = {name: [p for task in tasks for p in lab.problems(lab.world(), task)] for name, tasks in SETS.items()}
    return {
        "/".join(cell): {name: lab.logp(model, problems).tolist() for name, problems in questions.items()}
        for cell in CELLS
        for model in [trained(lab, *cell)]
    }


def trained(lab: Lab, pretraining: str, sft: str, rl: str) -> Trained:
    """Return the model of a cell."""
    gap = pretraining != "rare-facts"
    model = lab.base(lab.world(gap=gap), steps=200 if pretraining == "short" else 500)
    if sft != "none":
        states = lab.world(gap=gap, demonstrations="web" if sft == "form" else "truth")
        model = lab.sft(model, lab.demonstrations(states, DEMONSTRATED, 64))
    return lab.grpo(model, TRAINED, steps=80) if rl == "rl" else model


def contrast(cells: Any, *factors: int) -> Any:
    """Return the main effect of a factor, or the interaction of several, shape (problems,).

    `cells` has shape (8, problems), in the order of a factorial. Main effect: mean over the four cells at its high
    level minus the mean over those at its low one. Interaction of A and B: half the difference between A's effect at
    B's high level and at its low one (Box, Hunter & Hunter, Statistics for Experimenters, chapter 5).
    """
    signs = [prod(2 * cell[factor] - 1 for factor in factors) for cell in product((0, 1), repeat=3)]
    return np.asarray(signs, np.float64) @ np.asarray(cells, np.float64) / 4


def solved(result: Result, cell: Cell, k: int, where: str = "trained") -> Any:
    """Return exact pass@k of every problem under one model, shape (problems,)."""
    return passk.exact_rows(result["/".join(cell)][where], [k])[:, 0]


def cell_table(result: Result, factorial: str, k: int, where: str = "trained") -> Any:
    """Return exact pass@k of every problem under the eight models of a factorial, shape (8, problems)."""
    return np.array([solved(result, cell, k, where) for cell in FACTORIALS[factorial]])


def variance_shares(cells: Any) -> dict[str, float]:
    """Return how the variance between the eight mean pass@k divides among factors and interactions; they sum to 1.

    The seven contrasts are orthogonal, so their squares add up to the sum of squares between cells.
    """
    parts = {name: float(contrast(cells, i).mean()) ** 2 for i, name in enumerate(FACTORS)}
    parts["interactions"] = sum(float(contrast(cells, *ij).mean()) ** 2 for ij in ((0, 1), (0, 2), (1, 2), (0, 1, 2)))
    total = sum(parts.values())
    return {name: value / total if total else float("nan") for name, value in parts.items()}


def _judge(results: Sequence[Result]) -> Finding:
    """Contrasts over the problems of the trained depths, world by world."""
    tables = {(name, k): [cell_table(result, name, k) for result in results] for name in FACTORIALS for k in (1, 256)}

    def effect(name: str, k: int, *factors: int) -> list[Estimate]:
        return [mean(contrast(cells, *factors)) for cells in tables[name, k]]

    def largest(name: str) -> list[Effect]:
        """Pretraining's main effect on pass@256 minus that of another factor."""
        pairs = {f"over-{FACTORS[i]}": i for i in (1, 2)}
        return [
            Effect(key, [mean(contrast(c, 0) - contrast(c, i)) for c in tables[name, 256]], low=0.0)
            for key, i in pairs.items()
        ]

    def gains(k: int, before: Sequence[str], after: Sequence[str], levels: Sequence[str]) -> dict[str, list[Estimate]]:
        """Mean gain from the cells (SFT/RL) `before` to those `after`, by level of pretraining."""

        def gain(result: Result, level: str) -> Estimate:
            low, high = ([solved(result, (level, *c.split("/")), k) for c in cells] for cells in (before, after))  # type: ignore[arg-type]
            return mean(np.mean(high, axis=0) - np.mean(low, axis=0))

        return {level: [gain(result, level) for result in results] for level in levels}

    def each(estimates: dict[str, list[Estimate]], low: float = -np.inf, high: float = np.inf) -> list[Effect]:
        return [Effect(level, values, low, high) for level, values in estimates.items()]

    amounts, contents = ("short", "long"), ("long", "rare-facts")
    by_rl = {k: gains(k, ("none/none", "true/none"), ("none/rl", "true/rl"), amounts) for k in (1, 256)}
    by_facts = {k: gains(k, ("none/none",), ("true/none",), amounts) for k in (1, 256)}
    by_form = gains(256, ("none/none",), ("form/none",), amounts)
    opened = gains(1, ("none/none",), ("form/none",), contents)
    values: dict[str, object] = {
        f"{name}_{factor}{k}": effect(name, k, i) for name, k in tables for i, factor in enumerate(FACTORS)
    }
    for name, k in tables:
        values |= {f"{name}_{a}{k}": effect(name, k, i, j) for a, i, j in (("ps", 0, 1), ("pr", 0, 2), ("sr", 1, 2))}
        parts = [variance_shares(cells) for cells in tables[name, k]]
        values[f"{name}_shares{k}"] = {factor: float(np.mean([part[factor] for part in parts])) for factor in parts[0]}
    values |= {f"{n}_{level}": e for n, g in (("facts", by_facts[256]), ("form", by_form)) for level, e in g.items()}
    values["held_out"] = [mean(contrast(cell_table(r, "amount", 1, "held-out"), 2)) for r in results]
    return Finding(
        effects={
            "ceiling": largest("amount"),
            "rl-pass1": each(by_rl[1], low=0.15),
            "rl-flat": each(by_rl[256], -0.05, 0.05),
            "sft-opens": each(by_facts[1], low=0.1),
            "form-no-facts": each(by_form, -0.05, 0.05),
            "facts-in-demonstrations": each(by_facts[256], low=0.1),
            "substitutes": [Effect("trained", effect("amount", 1, 1, 2), high=0.0)],
            "multiplies": [Effect("trained", effect("amount", 1, 0, 2), low=0.0)],
            "content-ceiling": largest("content"),
            "form-opens": each(opened, low=0.1),
            "content-lets-rl-expand": [Effect("trained", effect("content", 256, 0, 2), low=0.03)],
        },
        values=values,
        plots=_plots(results),
    )


def _plots(results: Sequence[Result]) -> list[Plot]:
    """Return main effects against k, and the curves of all models."""
    by_k = [
        {"x": k, "y": float(contrast(cells, i).mean()), "series": factor, "panel": name, "world": w}
        for w, result in enumerate(results)
        for name in FACTORIALS
        for k in KS
        for cells in [cell_table(result, name, k)]
        for i, factor in enumerate(FACTORS)
    ]
    curves = [
        {"x": k, "y": float(y), "series": f"{cell[1]}/{cell[2]}", "panel": cell[0], "world": w}
        for w, result in enumerate(results)
        for cell in CELLS
        for k, y in zip(KS, exact_pass_curve(result["/".join(cell)]["trained"], KS))
    ]
    return [Plot("effects", by_k, log_x=True), Plot("curves", curves, log_x=True)]


STUDY = Study("attribution", _measure, _judge)
