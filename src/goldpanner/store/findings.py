"""Records of studies: what was measured, foretold and concluded, and the words of a study and of the mission."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from goldpanner.store.schema import EstimateRecord, RecordPart, StoredRecord

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
Word = Literal["held", "false", "conditional", "undecided"]
"""Verdict on a prediction or a claim."""
Side = Literal["below", "above"]
"""Which side of a boundary."""
Phase = Literal["exploration", "confirmation"]
"""Whether a world was there when the boundary was fitted, or was run afterwards to test it."""
Unit = Literal["count", "probability", "share"]
"""How the values of a boundary variable are written."""
MISSION = "mission"
"""Id of the `MissionRecord`."""
State = Literal["yes", "no", "mixed", "open"]
"""Where the estimates of an effect lie: in the predicted range, outside, one of each, or across an edge."""


class Words(BaseModel):
    """One text in each language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    """English."""
    zh: str
    """Chinese."""

    def of(self, language: str) -> str:
        """Return the text in a language."""
        return self.zh if language == "zh" else self.en


class PredictionText(BaseModel):
    """A prediction, written down before the runs, and the sentences of the mission that it bears on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Words
    """The prediction."""
    supports: tuple[str, ...] = ()
    """Sentences beside which it stands because it says the same."""
    against: tuple[str, ...] = ()
    """Sentences beside which it stands because it says the contrary."""


class Published(BaseModel):
    """What others measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Words
    """What it was."""
    source: str
    """E.g. `arXiv:2504.13837`."""


class StudyText(BaseModel):
    """`claims/NAME.yaml`. `found` is filled with the finding's values: it must be true whatever these are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Words
    """The claim."""
    question: Words
    """What is asked."""
    method: Words
    """What is done."""
    predictions: dict[str, PredictionText]
    """By name."""
    conditions: dict[str, Words]
    """Conditions of the effects in words."""
    found: Words
    """What came out, with placeholders for the values."""
    plots: dict[str, Words]
    """Titles, with a caption after the first line break. Names of axes and series: `axes` and `series`."""
    axes: dict[str, tuple[Words, Words]] = {}
    """Plot -> the x axis and the y axis in words."""
    series: dict[str, Words] = {}
    """Series and panels in words; one that is not here is shown by its own name."""
    published: tuple[Published, ...] = ()
    """What others measured."""


class WorldEstimate(EstimateRecord):
    """The estimate of an effect in one world."""

    side: State
    """`yes`: its interval lies in the predicted range; `no`: outside; `open`: across an edge, or undefined."""


class EffectRecord(RecordPart):
    """One quantity under one condition, and the range in which it was predicted to lie."""

    condition: str
    """Name of the condition."""
    low: float | None
    """Lower edge of the range; None: open."""
    high: float | None
    """Upper edge of the range; None: open."""
    state: State
    """What the worlds say together."""
    more: float | None
    """Times as much data that would settle what is open; None: only a wider range would."""
    estimates: tuple[WorldEstimate, ...]
    """One per world."""


class PredictionRecord(RecordPart):
    """The verdict on a prediction, and the effects that make it so."""

    word: Word
    """The verdict."""
    yes: tuple[str, ...]
    """Conditions in which it is established."""
    no: tuple[str, ...]
    """Conditions in which its contrary is established."""
    mixed: tuple[str, ...]
    """Conditions in which worlds contradict each other."""
    open: tuple[str, ...]
    """Conditions that are not decided."""
    more: float | None
    """Times as much data that would settle what is open; None: only a wider range would."""
    effects: tuple[EffectRecord, ...] = ()
    """One per condition."""


PlotRow = Mapping[str, float | int | str | None]
"""A point of a drawing: `x`, `y`, `series`, and if there are `low`, `high`, `panel`, `world`."""


class PlotRecord(RecordPart):
    """Data of one drawing."""

    title: str
    """Key of the study's `plots` texts."""
    rows: tuple[PlotRow, ...]
    """Its points."""
    log_x: bool
    """Whether the x axis is logarithmic."""
    log_y: bool
    """Whether the y axis is logarithmic."""
    lines: bool
    """Whether the points of a series (and world) are joined."""


class ResultRecord(StoredRecord):
    """What one world gave a study: the measurement. The id is `STUDY-wWORLD`."""

    folder: ClassVar[str] = "results"
    study: str
    """Name of the study."""
    world: int
    """Seed of the world."""
    seconds: float
    """Seconds that it took."""
    method: str
    """Hash of the study's source when it was measured."""
    result: dict[str, object]
    """Whole, so that verdict and figures can be drawn again without measuring."""
    versions: Mapping[str, str]
    """Versions that the result depends on."""
    commit: str = ""
    """Commit of the source that measured it; empty where there is none."""
    date: str = ""
    """When it was measured, UTC."""


class JudgedStudy(RecordPart):
    """What the results of all worlds say together."""

    text: StudyText
    """The study's words when it was judged."""
    predictions: Mapping[str, PredictionRecord]
    """By name."""
    found: Mapping[str, str]
    """Language -> what came out, with its values."""
    plots: tuple[PlotRecord, ...]
    """Its drawings."""


class FindingRecord(JudgedStudy, StoredRecord):
    """A judged study as it is kept; its page is drawn from this alone. The id is the study's name."""

    folder: ClassVar[str] = "findings"
    rule: str
    """Hash of all that the verdict depends on: results, method, texts, rules."""
    worlds: tuple[int, ...]
    """Seeds of the worlds."""
    seconds: Mapping[str, float]
    """World -> seconds that its measurement took."""
    quick: bool
    """Whether it was a smoke run, which says nothing about the claim."""
    versions: Mapping[str, str]
    """Versions that the result depends on."""


class ForecastRecord(StoredRecord):
    """What was foretold of a run before it was made; never replaced."""

    folder: ClassVar[str] = "forecasts"
    made: str
    """When, UTC."""
    base: str
    """Name of the base that RL starts from."""
    aggregate: Mapping[str, float]
    """Method -> forecast of the mean P after RL."""
    scores: Mapping[str, tuple[float, ...]]
    """Method -> score of each problem; a higher one foretells a higher P after RL."""


class ClaimText(BaseModel):
    """The words of the primary claim on a sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    """The study that tests it."""
    variable: Words
    """The boundary variable x."""
    unit: Unit
    """How its values are written."""
    units: Words
    """What is counted: problems, relations, corpora."""
    outcome: Words
    """What happens or does not, as a predicate: `gained by RL`."""
    control: Words
    """The positive control."""
    treatment: Words
    """What the treatment check asks for."""


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


class MissionRecord(StoredRecord):
    """The mission's argument, sentence by sentence. There is one in a store, `mission`."""

    folder: ClassVar[str] = "missions"
    sentences: tuple[SentenceRecord, ...]
    """The sentences under test."""
    studies: tuple[StudyLine, ...]
    """All studies."""
    quick: bool
    """Whether some finding is that of a smoke run."""
    command: str
    """The command line that made it."""
