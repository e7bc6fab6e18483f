"""What a study is: a method (a Python file), its words (a text file beside it), and what is kept of its outcome."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import yaml

from goldpanner.errors import InputError
from goldpanner.store.findings import LANGUAGES, JudgedStudy, PlotRecord, StudyText
from goldpanner.studies.decide import Decision, Effect, decide
from goldpanner.types import Estimate

if TYPE_CHECKING:
    from goldpanner.studies.lab import Lab

R = TypeVar("R")
"""What one world gave, of a type of the study's own: JSON, whole, so that all can be judged again without measuring."""


@dataclass(frozen=True)
class Plot:
    """Data of one drawing. A row is a point: `x`, `y`, `series`, and if there are `low`, `high`, `panel`, `world`."""

    title: str
    """Key of the study's `plots` texts."""
    rows: Sequence[Mapping[str, object]]
    log_x: bool = False
    log_y: bool = False
    lines: bool = True
    """Whether the points of a series (and world) are joined."""


@dataclass(frozen=True)
class Finding:
    """What the results of all worlds say: effects by prediction, values that the text quotes, plots."""

    effects: Mapping[str, Sequence[Effect]]
    """Prediction -> its effects, one per condition."""
    values: Mapping[str, object] = field(default_factory=dict)
    """What the placeholders of the study's `found` text stand for."""
    plots: Sequence[Plot] = ()

    @property
    def decisions(self) -> dict[str, Decision]:
        """The verdict on each prediction."""
        return {name: decide(effects) for name, effects in self.effects.items()}


@dataclass(frozen=True)
class Study(Generic[R]):
    """One claim as an experiment. `measure` is called once a world, `judge` on what all worlds gave."""

    name: str
    measure: Callable[["Lab"], R]
    judge: Callable[[Sequence[R]], Finding]

    @property
    def text(self) -> "StudyText":
        """Its words."""
        return read_text(self.name)


@cache
def read_text(name: str) -> StudyText:
    """Return the words of a study. Raises InputError naming the file where a key is missing or unknown."""
    file = files("goldpanner.studies.claims") / f"{name.replace('-', '_')}.yaml"
    try:
        return StudyText.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"the text of study {name} ({file}) cannot be used: {error}") from error


def fill(template: str, values: Mapping[str, object]) -> str:
    """Return `template` with its `{placeholders}` replaced by `show`n values. Raises InputError for a missing one."""
    try:
        return template.format(**{name: show(value) for name, value in values.items()})
    except (KeyError, IndexError) as error:
        raise InputError(f"the text {template[:60]!r} asks for the value {error}, which the finding lacks") from error


def show(value: Any) -> str:
    """Return a value as a reader wants it: an estimate with its interval, a number shortly, a list world by world."""
    if isinstance(value, Estimate):
        if value.low == value.high or value.value != value.value:
            return show(value.value)
        return f"{show(value.value)} [{show(value.low)}, {show(value.high)}]"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value != value:
            return "–"
        if abs(value) == float("inf"):
            return "∞" if value > 0 else "−∞"
        size = abs(value)
        if size >= 1000:
            return f"{value:,.0f}" if size < 1e7 else f"{value:.1e}"
        return f"{value:.3f}" if 0.01 <= size < 10 else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {show(item)}" for key, item in value.items())
    return " / ".join(show(item) for item in value)


def judge_results(study: Study[R], results: Sequence[R]) -> JudgedStudy:
    """Return what the results of a study's worlds say, one result a world, with its words in both languages.

    Raises InputError where the study and its text name different predictions or conditions.
    """
    finding, text = study.judge(results), study.text
    decisions = finding.decisions
    if set(decisions) != set(text.predictions):
        raise InputError(
            f"study {study.name} judged the predictions {sorted(decisions)}, but its text has "
            f"{sorted(text.predictions)}; they must be the same"
        )
    for effects in finding.effects.values():
        for effect in effects:
            if effect.condition not in text.conditions:
                raise InputError(f"study {study.name}: condition {effect.condition!r} has no words in its text")
    return JudgedStudy(
        text=text,
        predictions={name: decision.record(finding.effects[name]) for name, decision in decisions.items()},
        found={language: fill(text.found.of(language), finding.values) for language in LANGUAGES},
        plots=tuple(PlotRecord.model_validate(asdict(plot)) for plot in finding.plots),
    )
