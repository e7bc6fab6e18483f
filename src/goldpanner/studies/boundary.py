"""How a sentence is judged: one outcome against one variable x, run by run, and where the outcome sets in.

A run is one world and one seed of RL; it counts once, however many problems it holds. Its edges come from an isotonic
fit of the outcome on x: `low` is the greatest x at which the fitted share is at most .1, `high` the least x at which it
is at least .9. The interval of the boundary reaches from the lowest world's `low` to the highest world's `high`: it is
the spread between worlds, and no number of problems narrows it. Beyond the interval the sentence is true on one side
and false on the other; within it, and outside the range of x that was tried, it is not known.

A run counts only where its treatment took: the same recipe lifted a warm arm. "Nothing rises" is worth something only
where a positive control rose: in more than a tenth of the same units.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy.optimize import isotonic_regression

from goldpanner.errors import InputError
from goldpanner.store.argument import BoundaryRecord, BoxRecord, CoursePoint, RunEdges, Side
from goldpanner.store.findings import Phase

R = TypeVar("R")
SELDOM, MOSTLY = 0.1, 0.9
"""Shares of the outcome below and above which it counts as absent and as present."""
CONFIRMATION = 100
"""Worlds with this seed or a higher one were run after the boundary was fitted."""


@dataclass(frozen=True)
class ClaimUnit:
    """One problem, or one arm, of a run."""

    x: float
    """The boundary variable, >= 0."""
    outcome: bool
    """Whether the outcome came about under the treatment."""
    control: bool | None = None
    """Whether it did under the positive control; None: there was none here."""


@dataclass(frozen=True)
class ClaimRun:
    """What one independent run says of a sentence."""

    units: Sequence[ClaimUnit]
    warm: float
    """By how much the same recipe lifted P in its warm arm."""
    world: int = 0
    seed: int = 0
    """Of the treatment."""


@dataclass(frozen=True)
class Claim(Generic[R]):
    """The primary claim on one sentence: which units a study's result holds, and which way the outcome goes."""

    units: Callable[[R, bool], ClaimRun]
    """Result of a world, and whether the treatment is switched off (the base stands in its place) -> its run."""
    true_side: Side
    """On which side of the boundary the sentence is true."""
    needed: float
    """Least lift of the warm arm that shows that the treatment took."""
    falls: bool = False
    """Whether the outcome comes about below the boundary instead of above it."""
    treatment_is_rl: bool = True


def edges(units: Sequence[ClaimUnit], falls: bool = False) -> tuple[float | None, float | None]:
    """Return (low, high): the greatest x below the boundary and the least x above it, from an isotonic fit.

    None where the fitted share never comes to .1, or never to .9: all units beyond that end alike, or x does not order
    them. Raises InputError for no unit and for an x that is negative or not a number.
    """
    if not units or any(not unit.x >= 0 for unit in units):
        raise InputError(f"a boundary needs units with x >= 0; there are {len(units)}")
    values, where = np.unique([unit.x for unit in units], return_inverse=True)
    weights = np.bincount(where).astype(float)
    shares = np.bincount(where, weights=[unit.outcome != falls for unit in units]) / weights
    fitted = isotonic_regression(shares, weights=weights).x
    below, above = values[fitted <= SELDOM], values[fitted >= MOSTLY]
    return (float(below[-1]) if len(below) else None), (float(above[0]) if len(above) else None)


def judge_claim(claim: Claim[R], runs: Sequence[ClaimRun]) -> BoundaryRecord:
    """Fit the boundary on the exploration runs; return it with what lies on each side, in both phases."""
    taken = [run for run in runs if run.warm >= claim.needed]
    explored = [run for run in taken if run.world < CONFIRMATION]
    fits = [edges(run.units, claim.falls) for run in explored]
    lows = [low for low, _ in fits if low is not None]
    highs = [high for _, high in fits if high is not None]
    low, high = min(lows, default=None), max(highs, default=None)
    if low is not None and high is not None and low > high:  # worlds contradict each other over the whole stretch
        low, high = high, low
    phases: tuple[tuple[Phase, Sequence[ClaimRun]], ...] = (
        ("exploration", explored),
        ("confirmation", [run for run in taken if run.world >= CONFIRMATION]),
    )
    sides: tuple[tuple[Side, Callable[[float], bool]], ...] = (
        ("below", lambda x: low is not None and x <= low),
        ("above", lambda x: high is not None and x >= high),
    )
    boxes = {(phase, side): _box(phase, side, chosen, inside) for phase, chosen in phases for side, inside in sides}
    idle: Side = "above" if claim.falls else "below"
    idle_box = boxes["exploration", idle]
    tried = [unit.x for run in taken for unit in run.units]
    return BoundaryRecord(
        low=low,
        high=high,
        bracketed=sum(low is not None and high is not None for low, high in fits),
        least=min(tried, default=None),
        greatest=max(tried, default=None),
        runs=tuple(RunEdges(world=r.world, seed=r.seed, warm=round(r.warm, 4), took=r in taken,
                            units=len(r.units), edges=edges(r.units, claim.falls)) for r in runs),
        boxes=tuple(boxes.values()),
        course=tuple(point for phase, chosen in phases for point in _course(phase, chosen)),
        true_side=claim.true_side,
        idle_side=idle,
        needed=claim.needed,
        controlled=idle_box.control_outcomes > SELDOM * idle_box.controls,
    )  # fmt: skip


def _box(phase: Phase, side: Side, runs: Sequence[ClaimRun], inside: Callable[[float], bool]) -> BoxRecord:
    units = [unit for run in runs for unit in run.units if inside(unit.x)]
    controls = [unit.control for unit in units if unit.control is not None]
    return BoxRecord(
        phase=phase,
        side=side,
        runs=sum(any(inside(unit.x) for unit in run.units) for run in runs),
        units=len(units),
        outcomes=sum(unit.outcome for unit in units),
        controls=len(controls),
        control_outcomes=sum(controls),
    )


def _course(phase: Phase, runs: Sequence[ClaimRun]) -> Iterator[CoursePoint]:
    """Yield the outcome by third of a decade of x."""
    bins: dict[float, list[ClaimUnit]] = {}
    for unit in (unit for run in runs for unit in run.units):
        bins.setdefault(math.floor(3 * math.log10(unit.x)) if unit.x > 0 else -math.inf, []).append(unit)
    for place in sorted(bins):
        units = bins[place]
        controls = [unit.control for unit in units if unit.control is not None]
        x = 0.0 if place == -math.inf else math.exp(sum(math.log(unit.x) for unit in units) / len(units))
        yield CoursePoint(
            phase=phase, x=x, units=len(units), outcomes=sum(unit.outcome for unit in units),
            controls=len(controls), control_outcomes=sum(controls),
        )  # fmt: skip


def gained(before: float, after: float) -> bool:
    """Whether a problem went from log P below .1 to log P of .5 at least (nats)."""
    return before < math.log(0.1) and after >= math.log(0.5)
