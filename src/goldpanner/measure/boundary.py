"""The boundary of one model: which problems it reached, which it did not within n, and which nobody can say."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from goldpanner.errors import InputError
from goldpanner.measure.intervals import proportion, upper_bound
from goldpanner.measure.thresholds import EASY, RARE
from goldpanner.result import Brief
from goldpanner.types import Counts, Estimate, FloatArray

State = Literal["reached", "not_reached", "unresolved"]
Stratum = Literal["easy", "reachable", "rare", "not_reached", "unresolved"]


@dataclass(frozen=True, repr=False)
class Boundary(Brief):
    """Every problem's state and stratum, with the exact interval of its P(correct).

    *State*: `reached` if a sample was judged correct; `not_reached` (within n) if each of n >= 1 samples was judged and
    none was correct, with P <= `bound`; `unresolved` if unjudged samples, or a lack of samples, leave it open.
    *Stratum*: `easy`, `reachable` or `rare` only where the whole interval of P lies in [easy, 1], [rare, easy] or
    (0, rare]; `not_reached` as the state; else `unresolved`. No state means "unsolvable": n samples cannot show that.
    """

    counts: Counts
    state: NDArray[np.str_]
    """Shape (P,), of `State`."""
    stratum: NDArray[np.str_]
    """Shape (P,), of `Stratum`."""
    value: FloatArray
    """c over judged samples; NaN where none was judged."""
    low: FloatArray
    high: FloatArray
    """Exact two-sided interval of P (`intervals.proportion`), unjudged samples counted against both ends."""
    bound: FloatArray
    """Exact one-sided upper bound of P where the state is `not_reached`, 1 - alpha^(1/n); NaN elsewhere."""
    level: float
    easy: float
    rare: float

    def ids(self, state: State | Stratum) -> list[str]:
        """Return the ids of the problems in a state or stratum."""
        return [i for i, s, t in zip(self.counts.ids, self.state, self.stratum) if state in (s, t)]

    def estimate(self, place: int) -> Estimate:
        """Return P(correct) of the problem at a place of the counts, with its exact interval."""
        value, low, high = (float(x[place]) for x in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.level, "clopper-pearson")

    @cached_property
    def hardest(self) -> list[int]:
        """Places of the problems in the counts, lowest c/n first, those without a judged sample before all."""
        order: list[int] = np.argsort(np.where(np.isnan(self.value), -1.0, self.value), kind="stable").tolist()
        return order

    @cached_property
    def states(self) -> dict[str, int]:
        """Number of problems per state."""
        return {name: int((self.state == name).sum()) for name in ("reached", "not_reached", "unresolved")}

    @cached_property
    def strata(self) -> dict[str, int]:
        """Number of problems per stratum."""
        names = ("easy", "reachable", "rare", "not_reached", "unresolved")
        return {name: int((self.stratum == name).sum()) for name in names}

    def to_json(self) -> dict[str, int]:
        """Return the numbers per state: {"reached", "not_reached", "unresolved"}."""
        return dict(self.states)


def boundary(counts: Counts, level: float = 0.95, easy: float = EASY, rare: float = RARE) -> Boundary:
    """Return where the boundary runs. Thresholds are values of P with 0 < rare < easy < 1, else InputError.

    >>> boundary(Counts.of([64, 64], [0, 60])).state.tolist()
    ['not_reached', 'reached']
    """
    if not 0 < rare < easy < 1:
        raise InputError(f"thresholds are rare = {rare!r}, easy = {easy!r}; give 0 < rare < easy < 1")
    n, c, u = counts.n, counts.c, counts.unjudged
    low, high = proportion(c, n, u, level)
    not_reached = (c == 0) & (u == 0) & (n > 0)
    state = np.select([c > 0, not_reached], ["reached", "not_reached"], "unresolved")
    stratum = np.select(
        [not_reached, low >= easy, (low >= rare) & (high <= easy), (c > 0) & (high <= rare)],
        ["not_reached", "easy", "reachable", "rare"],
        "unresolved",
    )
    bound = np.where(not_reached, upper_bound(c, n, u, level), np.nan)
    value = np.divide(c, n - u, out=np.full(len(counts), np.nan), where=n > u)
    return Boundary(counts, state, stratum, value, low, high, bound, level, easy, rare)
