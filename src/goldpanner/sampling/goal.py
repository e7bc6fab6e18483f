"""Adaptive sampling: which problems get more samples, and when to stop.

`Goal` says of counts which problems are open and which come first; `draw` asks it after every round. `in_process` runs
a round through `rollout` here, `ray_workers.Workers` runs it on many machines. Nothing but the stored samples is
remembered: stopped anywhere, the same call goes on.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count as count_up
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from goldpanner.errors import InputError
from goldpanner.measure import sequential
from goldpanner.measure.intervals import check_level
from goldpanner.policies.base import Policy
from goldpanner.sampling.rollout import Sink, count, rollout
from goldpanner.types import Counts, FloatArray, IntArray, Problem, Sample, SamplingParams
from goldpanner.verify import Verifier

BLOCK = 16
"""Samples a problem gets in its first round, and at least in every further one."""
GROWTH = 4
"""A later round adds a quarter of what the problem has: few rounds, little drawn past the moment of settling."""


MOST = 4096
"""Samples a problem gets at most where a goal decides: one beside a threshold would never settle."""


@dataclass(frozen=True)
class Goal:
    """When a problem needs no further samples, and which open problem is served first.

    `Goal(most=64)` is 64 samples of every problem. `Goal("settled", 4096, budget=20_000)` stops a problem when its
    stratum is known, and spends 20,000 samples where least is known. `docs/sampling.md` has the rules and what they
    save. Raises InputError for values that do not go together.
    """

    kind: str = "fixed"
    """`fixed`: a problem needs `most` samples. `halfwidth`: the confidence sequence of its P must be narrower than
    +-`width`. `settled`: that sequence must lie within one zone: a stratum of the boundary, or with `group` a state of
    its groups, or with `base` higher than the base's P, lower, or within `margin` of it."""
    most: int = 64
    """Samples of one problem at most, whatever the goal, those stored before included."""
    width: float = 0.05
    """Half-width of `halfwidth`, between 0 and 0.5."""
    group: int | None = None
    """Group size G: `settled` then means that groups of G are shown to be mostly mixed, all wrong or all correct."""
    budget: int | None = None
    """Samples of all problems together at most, those stored before included."""
    level: float = 0.95
    """Coverage of each problem's confidence sequence (`measure.sequential`)."""
    base: Counts | None = field(default=None, compare=False, repr=False)
    """Counts of the policy that this one is compared with, on the same problems; they do not grow."""
    margin: float = 0.1
    """Difference of two P up to which there is no material change."""

    def __post_init__(self) -> None:
        check_level(self.level)
        if self.kind not in ("fixed", "halfwidth", "settled"):
            raise InputError(f"goal: kind is {self.kind!r}; give fixed, halfwidth or settled")
        if self.most < 1 or (self.budget is not None and self.budget < 1):
            raise InputError(f"goal: at most {self.most} samples a problem, budget {self.budget}; give numbers >= 1")
        if not 0 < self.width < 0.5:
            raise InputError(f"goal: half-width is {self.width:g}; give a number between 0 and 0.5")
        if self.group is not None and self.kind != "settled":
            raise InputError(f"goal: a group size ({self.group}) goes with 'settled' alone; leave it out")
        if self.base is not None and (self.kind != "settled" or self.group is not None):
            raise InputError("goal: a comparison goes with 'settled' alone, without a group size; leave the other out")
        if not 0 < self.margin < 1:
            raise InputError(f"goal: margin is {self.margin:g}; give a number between 0 and 1")
        _ = self.cuts  # refuses a group that is too small

    @classmethod
    def read(
        cls,
        text: str | None = None,
        most: int | None = None,
        group: int | None = None,
        budget: int | None = None,
        base: Counts | None = None,
        margin: float | None = None,
    ) -> "Goal":
        """Return the goal that options stand for; a budget alone is spent on settling the strata.

            >>> Goal.read("halfwidth<0.05").kind
            'halfwidth'

        Args:
            text: `settled` or `halfwidth<0.05`.
            most: samples of a problem at most; None: 64, with any other of these 4,096.
            group: group size G; the problems are then settled by whether their groups would be mixed.
            budget: samples in all.
            base: counts of the policy to compare with.
            margin: difference of P that counts as equal to the base's; None: 0.1.

        Raises:
            InputError: another text, or numbers that do not go together.
        """
        if text is None and group is None and budget is None and base is None:
            return cls(most=64 if most is None else most)
        most = MOST if most is None else most
        if text is None or text.strip() == "settled":
            compared = {} if base is None or margin is None else {"margin": margin}
            return cls("settled", most, group=group, budget=budget, base=base, **compared)
        number = re.fullmatch(r"\s*halfwidth\s*<\s*([0-9.eE+-]+)\s*", text)
        try:
            width = float(number[1]) if number else None
        except ValueError:
            width = None
        if width is None:
            raise InputError(f"--until is {text!r}; write settled, or halfwidth<0.05")
        return cls("halfwidth", most, width, group, budget, base=base)

    @cached_property
    def cuts(self) -> FloatArray:
        """Values of P between the zones that a problem is to settle in."""
        return sequential.strata_cuts() if self.group is None else sequential.group_cuts(self.group)

    def zone_counts(self, counts: Counts) -> dict[str, int]:
        """Return how many problems of `counts` are settled in which zone, `open` last.

        >>> Goal("settled", 256).zone_counts(Counts.of([256, 256], [0, 250]))
        {'rare': 1, 'reachable': 0, 'easy': 1, 'open': 0}
        """
        zone_of = self._settled(counts)[0]
        names = sequential.STRATA if self.group is None else sequential.GROUPS
        names = names if self.base is None else sequential.CHANGES
        problems = dict.fromkeys(names, 0)
        for zone, name in enumerate(names):
            problems[name] += int((zone_of == zone).sum())
        return {**problems, "open": int((zone_of < 0).sum())}

    def open_problems(self, counts: Counts) -> NDArray[np.bool_]:
        """Return which problems of `counts` do not meet the goal yet, however many samples they have, shape (P,)."""
        if self.kind == "fixed":
            return counts.n < self.most
        if self.kind == "halfwidth":
            low, high = sequential.confidence_sequence(counts.c, counts.n, counts.unjudged, self.level)
            return (high - low) / 2 >= self.width
        return self._settled(counts)[0] < 0

    def undecidable(self, counts: Counts) -> NDArray[np.bool_]:
        """Return which problems of `counts` stay open because the base's interval is too wide, shape (P,).

        More samples of this policy cannot help them, so they get none.
        """
        return self._settled(counts)[1]

    def next(self, counts: Counts) -> IntArray:
        """Return how many samples each problem gets in the next round, shape (P,): all 0 at the goal or a limit.

        With a budget a round serves the quarter of the open problems that is least settled: by the chance that P does
        not lie in the zone it seems to lie in (`sequential.misplaced`) for each sample already spent there, so that a
        problem beside a threshold does not eat the budget; or by the widest interval. Without one, all open problems.

        Args:
            counts: samples so far.
        """
        n = counts.n
        served = self.open_problems(counts) & (n < self.most) & ~self.undecidable(counts)
        if self.kind == "fixed" and self.budget is None:
            return np.where(served, self.most - n, 0)
        left = np.iinfo(np.int64).max if self.budget is None else max(self.budget - int(n.sum()), 0)
        urgency = self._urgency(counts)
        order = np.argsort(np.where(served, -urgency, np.inf), kind="stable")[: int(served.sum())]
        if self.budget is not None and (n[order] > 0).all():
            order = order[: -(-len(order) // 4)]
        add = np.zeros(len(counts), np.int64)
        add[order] = np.minimum(np.maximum(n[order] // GROWTH, BLOCK), self.most - n[order])
        before = np.cumsum(add[order]) - add[order]
        add[order] = np.clip(left - before, 0, add[order])
        return add

    def forecast(self, counts: Counts) -> int:
        """Return about how many samples there will be in all when the drawing ends; `counts` are those so far."""
        most = np.maximum(counts.n, self.most)
        if self.kind == "settled":
            need = sequential.samples_to_settle(counts.c, counts.n, self._cuts_of(counts), self.most, self.level)
            need = np.where(self.undecidable(counts), counts.n, need)
        elif self.kind == "halfwidth":  # 2.8 standard errors at 95%: wider than a fixed interval's 2
            p = (counts.c + 1) / (counts.n + 2)
            need = np.ceil(2.8**2 * p * (1 - p) / self.width**2).astype(np.int64)
        else:
            need = most
        total = int(np.where(self.open_problems(counts), np.clip(need, counts.n, most), counts.n).sum())
        return total if self.budget is None else min(total, max(self.budget, int(counts.n.sum())))

    def _settled(self, counts: Counts) -> tuple[IntArray, NDArray[np.bool_]]:
        """Return the zone that holds each problem (-1: open), and which problems further samples cannot settle."""
        if self.base is not None:
            return sequential.change(counts, self._base_of(counts), self.margin, self.level)
        low, high = sequential.confidence_sequence(counts.c, counts.n, counts.unjudged, self.level)
        return sequential.zone(low, high, self.cuts), np.zeros(len(counts), np.bool_)

    def _cuts_of(self, counts: Counts) -> FloatArray:
        """Return the values of P between the zones: the same for all problems, or the ends of the base's interval."""
        if self.base is None:
            return self.cuts
        base = self._base_of(counts)
        return np.stack(sequential.confidence_sequence(base.c, base.n, base.unjudged, self.level), axis=-1)

    def _base_of(self, counts: Counts) -> Counts:
        """Return the base's counts of the same problems. Raises InputError where it has none of some."""
        assert self.base is not None
        place = {problem: at for at, problem in enumerate(self.base.ids)}
        if missing := [problem for problem in counts.ids if problem not in place]:
            raise InputError(
                f"{len(missing)} of {len(counts)} problems have no samples of the policy compared with (first "
                f"{missing[0]}); draw them first, with the same task, number of problems and seed"
            )
        return self.base.select([place[problem] for problem in counts.ids])

    def _urgency(self, counts: Counts) -> FloatArray:
        first = counts.n == 0
        if self.kind == "settled":
            judged = np.maximum(counts.judged, 1)
            chance = sequential.misplaced(np.minimum(counts.c, judged), judged, self._cuts_of(counts))[1]
            return np.where(first, np.inf, chance / np.maximum(counts.n, 1))
        if self.kind == "halfwidth":
            low, high = sequential.confidence_sequence(counts.c, counts.n, counts.unjudged, self.level)
            return np.where(first, np.inf, high - low)
        return np.where(first, np.inf, -counts.n.astype(np.float64))


@dataclass(frozen=True)
class Portion:
    """Counts and tokens of a portion of a round, whose samples are stored already, perhaps by another machine."""

    counts: Counts
    tokens: int | None
    """Of the completions, None where the policy does not give them."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Portion":
        """Count samples and their tokens."""
        tokens = [sample.completion.tokens for sample in samples]
        return cls(count([samples]), None if None in tokens else sum(len(each or ()) for each in tokens))


RunRound = Callable[[Sequence[Problem], Sequence[tuple[int, ...]]], Iterator[Portion]]
"""Runs a round: draws the samples with these indices of each problem, in any order, and yields portions, each after its
samples were handed to the store."""


def in_process(
    policy: Policy,
    verifiers: Sequence[Verifier],
    params: SamplingParams,
    *,
    seed: int = 0,
    sink: Sink | None = None,
    run: str = "",
) -> RunRound:
    """Return what runs a round in this process, by `rollout`.

    Args:
        policy: what is sampled.
        verifiers: what judges; the first one's verdict stands with the sample.
        params: how completions are drawn.
        seed: seed of the samples.
        sink: takes the samples, usually a store.
        run: name of the run that they belong to.
    """

    def run_round(problems: Sequence[Problem], indices: Sequence[tuple[int, ...]]) -> Iterator[Portion]:
        for samples in rollout(policy, problems, verifiers, params, n=indices, seed=seed, sink=sink, run=run):
            yield Portion.of(samples)

    return run_round


@dataclass(frozen=True)
class Progress:
    """Where a drawing stands after a portion of a round."""

    samples: int
    """Samples of all problems, those stored before included."""
    expected: int
    """About how many there will be in the end."""
    met: int
    """Problems that need no more, as of the beginning of the round."""
    new: int
    """Samples of this call."""
    tokens: int | None
    """Tokens of this call's completions, None where the policy does not give them."""


def draw(
    problems: Sequence[Problem],
    goal: Goal,
    run_round: RunRound,
    *,
    counts: Counts,
    have: Mapping[str, set[int]],
) -> Iterator[Progress]:
    """Draw round after round until the goal or a limit is reached; yield where it stands, portion by portion.

    Args:
        problems: P problems.
        goal: when a problem needs no more.
        run_round: what draws a round, e.g. `in_process(policy, verifiers, params)`.
        counts: of the samples there are, one row per problem, in this order.
        have: the indices already drawn under this policy, params and seed, per problem id; new ones fill the gaps.
    """
    if counts.ids != tuple(problem.id for problem in problems):
        raise InputError("draw: the counts are not those of these problems, in this order")
    row_of = {problem: row for row, problem in enumerate(counts.ids)}
    indices = {problem: set(have.get(problem, ())) for problem in row_of}
    table = np.stack(counts.columns)
    new: int = 0
    tokens: int | None = 0
    while (share := goal.next(counts)).any():
        rows, met = np.flatnonzero(share).tolist(), int((~goal.open_problems(counts)).sum())
        expected = goal.forecast(counts)
        numbers = [_free_indices(indices[counts.ids[row]], int(share[row])) for row in rows]
        for row, added in zip(rows, numbers):
            indices[counts.ids[row]].update(added)
        for portion in run_round([problems[row] for row in rows], numbers):
            part = portion.counts
            table[:, [row_of[problem] for problem in part.ids]] += part.columns
            new += int(part.n.sum())
            tokens = None if tokens is None or portion.tokens is None else tokens + portion.tokens
            total = int(table[0].sum())
            yield Progress(total, max(expected, total + 1), met, new, tokens)
        counts = Counts(counts.ids, *table)
    if new:
        total = int(table[0].sum())
        yield Progress(total, total, int((~goal.open_problems(counts)).sum()), new, tokens)


def _free_indices(taken: set[int], size: int) -> tuple[int, ...]:
    """Return the `size` smallest indices that are not taken."""
    return tuple(islice((index for index in count_up() if index not in taken), size))
