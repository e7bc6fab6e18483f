"""Records of the mission's argument: what each sentence's claim says and found, and the answer's first screen."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from goldpanner.store.findings import Phase, Published, Word, Words
from goldpanner.store.schema import RecordPart, StoredRecord

MISSION = "mission"
"""Id of the `MissionRecord`."""
Side = Literal["below", "above"]
"""Which side of a boundary."""
Notation = Literal["count", "probability", "share"]
"""How the values of a boundary variable are written."""


class ClaimText(BaseModel):
    """The words of the primary claim on a sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    """The study that tests it."""
    variable: Words
    """The boundary variable x."""
    unit: Notation
    """How its values are written."""
    units: Words
    """What is counted: problems, relations, corpora."""
    outcome: Words
    """What happens or does not, as a predicate: `gained by RL`."""
    control: Words
    """The positive control."""
    treatment: Words
    """What the treatment check asks for."""
    reading: Words | None = None
    """In which sense the sentence is false on its false side, where that needs saying."""


class RunEdges(RecordPart):
    """One independent run, and the edges of the boundary in it."""

    world: int
    """Seed of the world."""
    seed: int
    """Seed of the treatment."""
    warm: float
    """By how much the same recipe lifted P in its warm arm."""
    took: bool
    """Whether that was enough; a run of which the treatment did not take gives no evidence."""
    units: int
    """Problems or arms in it."""
    edges: tuple[float | None, float | None]
    """The greatest x below the boundary and the least x above it."""


class BoxRecord(RecordPart):
    """What lies on one side of the boundary's interval, in one phase."""

    phase: Phase
    """Exploration or confirmation."""
    side: Side
    """Below or above the interval."""
    runs: int
    """Independent runs with a unit there."""
    units: int
    """Problems or arms there."""
    outcomes: int
    """Those in which the outcome came about."""
    controls: int
    """Those for which there is a positive control."""
    control_outcomes: int
    """Those in which it came about under the control."""


class CoursePoint(RecordPart):
    """The outcome among the units of a third of a decade of x, over all runs of a phase."""

    phase: Phase
    """Exploration or confirmation."""
    x: float
    """Geometric mean of x; 0 for the units at 0."""
    units: int
    """Problems or arms there."""
    outcomes: int
    """Those in which the outcome came about."""
    controls: int
    """Those for which there is a positive control."""
    control_outcomes: int
    """Those in which it came about under the control."""


class BoundaryRecord(RecordPart):
    """Where the outcome sets in, and what lies on both sides."""

    low: float | None
    """Lower end of the boundary's interval, over worlds; None: no run has an edge there."""
    high: float | None
    """Upper end; None: no run has an edge there."""
    bracketed: int
    """Runs that have both edges."""
    least: float | None
    """Least x that was tried where the treatment took."""
    greatest: float | None
    """Greatest x that was tried where the treatment took."""
    runs: tuple[RunEdges, ...]
    """Every run, also those of which the treatment did not take."""
    boxes: tuple[BoxRecord, ...]
    """Both sides, in both phases."""
    course: tuple[CoursePoint, ...]
    """The outcome along x."""
    true_side: Side
    """On which side the sentence is true."""
    idle_side: Side
    """On which side the outcome does not come about."""
    needed: float
    """Least lift of a warm arm."""
    controlled: bool
    """Whether the outcome came about under the positive control on the idle side: else nothing is known there."""

    def box(self, phase: Phase, side: Side) -> BoxRecord:
        """Return one box."""
        return next(box for box in self.boxes if (box.phase, box.side) == (phase, side))

    @property
    def known(self) -> tuple[Side, ...]:
        """The sides on which there is evidence."""
        sides: tuple[Side, ...] = ("below", "above")
        full = [side for side in sides if self.box("exploration", side).units]
        return tuple(side for side in full if side != self.idle_side or self.controlled)


class SecondaryRecord(RecordPart):
    """A prediction that bears on a sentence; it stands below the primary claim and does not vote."""

    study: str
    """Name of the study."""
    prediction: str
    """Name of the prediction."""
    text: Words
    """The prediction."""
    word: Word | None
    """Verdict on it; None where the study was not run."""


class SentenceRecord(RecordPart):
    """A sentence of the mission, and what was found on it."""

    id: str
    """Its id."""
    text: Words
    """The sentence."""
    published: tuple[Published, ...]
    """What others measured."""
    change: Words
    """What would change our mind, in either direction."""
    claim: ClaimText | None
    """The primary claim; None: none was written yet."""
    boundary: BoundaryRecord | None
    """What was found on it; None where its study was not run."""
    off: BoundaryRecord | None
    """The same records with the base in place of RL: nothing may be known there. None where RL is not the treatment."""
    secondary: tuple[SecondaryRecord, ...]
    """Predictions that bear on it."""


class StudyLine(RecordPart):
    """A study's line on the mission's page."""

    name: str
    """Name of the study."""
    title: Words
    """What it asks."""
    predictions: int
    """How many predictions it has."""
    worlds: tuple[int, ...] = ()
    """Worlds in which it was run."""
    seconds: float = 0.0
    """Seconds that its measurements took."""


class PointRecord(RecordPart):
    """P of one problem, or the mean P of one relation, before and after."""

    before: float
    """Under the base."""
    rl: float
    """After RL."""
    control: float
    """After worked examples."""
    exposure: float | None
    """Share of the documents that state a relation trained alone; None: a problem of depth 1 or 2."""


class StoryRecord(RecordPart):
    """One question that turns on a mistaken belief."""

    prompt: str
    """The question."""
    right: str
    """The right answer."""
    mistaken: str
    """What the texts believe."""
    p: Mapping[str, tuple[float, float]]
    """`base`, `rl`, `control` -> P of the right and of the mistaken answer."""


class ReachRecord(RecordPart):
    """Exact pass@k on depths 1 and 2 in one kind of world, before and after RL."""

    spectrum: str
    """`gap`: rare facts cannot be found; `no-gap`: they can."""
    k: int
    """Samples."""
    base: tuple[float, ...]
    """Before, by world."""
    rl: tuple[float, ...]
    """After, by world."""


class AnswerRecord(RecordPart):
    """What the first screen of the answer shows."""

    rollouts: int
    """Rollouts of RL on one relation alone."""
    points: tuple[PointRecord, ...]
    """Of the first world."""
    story: StoryRecord
    """Of the first world."""
    absent: Mapping[str, tuple[float, ...]]
    """Way of teaching the relation that no document mentions (`base`, `rl`, `examples-64` ...) -> mean P by world."""
    reach: tuple[ReachRecord, ...]
    """What RL does to pass@k at the k that people sample."""


class MissionRecord(StoredRecord):
    """The mission's argument, sentence by sentence. There is one in a store, `mission`."""

    folder: ClassVar[str] = "missions"
    sentences: tuple[SentenceRecord, ...]
    """The sentences under test."""
    studies: tuple[StudyLine, ...]
    """All studies."""
    answer: AnswerRecord | None = None
    """The first screen; None where the study of what creates was not run."""
    quick: bool
    """Whether some finding is that of a smoke run."""
    command: str
    """The command line that made it."""
