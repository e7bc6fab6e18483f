"""RL from the base, in a world whose rare facts cannot be found (a gap in the spectrum of P) and in one where they can.

In the world with the gap a twelfth of the facts is never stated right: a problem is easy or out of reach. Without it
these facts are stated right in 1% to 5% of the texts: rare, and there to be found. Everything else is equal: model,
text, steps, rollouts. If RL itself decided whether pass@256 moves, both worlds would show the same.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from goldpanner.measure.compare import compare
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import bootstrap, exact_change, exact_equivalent_k, exact_pass_curve
from goldpanner.studies.study import Finding, Plot, Study

TRAINED, HELD_OUT = ("world/d1", "world/d2"), ("world/d3", "world/d4", "world/d6")
SPECTRA = ("gap", "no-gap")


class GainedProblem(TypedDict):
    """A gained problem: where its solutions came from, and the base's P, estimated and exact (log)."""

    label: str
    p_base: float
    exact: float


class SpectrumResult(TypedDict):
    """What one spectrum gave: task -> `base` or `rl` -> log P of every problem, and the gained problems."""

    logp: dict[str, dict[str, list[float]]]
    gained: list[GainedProblem]


Result = dict[str, SpectrumResult]
"""By spectrum."""
KS = tuple(sorted({round(10 ** (i / 6)) for i in range(37)} | {256}))
"""1 ... 1e6, six a decade."""


def _measure(lab: Lab) -> Result:
    """Train both arms; return exact log P by depth before and after, and the origin of every gained problem."""
    results: Result = {}
    for spectrum in SPECTRA:
        world = lab.world(gap=spectrum == "gap")
        base = lab.base(world)
        rl = lab.grpo(base, TRAINED, steps=80)
        tasks = {task: lab.problems(world, task) for task in (*TRAINED, *HELD_OUT)}
        logp = {t: {"base": lab.logp(base, p).tolist(), "rl": lab.logp(rl, p).tolist()} for t, p in tasks.items()}
        sampled = [problem for task in TRAINED for problem in tasks[task][: lab.size(64)]]
        changes = compare(lab.counts(base, sampled), lab.counts(rl, sampled)).changes
        sure = {i for i, word, ok in zip(changes.ids, changes.change, changes.established) if ok and word == "gained"}
        gained = [problem for problem in sampled if problem.id in sure]
        origins = lab.origins(base, rl, gained)
        results[spectrum] = {
            "logp": logp,
            "gained": [
                {"label": o.label, "p_base": o.p_base.value, "exact": float(lp)}
                for o, lp in zip(origins, lab.logp(base, gained) if gained else ())
            ],
        }
    return results


def _judge(results: Sequence[Result]) -> Finding:
    """Pool the two trained depths; every world gives one estimate of each effect."""

    def pooled(result: Result, spectrum: str, stage: str) -> Any:
        return np.concatenate([result[spectrum]["logp"][task][stage] for task in TRAINED])

    def changes(spectrum: str, k: int) -> list[Any]:
        return [exact_change(pooled(r, spectrum, "base"), pooled(r, spectrum, "rl"), k) for r in results]

    def equivalents(spectrum: str) -> list[Any]:
        pairs = [(pooled(r, spectrum, "base"), pooled(r, spectrum, "rl")) for r in results]
        return [bootstrap(lambda b, a: np.log10(exact_equivalent_k(b, a)), b, a, key=spectrum) for b, a in pairs]

    def deep(result: Result, spectrum: str, task: str) -> Any:
        logp = result[spectrum]["logp"][task]
        return exact_change(logp["base"], logp["rl"], 256)

    at = {(s, k): changes(s, k) for s in SPECTRA for k in (1, 256, 10_000)}
    k_eq = {spectrum: equivalents(spectrum) for spectrum in SPECTRA}
    gained = {s: [row for r in results for row in r[s]["gained"]] for s in SPECTRA}
    amplified = {s: sum(row["label"] == "amplified" for row in gained[s]) for s in SPECTRA}
    new = {s: sum(row["label"].startswith("new") for row in gained[s]) for s in SPECTRA}
    values = {
        **{f"change{k}_{s.replace('-', '_')}": v for (s, k), v in at.items()},
        **{f"keq_{s.replace('-', '_')}": [10**e.value for e in k_eq[s]] for s in SPECTRA},
        **{f"gained_{s.replace('-', '_')}": len(gained[s]) for s in SPECTRA},
        **{f"amplified_{s.replace('-', '_')}": amplified[s] for s in SPECTRA},
        **{f"new_{s.replace('-', '_')}": new[s] for s in SPECTRA},
        "held_out": {task: [deep(r, s, task).value for s in SPECTRA for r in results] for task in HELD_OUT},
    }
    rows = [
        {"x": k, "y": float(y), "series": stage, "panel": spectrum, "world": w}
        for w, r in enumerate(results)
        for spectrum in SPECTRA
        for stage in ("base", "rl")
        for k, y in zip(KS, exact_pass_curve(pooled(r, spectrum, stage), KS))
    ]
    return Finding(
        effects={
            "sharpens": [Effect(s, at[s, 1], low=0.2) for s in SPECTRA],
            "flat-with-gap": [Effect("gap", at["gap", 256], -0.05, 0.05)],
            "expands-without-gap": [Effect("no-gap", at["no-gap", 256], low=0.05)],
            "no-decline": [Effect(s, at[s, 10_000], low=-0.03) for s in SPECTRA],
            "equivalent-k": [Effect("gap", k_eq["gap"], np.log10(30), 3.0)],
        },
        values=values,
        plots=[Plot("curves", rows, log_x=True)],
    )


STUDY = Study("sharpen-or-expand", _measure, _judge)
