"""From measured effects to a verdict: held, false, conditional or undecided, and what it would take to know.

A prediction says in which range the true value of an effect lies, in every condition and every world. An effect is
measured world by world; its interval covers the choice of problems (or of repeated runs) within that world, and what
differs between worlds (facts, text, weights, rollouts) is met by asking every world by itself: nothing is averaged
away. One rule serves every study, so no study can choose the rule that suits its result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from goldpanner.errors import InputError
from goldpanner.store.findings import EffectRecord, PredictionRecord, State, Word, WorldEstimate
from goldpanner.types import Estimate


@dataclass(frozen=True)
class Effect:
    """One quantity under one condition, an estimate per world, and the range in which it was predicted to lie."""

    condition: str
    """E.g. `gap`; the study's text file says it in words."""
    estimates: Sequence[Estimate]
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.estimates:
            raise InputError(f"effect {self.condition!r} has no estimate; measure at least one world")
        if not self.low < self.high or (self.low == -math.inf and self.high == math.inf):
            raise InputError(
                f"effect {self.condition!r}: nothing can contradict the range [{self.low:g}, {self.high:g}]"
            )

    @property
    def state(self) -> State:
        """`yes`: every world's interval lies in the range; `no`: every one lies outside; `mixed`: one of each at least;
        `open`: no two worlds contradict each other, and some interval crosses an edge.
        """
        sides = {_side(estimate, self.low, self.high) for estimate in self.estimates}
        if {"yes", "no"} <= sides:
            return "mixed"
        if "open" in sides:
            return "open"
        return "yes" if sides == {"yes"} else "no"

    @property
    def more(self) -> float:
        """How many times as much data the widest open interval needs to leave the edge it crosses, by the square-root
        law, if its value stays; infinite where the value lies on the edge or is undefined; 1 where nothing is open.
        """
        return max((_more(e, self.low, self.high) for e in self.estimates if _side(e, self.low, self.high) == "open"),
                   default=1.0)  # fmt: skip

    def record(self) -> EffectRecord:
        """Return what is kept of the effect."""
        return EffectRecord(
            condition=self.condition,
            low=_finite(self.low),
            high=_finite(self.high),
            state=self.state,
            more=_finite(self.more),
            estimates=tuple(
                WorldEstimate.model_validate({**e.to_json(), "side": _side(e, self.low, self.high)})
                for e in self.estimates
            ),
        )


@dataclass(frozen=True)
class Decision:
    """A word, and which conditions made it so."""

    word: Word
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    """Conditions in which worlds contradict each other."""
    open: tuple[str, ...] = ()
    more: float = 1.0
    """Times as many problems (or runs) that would settle what is open; infinite where only a wider range would."""

    def record(self, effects: Sequence[Effect]) -> PredictionRecord:
        """Return what is kept of the decision and of the effects that made it."""
        return PredictionRecord(
            word=self.word,
            yes=self.yes,
            no=self.no,
            mixed=self.mixed,
            open=self.open,
            more=_finite(self.more),
            effects=tuple(effect.record() for effect in effects),
        )


def decide(effects: Sequence[Effect]) -> Decision:
    """Return the verdict on one prediction from its effects, one per condition.

    - held: established in every condition and every world;
    - false: the contrary is established in every condition and every world;
    - conditional: established in some conditions (or worlds), and its contrary in others;
    - undecided: anything else; `more` says how much more data the open conditions take.
    """
    if not effects:
        raise InputError("decide: there is no effect; a prediction needs at least one")
    by: dict[State, tuple[str, ...]] = {
        state: tuple(effect.condition for effect in effects if effect.state == state)
        for state in ("yes", "no", "mixed", "open")
    }
    word: Word
    if by["mixed"] or (by["yes"] and by["no"]):
        word = "conditional"
    elif by["open"]:
        word = "undecided"
    else:
        word = "held" if by["yes"] else "false"
    more = max(effect.more for effect in effects)
    return Decision(word, by["yes"], by["no"], by["mixed"], by["open"], more)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _side(estimate: Estimate, low: float, high: float) -> State:
    if math.isnan(estimate.value):
        return "open"
    if low <= estimate.low and estimate.high <= high:
        return "yes"
    return "no" if estimate.high < low or estimate.low > high else "open"


def _more(estimate: Estimate, low: float, high: float) -> float:
    """Return (arm / distance)^2 for the edge that the interval crosses and its value is nearest to."""
    if math.isnan(estimate.value):
        return math.inf
    needed = [1.0]
    for edge in (low, high):
        if estimate.low <= edge <= estimate.high:
            arm = estimate.value - estimate.low if edge <= estimate.value else estimate.high - estimate.value
            distance = abs(estimate.value - edge)
            needed.append((arm / distance) ** 2 if distance > 0 else math.inf)
    return max(needed)
