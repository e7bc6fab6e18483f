"""Before paying for an RL run: which group size, and which problems now, later, after SFT, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure import intervals
from goldpanner.measure.groups import shares
from goldpanner.measure.mixture import Grid, below
from goldpanner.measure.posterior import RateDistribution
from goldpanner.measure.thresholds import AFFORDABLE, MIXED_AT
from goldpanner.result import Result
from goldpanner.types import Counts, Estimate, FloatArray

Assignment = Literal["needs SFT first", "train later", "train now", "solved"]
ASSIGNMENTS: tuple[Assignment, ...] = ("needs SFT first", "train later", "train now", "solved")
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class SizeOption:
    """What one group size costs and gives."""

    size: int
    mixed_share: Estimate
    mixed_per_step: Estimate
    """Mixed groups per step at the planned number of prompts."""
    cost: Estimate
    """Rollouts per mixed group, G / mixed share; its upper end is infinite where the mixed share may be 0."""


@dataclass(frozen=True)
class ProblemPlan:
    """Where one problem belongs, and on what evidence."""

    id: str
    n: int
    c: int
    assignment: Assignment
    probability: float
    """Posterior probability that the assignment is right, given the pilot."""
    probabilities: tuple[float, ...]
    """Of every assignment, in the order of ASSIGNMENTS."""
    success: float
    """Posterior predictive chance of at least one success within the planned rollouts."""
    p: Estimate
    """P(correct): the posterior mean, with the exact interval of its own counts."""
    rollouts: float
    """About 3/p: rollouts for a 95% chance of one success, at the posterior mean of P."""


@dataclass(frozen=True, repr=False)
class Plan(Result):
    """The answer of `plan`."""

    sizes: tuple[SizeOption, ...]
    recommended: int
    rollouts_per_problem: float
    thresholds: tuple[float, float, float]
    """P below the first: needs SFT; below the second: later; above the third: solved."""
    problems: tuple[ProblemPlan, ...]
    unknown: tuple[str, ...]
    """Problems without a judged sample: no assignment."""
    misplaced: Estimate
    """How many problems are expected to stand in the wrong class."""
    level: float

    def ids(self, assignment: Assignment) -> list[str]:
        """Return the problems of one class, as `export` wants them."""
        return [problem.id for problem in self.problems if problem.assignment == assignment]

    @property
    def summary(self) -> str:
        """The group size, and how many problems belong to each class."""
        classes = ", ".join(f"{len(self.ids(name)):,} {name}" for name in reversed(ASSIGNMENTS))
        unknown = f", {len(self.unknown):,} without a judged sample" if self.unknown else ""
        return (
            f"Groups of {self.recommended}; then each problem gets about {self.rollouts_per_problem:,.0f} rollouts. "
            f"Problems: {classes}{unknown}."
        )

    @property
    def advice(self) -> str:
        """What to do where no problem is ready to train on; empty where one is."""
        if self.ids("train now"):
            return ""
        return (
            "Harder problems." if 2 * len(self.ids("solved")) > len(self.problems) else "SFT first, or easier problems."
        )

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {
            "recommended_G": self.recommended,
            "rollouts_per_problem": self.rollouts_per_problem,
            "thresholds": dict(zip(("needs_sft_below", "later_below", "solved_above"), self.thresholds)),
            "groups": {
                str(o.size): {
                    "mixed": o.mixed_share.to_json(),
                    "mixed_per_step": o.mixed_per_step.to_json(),
                    "cost": o.cost.to_json(),
                }
                for o in self.sizes
            },
            "assigned": {name: len(self.ids(name)) for name in ASSIGNMENTS} | {"unknown": len(self.unknown)},
            "misplaced": self.misplaced.to_json(),
            "problems": [
                {
                    "id": p.id,
                    "n": p.n,
                    "c": p.c,
                    "assignment": p.assignment,
                    "probability": p.probability,
                    "success": p.success,
                    "p": p.p.to_json(),
                    "rollouts_for_one_success": p.rollouts,
                }
                for p in self.problems
            ],
        }


def rollouts_for_success(p: FloatArray | float, chance: float = 0.95) -> FloatArray:
    """Return how many rollouts give at least one success with that chance: log(1 - chance) / log(1 - p), about 3/p.

    >>> float(rollouts_for_success(0.01).round())
    298.0
    """
    p = np.asarray(p, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.maximum(np.where(p > 0, np.log1p(-chance) / np.log1p(-p), np.inf), 1.0)


def plan(
    counts: Counts,
    *,
    steps: int = 100,
    prompts: int = 64,
    sizes: Sequence[int] = SIZES,
    group: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    rates: RateDistribution | None = None,
) -> Plan:
    """Plan an RL run of `steps` steps of `prompts` groups from a pilot's counts.

    Every problem's P has a posterior: its own counts and the distribution of P over all problems. A problem is

    - *train now* where a group of G is mixed with a chance of at least 1/4 (P in [p_now, 1 - p_now]),
    - *solved* above that,
    - *needs SFT first* where the planned rollouts of the problem probably see no success (1-(1-P)^R < 1/2),
    - *train later* in between: success will come, but most groups are all wrong until other problems have lifted it,

    whichever is the most probable.

        >>> plan(Counts.of([16] * 20, [2] * 20), steps=100, prompts=16).ids("train now")[:2]
        ['0', '1']

    Args:
        counts: the pilot.
        steps: RL steps.
        prompts: groups of a step.
        sizes: group sizes to compare, each at least 2.
        group: group size G; None: the largest of `sizes` whose mixed group costs at most 1.5 times the cheapest.
        level: coverage of the intervals.
        seed: seed of the draws from the posterior.
        rates: distribution of P, if it is fitted already.

    Raises:
        InputError: sizes below 2, steps or prompts below 1, or nothing judged.
    """
    intervals.check_level(level)
    if steps < 1 or prompts < 1:
        raise InputError(f"plan: steps = {steps}, prompts per step = {prompts}; both must be >= 1")
    if not sizes or min(sizes) < 2 or (group is not None and group < 2):
        raise InputError(f"plan: group sizes {list(sizes)!r}; a group needs at least 2 samples")
    rates = rates or RateDistribution.of(counts, seed)
    options = _options(rates, sorted({*sizes, *([group] if group else [])}), prompts, level)
    recommended = group or _recommend(options)
    rollouts = steps * prompts * recommended / len(counts)
    edges = thresholds(recommended, rollouts)
    problems, misplaced = _assign(counts, rates, edges, rollouts, level)
    judged = counts.judged > 0
    unknown = tuple(id_ for id_, some in zip(counts.ids, judged) if not some)
    return Plan(tuple(options), recommended, rollouts, edges, problems, unknown, misplaced, level)


def thresholds(size: int, rollouts: float) -> tuple[float, float, float]:
    """Return the P that separate needs-SFT | later | now | solved, for groups of `size` and R rollouts a problem.

    A group is mixed with chance 1/4 at the second and the third; R rollouts see a success with chance 1/2 at the first.

        >>> [round(p, 3) for p in thresholds(16, 100)]
        [0.007, 0.018, 0.982]
    """
    now = float(brentq(lambda p: float(shares(p, size)[0]) - MIXED_AT, 1e-9, 0.5))
    sft = float(-np.expm1(np.log(0.5) / max(rollouts, 1.0)))
    return min(sft, now), now, 1 - now


def _options(rates: RateDistribution, sizes: Sequence[int], prompts: int, level: float) -> list[SizeOption]:
    def mixed(grid: Grid) -> FloatArray:
        return np.stack([shares(grid.p, size)[0] for size in sizes])

    options = []
    for size, share in zip(sizes, rates.estimate(mixed, level)):
        scaled = Estimate(
            share.value * prompts, share.low * prompts, share.high * prompts, level, share.method, share.n
        )
        value, low, high = (size / s if s > 0 else np.inf for s in (share.value, share.high, share.low))
        options.append(SizeOption(size, share, scaled, Estimate(value, low, high, level, share.method, share.n)))
    return options


def _recommend(options: Sequence[SizeOption]) -> int:
    cheapest = min(option.cost.value for option in options)
    return max(option.size for option in options if option.cost.value <= AFFORDABLE * cheapest)


def _assign(
    counts: Counts, rates: RateDistribution, edges: tuple[float, float, float], rollouts: float, level: float
) -> tuple[tuple[ProblemPlan, ...], Estimate]:
    ensemble = rates.judged
    tally, grid = ensemble.tally, ensemble.grid
    cuts = np.stack([below(grid, edge) for edge in edges])
    classes = np.diff(np.vstack([np.zeros(len(grid.p)), cuts, np.ones(len(grid.p))]), axis=0)
    per_draw = np.stack([ensemble.of_pairs(value) for value in classes])  # class, draw, pair
    mean = per_draw.mean(axis=1)
    best = mean.argmax(axis=0)
    wrong = 1 - per_draw[best, :, np.arange(len(best))]  # pair, draw
    success = ensemble.of_pairs(1 - grid.failing(rollouts)).mean(axis=0)
    p_mean = ensemble.of_pairs(grid.p).mean(axis=0)
    low, high = intervals.proportion(counts.c, counts.n, counts.unjudged, level)
    plans = []
    for row, position in zip(tally.index.tolist(), tally.kept.tolist()):
        p = float(p_mean[row])
        estimate = Estimate(
            p, min(float(low[position]), p), max(float(high[position]), p), level, "posterior mean", int(tally.n[row])
        )
        plans.append(
            ProblemPlan(
                counts.ids[position],
                int(counts.n[position]),
                int(counts.c[position]),
                ASSIGNMENTS[int(best[row])],
                float(mean[best[row], row]),
                tuple(float(x) for x in mean[:, row]),
                float(success[row]),
                estimate,
                float(rollouts_for_success(p)),
            )
        )
    expected = tally.problems @ wrong
    noise = rng.stream("bootstrap", ensemble.seed, "misplaced").standard_normal(len(expected))
    count = np.clip(expected + np.sqrt(tally.problems @ (wrong * (1 - wrong))) * noise, 0, tally.size)
    low_count, high_count = np.quantile(count, [(1 - level) / 2, (1 + level) / 2])
    value = float(np.clip(expected.mean(), low_count, high_count))
    misplaced = Estimate(value, float(low_count), float(high_count), level, "posterior", tally.size)
    return tuple(plans), misplaced
