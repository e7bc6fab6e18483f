"""Spending samples well: draw until a goal is met, and where it is furthest from being met.

`Goal` says of counts which problems are open and which come first; `draw` asks it after every round. How a round is
carried out is another matter: `here` draws through `rollout`, `cluster.Workers` does the same on many machines.
Nothing but the stored samples is remembered: stopped anywhere, the same call goes on.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

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


@dataclass(frozen=True)
class Goal:
    """When a problem needs no further samples, and which open problem is served first.

    `fixed`: it has `most` samples. `halfwidth`: the confidence sequence of its P is narrower than +-`width`.
    `settled`: that sequence lies within one stratum of the boundary, or, with `group` = G, shows groups of G to be
    mostly mixed, all wrong or all correct; or, with `base`, it is shown that P is higher or lower than the base's, or
    no more than `margin` away. Whatever the goal, no problem gets more than `most` samples, and all of them together no
    more than `budget`, those stored before included.
    """

    kind: str = "fixed"
    most: int = 64
    width: float = 0.05
    group: int | None = None
    budget: int | None = None
    level: float = 0.95
    base: Counts | None = field(default=None, compare=False, repr=False)
    """Counts of the policy that this one is compared with; they do not grow."""
    margin: float = 0.1
    """Difference of two P that is not material."""

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
        _ = self.cuts  # a group that is too small is said at once

    @classmethod
    def read(cls, text: str, most: int, group: int | None = None, budget: int | None = None) -> "Goal":
        """Return the goal that `settled` or `halfwidth<0.05` stands for. Raises InputError for anything else."""
        if text.strip() == "settled":
            return cls("settled", most, group=group, budget=budget)
        number = re.fullmatch(r"\s*halfwidth\s*<\s*([0-9.eE+-]+)\s*", text)
        try:
            width = float(number[1]) if number else None
        except ValueError:
            width = None
        if width is None:
            raise InputError(f"--until is {text!r}; write settled, or halfwidth<0.05")
        return cls("halfwidth", most, width, group, budget)

    @cached_property
    def cuts(self) -> FloatArray:
        """Values of P between the zones that a problem is to settle in."""
        return sequential.strata_cuts() if self.group is None else sequential.group_cuts(self.group)

    def zones(self, counts: Counts) -> dict[str, int]:
        """Return how many problems are settled in which zone, `open` last."""
        at = self._settled(counts)[0]
        names = sequential.STRATA if self.group is None else sequential.GROUPS
        names = names if self.base is None else sequential.CHANGES
        found = dict.fromkeys(names, 0)
        for i, name in enumerate(names):
            found[name] += int((at == i).sum())
        return {**found, "open": int((at < 0).sum())}

    def unmet(self, counts: Counts) -> NDArray[np.bool_]:
        """Return which problems do not meet the goal yet, however many samples they have."""
        if self.kind == "fixed":
            return counts.n < self.most
        if self.kind == "halfwidth":
            low, high = sequential.confidence_sequence(counts.c, counts.n, counts.unjudged, self.level)
            return (high - low) / 2 >= self.width
        return self._settled(counts)[0] < 0

    def in_vain(self, counts: Counts) -> NDArray[np.bool_]:
        """Return which problems get no more samples although they are open: it is the base that is too little known."""
        return self._settled(counts)[1]

    def next(self, counts: Counts) -> IntArray:
        """Return how many samples each problem gets in the next round: all 0 where the goal or a limit is reached.

        With a budget a round serves the quarter of the open problems that is least settled: by the chance that P does
        not lie in the zone it seems to lie in (`sequential.misplaced`) for each sample already spent there, so that a
        problem beside a threshold does not eat the budget; or by the widest interval. Without one, all open problems.
        """
        n = counts.n
        open_ = self.unmet(counts) & (n < self.most) & ~self.in_vain(counts)
        if self.kind == "fixed" and self.budget is None:
            return np.where(open_, self.most - n, 0)
        left = np.iinfo(np.int64).max if self.budget is None else max(self.budget - int(n.sum()), 0)
        urgency = self._urgency(counts)
        order = np.argsort(np.where(open_, -urgency, np.inf), kind="stable")[: int(open_.sum())]
        if self.budget is not None and (n[order] > 0).all():
            order = order[: -(-len(order) // 4)]
        add = np.zeros(len(counts), np.int64)
        add[order] = np.minimum(np.maximum(n[order] // GROWTH, BLOCK), self.most - n[order])
        before = np.cumsum(add[order]) - add[order]
        add[order] = np.clip(left - before, 0, add[order])
        return add

    def forecast(self, counts: Counts) -> int:
        """Return about how many samples there will be in all when the drawing ends (to show the time left)."""
        most = np.maximum(counts.n, self.most)
        if self.kind == "settled":
            need = sequential.samples_to_settle(counts.c, counts.n, self._cuts_of(counts), self.most, self.level)
            need = np.where(self.in_vain(counts), counts.n, need)
        elif self.kind == "halfwidth":  # 2.8 standard errors at 95%: wider than a fixed interval's 2
            p = (counts.c + 1) / (counts.n + 2)
            need = np.ceil(2.8**2 * p * (1 - p) / self.width**2).astype(np.int64)
        else:
            need = most
        total = int(np.where(self.unmet(counts), np.clip(need, counts.n, most), counts.n).sum())
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
class Drawn:
    """What came of some samples, without them: they are in the store, perhaps from another machine."""

    counts: Counts
    tokens: int | None
    """Of the completions, None where the policy does not give them."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Drawn":
        """Count samples."""
        given = [sample.completion.tokens for sample in samples]
        return cls(count([samples]), None if None in given else sum(len(tokens or ()) for tokens in given))


CarryOut = Callable[[Sequence[Problem], Sequence[tuple[int, ...]]], Iterator[Drawn]]
"""Carries out a round: draws the samples with these indices of each problem, in any order, and says what came, in
portions, each after its samples were handed to the store."""


def here(
    policy: Policy,
    verifiers: Sequence[Verifier],
    params: SamplingParams,
    *,
    seed: int = 0,
    sink: Sink | None = None,
    run: str = "",
) -> CarryOut:
    """Return how a round is carried out in this process: by `rollout`, whose arguments these are."""

    def carry_out(problems: Sequence[Problem], indices: Sequence[tuple[int, ...]]) -> Iterator[Drawn]:
        for samples in rollout(policy, problems, verifiers, params, n=indices, seed=seed, sink=sink, run=run):
            yield Drawn.of(samples)

    return carry_out


@dataclass(frozen=True)
class Progress:
    """Where a drawing stands after a portion of a round."""

    samples: int
    """Of all problems, those stored before included."""
    expected: int
    """About how many there will be in the end."""
    met: int
    """Problems that need no more, as of the beginning of the round."""
    drawn: int
    """Samples of this call."""
    tokens: int | None
    """Tokens of this call's completions, None where the policy does not give them."""


def draw(
    problems: Sequence[Problem],
    goal: Goal,
    carry_out: CarryOut,
    *,
    counts: Counts,
    have: Mapping[str, set[int]],
) -> Iterator[Progress]:
    """Draw round after round until the goal or a limit is reached; yield where it stands, portion by portion.

    Args:
        problems: P problems.
        goal: when a problem needs no more.
        carry_out: what draws a round, e.g. `here(policy, verifiers, params)`.
        counts: of the samples there are, one row per problem, in this order.
        have: the indices already drawn under this policy, params and seed, per problem id; new ones fill the gaps.
    """
    if counts.ids != tuple(problem.id for problem in problems):
        raise InputError("draw: the counts are not those of these problems, in this order")
    place = {problem: at for at, problem in enumerate(counts.ids)}
    indices = {problem: set(have.get(problem, ())) for problem in place}
    table = np.stack(counts.columns)
    drawn: int = 0
    tokens: int | None = 0
    while (share := goal.next(counts)).any():
        wanted, met = np.flatnonzero(share).tolist(), int((~goal.unmet(counts)).sum())
        expected = goal.forecast(counts)
        numbers = [_free(indices[counts.ids[i]], int(share[i])) for i in wanted]
        for i, added in zip(wanted, numbers):
            indices[counts.ids[i]].update(added)
        for part in carry_out([problems[i] for i in wanted], numbers):
            new = part.counts
            table[:, [place[problem] for problem in new.ids]] += new.columns
            drawn += int(new.n.sum())
            tokens = None if tokens is None or part.tokens is None else tokens + part.tokens
            total = int(table[0].sum())
            yield Progress(total, max(expected, total + 1), met, drawn, tokens)
        counts = Counts(counts.ids, *table)
    if drawn:
        total = int(table[0].sum())
        yield Progress(total, total, int((~goal.unmet(counts)).sum()), drawn, tokens)


def _free(taken: set[int], size: int) -> tuple[int, ...]:
    """Return the `size` smallest indices that are not taken."""
    found: list[int] = []
    index = 0
    while len(found) < size:
        if index not in taken:
            found.append(index)
        index += 1
    return tuple(found)
