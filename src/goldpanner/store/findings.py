"""Records of studies: what was measured, foretold and found, and the words of a study."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from goldpanner.store.schema import EstimateRecord, RecordPart, StoredRecord

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
Word = Literal["held", "false", "conditional", "undecided"]
"""Verdict on a prediction or a claim."""
Phase = Literal["exploration", "confirmation"]
"""Whether a world was there when the boundary was fitted, or was run afterwards to test it."""
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
    phase: Phase = "exploration"
    """Whether boundaries are fitted on it, or tested by it."""


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
