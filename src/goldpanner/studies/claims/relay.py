"""Does what is learned on easy problems reach hard ones before any of these could have been solved by sampling?

No hard problem is trained. Their exact log P at every step is the measurement; the shadow budget is paper: 768 rollouts
a step, spread evenly over the hard problems, would by exact P have given sum_t 768 mean P_t successes so far. The
window ends before that sum reaches 1, so whatever has risen by then rose without any success of theirs. Hard is what
the base answers right at most once in a million, chosen before RL; the intervals cover the choice of such problems.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import mean
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.types import Estimate

SPECTRA = ("gap", "no-gap")
DEPTHS = ("d6", "d8")
MIXES = {
    "easier": ("world/d1", "world/d2", "world/d3"),
    "short": ("world/d1",),
    "foreign": ("world/exposure-1%",),
}
Result = dict[str, dict[str, dict[str, list[list[float]]]]]
"""Spectrum -> mix -> depth -> log P of every watched problem, shape (steps + 1, problems)."""
HARD, SHADOW, ENOUGH = np.log(1e-6), 768, 8
"""Highest log P of a hard problem; shadow rollouts a step; fewest hard problems that are averaged."""


def _measure(lab: Lab) -> Result:
    """Return the exact log P of all watched problems at every step, shape (steps + 1, problems), by arm and depth."""
    results: Result = {}
    for spectrum in SPECTRA:
        base = lab.base(lab.world(gap=spectrum == "gap"))
        watch = {depth: lab.problems(base.world, f"world/{depth}", 160) for depth in DEPTHS}
        hard = {depth: lab.logp(base, problems) <= HARD for depth, problems in watch.items()}
        watch = {depth: [p for p, is_hard in zip(watch[depth], hard[depth]) if is_hard] for depth in DEPTHS}
        results[spectrum] = {}
        for mix, tasks in MIXES.items():
            rl = lab.grpo(base, tasks, steps=40, prompts_per_step=lab.size(48), watch=watch, every=1)
            results[spectrum][mix] = {
                depth: [np.round(row, 3).tolist() for row in rl.watched(depth)[1]] for depth in DEPTHS
            }
    return results


def window(logp: Any, shadow: int = SHADOW) -> int:
    """Return the last step t at which fewer than 1 success is expected of all shadow rollouts of steps 0 ... t.

    `logp` has shape (steps + 1, problems); -1 where the base's own rollouts already expect one.
    """
    expected = shadow * np.cumsum(np.exp(logp).mean(1))
    return int((expected < 1).sum()) - 1


def rise(logp: Any, step: int) -> Estimate:
    """Return the mean rise of log P (nats) from the base to a step, paired t over problems."""
    x = np.asarray(logp, np.float64)
    if x.ndim != 2 or x.shape[1] < ENOUGH or step < 0:
        return Estimate.undefined("too few hard problems, or no window")
    return mean(x[step] - x[0])


def _judge(results: Sequence[Result]) -> Finding:
    """Every world gives the rise within the window for each spectrum, mix and depth."""

    def table(result: Result, spectrum: str, mix: str, depth: str) -> Any:
        return np.asarray(result[spectrum][mix][depth], np.float64)

    def gain(result: Result, spectrum: str, mix: str, depth: str) -> Estimate:
        logp = table(result, spectrum, mix, depth)
        return rise(logp, window(logp) if logp.shape[1] else -1)

    def gains(spectrum: str, mix: str, depth: str) -> list[Estimate]:
        return [gain(r, spectrum, mix, depth) for r in results]

    def ahead(result: Result, depth: str) -> Estimate:
        """How much more the right mix gained than depth 1 alone, problem by problem."""
        pair = [table(result, "no-gap", mix, depth) for mix in ("easier", "short")]
        if pair[0].shape[1] < ENOUGH or min(map(window, pair)) < 0:
            return Estimate.undefined("too few hard problems, or no window")
        return mean(pair[0][window(pair[0])] - pair[1][window(pair[1])])

    values: dict[str, object] = {}
    for spectrum in SPECTRA:
        name = spectrum.replace("-", "_")
        values |= {f"{name}_{mix}": {d: gains(spectrum, mix, d) for d in DEPTHS} for mix in MIXES}
        tables = {d: [table(r, spectrum, "easier", d) for r in results] for d in DEPTHS}
        values[f"{name}_window"] = {d: [window(x) if x.shape[1] else 0 for x in tables[d]] for d in DEPTHS}
        values[f"{name}_end"] = {d: [rise(x, len(x) - 1).value for x in tables[d]] for d in DEPTHS}
        values[f"{name}_hard"] = {d: [x.shape[1] for x in tables[d]] for d in DEPTHS}
    rows = [
        {"x": step, "y": float(np.mean(logp)), "series": mix, "panel": f"{s}-{d}", "world": w}
        for w, r in enumerate(results)
        for s in SPECTRA
        for d in DEPTHS
        for mix in MIXES
        for step, logp in enumerate(r[s][mix][d])
        if logp
    ]
    wrong = [(mix, depth) for mix in ("short", "foreign") for depth in DEPTHS]
    return Finding(
        effects={
            "relay-without-gap": [Effect(f"no-gap-{d}", gains("no-gap", "easier", d), low=3.0) for d in DEPTHS],
            "no-relay-with-gap": [Effect(f"gap-{d}", gains("gap", "easier", d), high=3.0) for d in DEPTHS],
            "wrong-mixes": [Effect(f"{mix}-{d}", gains("no-gap", mix, d), high=3.0) for mix, d in wrong],
            "more-than-short": [Effect(f"no-gap-{d}", [ahead(r, d) for r in results], low=1.0) for d in DEPTHS],
        },
        values=values,
        plots=[Plot("relay", rows)],
    )


STUDY = Study("relay", _measure, _judge)
