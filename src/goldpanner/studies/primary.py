"""The primary claim on each sentence: what a unit is, its x, the outcome, the warm arm and the positive control.

Each function reads the result of one world as its study keeps it. With `off` the base stands in the place of RL, so
that a test can ask whether a sentence would get evidence from a run in which nothing was trained.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from goldpanner.measure.thresholds import SOLVED
from goldpanner.studies.boundary import Claim, Run, Unit, gained
from goldpanner.studies.statistics import exact_pass_curve, log_mean_p

if TYPE_CHECKING:
    from goldpanner.studies.claims.cold_start import ColdStarts
    from goldpanner.studies.claims.composition_by_exposure import Compositions
    from goldpanner.studies.claims.what_creates import Alone, Created, Shared

WARM, ABSENT = "exposure-1%", "exposure-0%"
KS = tuple(sorted({round(10 ** (i / 4)) for i in range(25)}))
"""1 ... 1e6, four a decade."""
HARD = 0.1
"""A problem that the base solves less often can be gained."""
STEP_ROLLOUTS = 768
"""Rollouts of a step of the study of cold starts."""


def lifted(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the rise of the mean P, from log P."""
    return mean_p(after) - mean_p(before)


def mean_p(logp: Sequence[float]) -> float:
    """Return the mean P, from log P."""
    return float(np.exp(logp).mean())


def solved(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the mean P is .5 at least."""
    return mean_p(after) >= SOLVED


def rose(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the mean P rose by a decade at least."""
    return log_mean_p(after) - log_mean_p(before) >= 1


def _shared(result: "Created", off: bool) -> "tuple[list[Shared], float]":
    """Return both spectra, and by how much RL lifted the problems whose P lay in [.05, .95]."""
    spectra = list(result["shared"].values())
    if off:
        spectra = [{**spectrum, "rl": spectrum["base"]} for spectrum in spectra]
    pairs = [(b, a) for s in spectra for b, a in zip(s["base"], s["rl"]) if np.log(0.05) <= b <= np.log(0.95)]
    return spectra, lifted(*zip(*pairs)) if pairs else 0.0


def gains(result: "Created", off: bool) -> Run:
    """A unit is a problem on depths 1 and 2; x: right statements of its weakest fact that the run could expect."""
    spectra, warm = _shared(result, off)
    units = [
        Unit(result["rollouts"]["fact"] * float(np.exp(weak)), gained(base, rl), gained(base, control))
        for s in spectra
        for base, rl, control, weak in zip(s["base"], s["rl"], s["control"], s["weakest"])
        if base < np.log(HARD)
    ]
    return Run(units, warm)


def overtakes(result: "Created", off: bool) -> Run:
    """A unit is a k in one spectrum; the outcome: pass@1 after RL is above the base's pass@k."""
    spectra, warm = _shared(result, off)
    units = [
        Unit(float(k), mean_p(s["rl"]) > curve, mean_p(s["control"]) > curve)
        for s in spectra
        for k, curve in zip(KS, exact_pass_curve(s["base"], KS))
    ]
    return Run(units, warm)


def relations(
    x: "Callable[[str, Alone, int], float]", outcome: Callable[[Sequence[float], Sequence[float]], bool]
) -> "Callable[[Created, bool], Run]":
    """Return a claim's reader: a unit is a special relation trained alone; the warm arm is the commonest one.

    `x` is called with the relation's name, its arm and the rollouts of the run.
    """

    def read(result: "Created", off: bool) -> Run:
        arms: Mapping[str, Alone] = result["alone"]
        if off:
            arms = {name: {**arm, "rl": arm["base"], "hits": 0} for name, arm in arms.items()}
        units = [
            Unit(x(name, arm, result["rollouts"]["alone"]), *(outcome(arm["base"], arm[k]) for k in ("rl", "control")))
            for name, arm in arms.items()
            if mean_p(arm["base"]) < HARD
        ]
        return Run(units, lifted(arms[WARM]["base"], arms[WARM]["rl"]))

    return read


def exposure(name: str) -> float:
    """Return the share of the documents that ask about a special relation, from its name."""
    return float(name.removeprefix("exposure-").removesuffix("%")) / 100 if "%" in name else 0.0


def statements(result: "Created", off: bool) -> Run:
    """A unit is a set of examples; x: how often they state each fact that pretraining never stated."""
    absent, base, known = result["absent"], result["alone"][ABSENT]["base"], result["shared"]["gap"]
    units = [Unit(0.0, solved(base, absent["manner"]), solved(base, absent["teacher"]))]
    units += [
        Unit(int(name.removeprefix("examples-")) / result["examples_a_statement"], solved(base, logp))
        for name, logp in absent.items()
        if name.startswith("examples-")
    ]
    return Run(units, lifted(known["base"], known["control"]))


def cold(x: Callable[[Any], float]) -> "Callable[[ColdStarts, bool], Run]":
    """Return a claim's reader: a unit is a level of coldness, the warm arm the warmest, the control 24 examples."""

    def read(result: "ColdStarts", off: bool) -> Run:
        levels = result["levels"]
        units = [
            Unit(x(arms["0"]), solved([], arms["0"]["before" if off else "after"]), solved([], arms["24"]["after"]))
            for arms in levels.values()
        ]
        warmest = max((arms["0"] for arms in levels.values()), key=lambda arm: mean_p(arm["style"]))
        return Run(units, lifted(warmest["before"], warmest["before" if off else "after"]))

    return read


def composes(result: "Compositions", off: bool) -> Run:
    """A unit is a corpus; x: its share of documents that compose; the outcome: depth 3, untrained, rises by .1."""
    units = []
    for name, corpus in result["corpora"].items():
        after, control = corpus["base" if off else "rl"], corpus["control"]
        rises = lifted(corpus["base"]["d3"], after["d3"]) >= 0.1
        units.append(Unit(exposure(name), rises, solved([], control["d2"]) if control else None))
    most = result["corpora"][max(result["corpora"], key=exposure)]
    return Run(units, lifted(most["base"]["d2"], most["base" if off else "rl"]["d2"]))


CLAIMS: Mapping[str, Claim[Any]] = {
    "reweights": Claim(gains, "below", 0.1),
    "approaches": Claim(overtakes, "below", 0.1, falls=True),
    "tiny-amplified": Claim(relations(lambda _, arm, n: n * mean_p(arm["base"]), solved), "above", 0.2),
    "zero-stays": Claim(relations(lambda _, arm, n: mean_p(arm["base"]), rose), "below", 0.2),
    "all-wrong": Claim(relations(lambda _, arm, n: arm["hits"], rose), "below", 0.2),
    "cold-model": Claim(cold(lambda arm: STEP_ROLLOUTS * mean_p(arm["before"])), "below", 0.3),
    "form-only": Claim(statements, "below", 0.1, treatment_is_rl=False),
    "cold-start": Claim(cold(lambda arm: float(np.exp(np.mean(arm["style"])))), "below", 0.3),
    "composes": Claim(composes, "above", 0.1),
    "no-invention": Claim(relations(lambda name, arm, n: exposure(name), solved), "below", 0.2),
}
"""Sentence -> its primary claim. `ceiling` has none yet."""
