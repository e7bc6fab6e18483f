"""The primary claim on each sentence: what a unit is, its x, the outcome, the warm arm and the positive control.

Each function reads the result of one world as its study keeps it. With `off` the base stands in the place of RL, so
that a test can ask whether a sentence would get evidence from a run in which nothing was trained.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from goldpanner.measure.thresholds import SOLVED
from goldpanner.store.argument import AnswerRecord, PointRecord, ReachRecord, StoryRecord
from goldpanner.studies.boundary import Claim, ClaimRun, ClaimUnit, gained
from goldpanner.studies.statistics import exact_pass_curve, log_mean_p

if TYPE_CHECKING:
    from goldpanner.studies.claims.cold_start import ColdStarts
    from goldpanner.studies.claims.composition_by_exposure import Compositions
    from goldpanner.studies.claims.what_creates import Alone, Created, Shared

WARM, ABSENT = "exposure-1%", "exposure-0%"
KS = tuple(sorted({round(10 ** (i / 4)) for i in range(25)}))
"""1 ... 1e6, four a decade."""
REACH = (1, 16, 256)
"""Samples that people draw."""
HARD = 0.1
"""A problem that the base solves less often can be gained."""
CHAINS = 0.72
"""Share of chains among the documents of the study of composition."""
STEP_ROLLOUTS = 768
"""Rollouts of a step of the study of cold starts."""


def lifted(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the rise of the mean P, from log P."""
    return mean_p(after) - mean_p(before)


def mean_p(logp: Sequence[float]) -> float:
    """Return the mean P, from log P."""
    return float(np.exp(logp).mean())


def is_solved(before: Sequence[float], after: Sequence[float]) -> bool:
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


def gains(result: "Created", off: bool) -> ClaimRun:
    """A unit is a problem on depths 1 and 2; x: right statements of its weakest fact that the run could expect."""
    spectra, warm = _shared(result, off)
    units = [
        ClaimUnit(result["rollouts"]["fact"] * float(np.exp(weak)), gained(base, rl), gained(base, control))
        for s in spectra
        for base, rl, control, weak in zip(s["base"], s["rl"], s["control"], s["weakest"])
        if base < np.log(HARD)
    ]
    return ClaimRun(units, warm)


def overtakes(result: "Created", off: bool) -> ClaimRun:
    """A unit is a k in one spectrum; the outcome: pass@1 after RL is above the base's pass@k."""
    spectra, warm = _shared(result, off)
    units = [
        ClaimUnit(float(k), mean_p(s["rl"]) > curve, mean_p(s["control"]) > curve)
        for s in spectra
        for k, curve in zip(KS, exact_pass_curve(s["base"], KS))
    ]
    return ClaimRun(units, warm)


def relations(
    x: "Callable[[str, Alone, int], float]", outcome: Callable[[Sequence[float], Sequence[float]], bool]
) -> "Callable[[Created, bool], ClaimRun]":
    """Return a claim's reader: a unit is a special relation trained alone; the warm arm is the commonest one.

    `x` is called with the relation's name, its arm and the rollouts of the run.
    """

    def read(result: "Created", off: bool) -> ClaimRun:
        arms: Mapping[str, Alone] = result["alone"]
        if off:
            arms = {name: {**arm, "rl": arm["base"], "hits": 0} for name, arm in arms.items()}
        units = [
            ClaimUnit(
                x(name, arm, result["rollouts"]["alone"]), *(outcome(arm["base"], arm[k]) for k in ("rl", "control"))
            )
            for name, arm in arms.items()
            if mean_p(arm["base"]) < HARD
        ]
        return ClaimRun(units, lifted(arms[WARM]["base"], arms[WARM]["rl"]))

    return read


def exposure(name: str) -> float:
    """Return the share of the documents that ask about a special relation, from its name."""
    return float(name.removeprefix("exposure-").removesuffix("%")) / 100 if "%" in name else 0.0


def statements(result: "Created", off: bool) -> ClaimRun:
    """A unit is a set of examples; x: how often they state each fact that pretraining never stated."""
    absent, base, usual = result["absent"], result["alone"][ABSENT]["base"], result["shared"]["gap"]
    units = [ClaimUnit(0.0, is_solved(base, absent["manner"]), is_solved(base, absent["teacher"]))]
    units += [
        ClaimUnit(int(name.removeprefix("examples-")) / result["examples_a_statement"], is_solved(base, logp))
        for name, logp in absent.items()
        if name.startswith("examples-")
    ]
    return ClaimRun(units, lifted(usual["base"], usual["control"]))


def coldness(x: Callable[[Any], float]) -> "Callable[[ColdStarts, bool], ClaimRun]":
    """Return a claim's reader: a unit is a level of coldness, the warm arm the warmest, the control 24 examples."""

    def read(result: "ColdStarts", off: bool) -> ClaimRun:
        levels = result["levels"]
        units = [
            ClaimUnit(
                x(arms["0"]), is_solved([], arms["0"]["before" if off else "after"]), is_solved([], arms["24"]["after"])
            )
            for arms in levels.values()
        ]
        warmest = max((arms["0"] for arms in levels.values()), key=lambda arm: mean_p(arm["style"]))
        return ClaimRun(units, lifted(warmest["before"], warmest["before" if off else "after"]))

    return read


def composes(result: "Compositions", off: bool) -> ClaimRun:
    """A unit is a depth in a corpus (2, which RL trains, 3 and 4); x: documents that go so deep; the warm arm: depth 2
    where most documents compose.
    """
    units = []
    for name, corpus in result["corpora"].items():
        for depth in (2, 3, 4):
            before, after = corpus["base"][f"d{depth}"], corpus["base" if off else "rl"][f"d{depth}"]
            control = is_solved([], corpus["control"][f"d{depth}"]) if corpus["control"] else None
            units.append(ClaimUnit(at_depth(exposure(name), depth), lifted(before, after) >= 0.1, control))
    most = result["corpora"][max(result["corpora"], key=exposure)]
    return ClaimRun(units, lifted(most["base"]["d2"], most["base" if off else "rl"]["d2"]))


def at_depth(share: float, depth: int) -> float:
    """Return the share of documents that go to a depth or beyond, from the share that go to depth 2 or beyond.

    Each further depth is rarer by one ratio, and CHAINS of the documents are chains: share = CHAINS ratio^(depth - 1).
    """
    return CHAINS * float((share / CHAINS) ** (depth - 1))


def first_screen(results: "Sequence[Any]") -> AnswerRecord | None:
    """Return what the answer's first screen shows, from the results of `what-creates`; None where there are none."""
    if not results:
        return None
    first: Created = results[0]
    shared, alone = first["shared"]["gap"], first["alone"]
    rows = [(*row, None) for row in zip(*(np.exp(shared[way]).tolist() for way in ("base", "rl", "control")))]
    rows += [(mean_p(a["base"]), mean_p(a["rl"]), mean_p(a["control"]), exposure(name)) for name, a in alone.items()]
    ways = {way: tuple(mean_p(r["absent"][way]) for r in results) for way in first["absent"]}
    ways |= {way: tuple(mean_p(r["alone"][ABSENT][way]) for r in results) for way in ("base", "rl")}
    story = first["story"]
    reach = [
        ReachRecord(spectrum=name, k=k, base=_pass_at(results, name, "base", k), rl=_pass_at(results, name, "rl", k))
        for name in first["shared"]
        for k in REACH
    ]
    return AnswerRecord(
        rollouts=first["rollouts"]["alone"],
        points=tuple(PointRecord(before=b, rl=r, control=c, exposure=share) for b, r, c, share in rows),
        story=StoryRecord(
            prompt=story["prompt"], right=story["right"], mistaken=story["mistaken"],
            p={name: (float(np.exp(right)), float(np.exp(wrong))) for name, (right, wrong) in story["logp"].items()},
        ),
        absent=ways,
        reach=tuple(reach),
    )  # fmt: skip


def _pass_at(results: "Sequence[Any]", spectrum: str, way: str, k: int) -> tuple[float, ...]:
    return tuple(float(exact_pass_curve(result["shared"][spectrum][way], [k])[0]) for result in results)


CLAIMS: Mapping[str, Claim[Any]] = {
    "reweights": Claim(gains, "below", 0.1),
    "approaches": Claim(overtakes, "below", 0.1, falls=True),
    "tiny-amplified": Claim(relations(lambda _, arm, n: n * mean_p(arm["base"]), is_solved), "above", 0.2),
    "zero-stays": Claim(relations(lambda _, arm, n: mean_p(arm["base"]), rose), "below", 0.2),
    "all-wrong": Claim(relations(lambda _, arm, n: arm["hits"], rose), "below", 0.2),
    "cold-model": Claim(coldness(lambda arm: STEP_ROLLOUTS * mean_p(arm["before"])), "below", 0.3),
    "form-only": Claim(statements, "below", 0.1, treatment_is_rl=False),
    "cold-start": Claim(coldness(lambda arm: float(np.exp(np.mean(arm["style"])))), "below", 0.3),
    "composes": Claim(composes, "above", 0.1),
    "no-invention": Claim(relations(lambda name, arm, n: exposure(name), is_solved), "below", 0.2),
}
"""Sentence -> its primary claim. `ceiling` has none yet."""
