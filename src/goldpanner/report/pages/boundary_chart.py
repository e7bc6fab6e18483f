"""The outcome along one sentence's boundary variable, as a static drawing: treatment, control and interval."""

import math
from collections.abc import Iterator, Mapping

from goldpanner.report.pages.answer_part import value_in_words
from goldpanner.report.ui_text import words
from goldpanner.store.argument import BoundaryRecord, ClaimText, Notation

LEFT, TOP, WIDTH, HEIGHT, ZERO = 44, 12, 560, 96, 30
"""Pixels; ZERO is the room for x = 0, left of the logarithmic axis."""
TICKS = 8
"""Ticks at most."""


def boundary_chart(
    claim: ClaimText | None, boundary: BoundaryRecord | None, language: str
) -> Mapping[str, object] | None:
    """Return what the template draws; None where no run's treatment took."""
    if claim is None or boundary is None or not boundary.course:
        return None
    scale = Axis([point.x for point in boundary.course if point.x > 0])
    band = None
    if boundary.low is not None and boundary.high is not None:
        band = scale.place(boundary.low), scale.place(boundary.high)
    ticks = [(scale.place(x), _tick(x, claim.unit, language)) for x in scale.ticks()]
    if any(point.x == 0 for point in boundary.course):
        ticks.insert(0, (scale.place(0.0), "0"))
    return {
        "left": LEFT, "top": TOP, "width": WIDTH, "height": HEIGHT,
        "band": band, "ticks": ticks, "marks": list(_marks(boundary, scale)),
        "x": claim.variable.of(language),
        "text": words(language)["course_how"].format(outcome=claim.outcome.of(language)),
    }  # fmt: skip


class Axis:
    """A logarithmic axis in pixels, with a place for 0 before it."""

    def __init__(self, values: list[float]) -> None:
        logs = [math.log10(x) for x in values] or [0.0]
        self.low, self.high = math.floor(min(logs)), math.ceil(max(logs))
        self.high = max(self.high, self.low + 1)

    def place(self, x: float) -> float:
        """Return the pixels from the left edge of the drawing."""
        if x <= 0:
            return LEFT + ZERO / 2
        share = (math.log10(x) - self.low) / (self.high - self.low)
        return round(LEFT + ZERO + share * (WIDTH - ZERO), 1)

    def ticks(self) -> list[float]:
        """Return powers of ten."""
        step = math.ceil((self.high - self.low) / TICKS)
        return [10.0**decade for decade in range(self.low, self.high + 1, step)]


def _tick(x: float, notation: Notation, language: str) -> str:
    """Return a power of ten shortly."""
    if notation != "share" and x < (0.1 if notation == "probability" else 1e-3):
        return f"1e−{-round(math.log10(x))}"
    return value_in_words(x, notation, language)


def _marks(boundary: BoundaryRecord, scale: Axis) -> Iterator[Mapping[str, object]]:
    """Yield the control's marks, then the treatment's; the area grows with the number of units."""
    for kind in ("control", "rl"):
        for point in boundary.course:
            n, outcomes = (
                (point.controls, point.control_outcomes) if kind == "control" else (point.units, point.outcomes)
            )
            if n:
                y = TOP + HEIGHT * (1 - outcomes / n)
                radius = round(3 + 1.2 * math.log10(n), 1)
                yield {"kind": kind, "x": scale.place(point.x), "y": round(y, 1), "r": radius,
                       "fresh": point.phase == "confirmation"}  # fmt: skip
