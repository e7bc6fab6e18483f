"""The page of one study, drawn from the record of its finding and nothing else."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goldpanner.report import plots
from goldpanner.report.page import Facts, Part, Prose, Section, render
from goldpanner.report.ui_text import words
from goldpanner.store.findings import (
    EffectRecord,
    FindingRecord,
    PredictionRecord,
    Published,
    StudyText,
    Words,
    WorldEstimate,
)

INSIDE, OUTSIDE, CROSSING = "#00735a", "#b14400", "#5d6670"
"""Colours of an estimate by the side of the predicted range it lies on."""
SIDES = {"yes": INSIDE, "no": OUTSIDE, "open": CROSSING}
WIDTH, LINE = 300, 15
"""Pixels of a strip, and of one world's line in it."""


@dataclass(frozen=True)
class Scale:
    """What the left and the right end of a strip stand for."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies, in pixels; what is off the scale lies at its end."""
        low, high, here = self.low, self.high, float(value)
        if self.log:
            low, high, here = math.log(low), math.log(high), math.log(max(here, self.low))
        return round(min(max((here - low) / (high - low), 0.0), 1.0) * WIDTH, 1)


@dataclass(frozen=True)
class Strip:
    """One condition of a prediction as a drawing: the predicted range, and an interval per world on one scale."""

    band: tuple[float, float]
    """Pixels from the left, as everything here."""
    edges: Sequence[float]
    lines: Sequence[tuple[float, float, float | None, str]]
    """(low, high, value, colour) of each world; a value of None is not defined."""
    zero: float | None

    @property
    def height(self) -> int:
        """Pixels."""
        return LINE * max(1, len(self.lines)) + 4


def study_page(finding: FindingRecord, sentences: Mapping[str, Words], language: str, command: str) -> str:
    """Return the study's page. `sentences` are those of the mission by id, `command` is what made it."""
    word, text = words(language), finding.text
    sections = [
        Section("verdict", word["verdict"], [_verdict(finding, language)]),
        Section("method", word["method"], [Prose([text.method.of(language)])]),
        Section("predictions", word["predictions"], [_predictions(finding, sentences, language)]),
        Section("found", word["found"], [_beside(finding, language)]),
    ]
    figures = [plots.figure(plot, _names(plot.title, text, language), language) for plot in finding.plots]
    if figures:
        sections.append(Section("figures", word["figures"], figures))
    if open_ := wanting(finding, language):
        sections.append(
            Section("open", word["would_take"], [Part("parts/open.html.j2", {"word": word, "rows": open_})])
        )
    sections.append(Section("made", word["made"], [_made(finding, language, command)]))
    return render(
        sections,
        text.title.of(language),
        lead=text.question.of(language),
        eyebrow=word["study_eyebrow"],
        language=language,
        notice=word["notice"] if finding.quick else "",
        home=(word["to_mission"], file_name("answer", language)),
    )


def file_name(name: str, language: str) -> str:
    """Return the file of a page: `NAME.html`, in Chinese `NAME.zh.html`."""
    return f"{name}.html" if language == "en" else f"{name}.{language}.html"


def word_counts(predictions: Mapping[str, PredictionRecord]) -> dict[str, int]:
    """Return how many predictions have each verdict."""
    words = [prediction.word for prediction in predictions.values()]
    return {name: words.count(name) for name in ("held", "false", "conditional", "undecided")}


def _verdict(finding: FindingRecord, language: str) -> Part:
    word, counts = words(language), word_counts(finding.predictions)
    tally = word["tally_study"].format(all=sum(counts.values()), **counts)
    listed = [
        {"word": p.word, "says": word[p.word], "id": name, "text": _text(finding, name, language)}
        for name, p in finding.predictions.items()
    ]
    values = {"word": word, "tally": tally, "predictions": listed}
    return Part("parts/verdict.html.j2", values)


def _text(finding: FindingRecord, prediction: str, language: str) -> str:
    return finding.text.predictions[prediction].text.of(language)


def _predictions(finding: FindingRecord, sentences: Mapping[str, Words], language: str) -> Part:
    word = words(language)
    listed = []
    for name, prediction in finding.predictions.items():
        texts = finding.text.predictions[name]
        bears = [
            {"how": word["bears_for"], "id": sentence, "text": sentences[sentence].of(language)}
            for sentence in (*texts.supports, *texts.against)
            if sentence in sentences
        ]
        rows = effects(finding, prediction.effects, language)
        listed.append(
            {"id": name, "word": prediction.word, "says": word[prediction.word], "text": texts.text.of(language),
             "bears": bears, "effects": rows, "scale": _ends(prediction.effects)}
        )  # fmt: skip
    values = {
        "word": word,
        "predictions": listed,
        "worlds": finding.worlds,
        "mission": file_name("answer", language),
        "width": WIDTH,
        "line": LINE,
        "colors": (INSIDE, OUTSIDE, CROSSING),
    }
    return Part("parts/predictions.html.j2", values)


def effects(finding: FindingRecord, listed: Sequence[EffectRecord], language: str) -> list[dict[str, object]]:
    """Return a prediction's conditions as a reader wants them: in words, as figures, and as drawings on one scale."""
    word, scale = words(language), _scale(listed)
    return [
        {
            "condition": condition(finding, effect.condition, language),
            "range": span(effect.low, effect.high),
            "figures": [(interval(e, effect), e.side) for e in effect.estimates],
            "short": " / ".join(value(e, effect) for e in effect.estimates),
            "outcome": word[effect.state],
            "state": effect.state,
            "strip": strip(effect, scale),
        }
        for effect in listed
    ]


def condition(finding: FindingRecord, name: str, language: str) -> str:
    """Return a condition in words."""
    return finding.text.conditions[name].of(language)


def number(value: float) -> str:
    """Return a number shortly."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e5 or size < 5e-5:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")
    decimals = 0 if size >= 1000 else 1 if size >= 10 else 3 if size >= 0.01 else 4
    return f"{value:,.{decimals}f}".replace("-", "−")


def value(estimate: WorldEstimate, effect: EffectRecord) -> str:
    """Return an estimate's value; a record keeps no infinities, so their sign is told from where they lie."""
    if not _defined(estimate):
        return "–"
    if estimate.value is not None:
        return number(estimate.value)
    if estimate.low is not None or estimate.high is not None:
        return "∞" if estimate.low is not None else "−∞"
    if effect.low is not None and effect.high is not None:
        return "±∞"
    return "∞" if (effect.high is None) == (estimate.side == "yes") else "−∞"


def interval(estimate: WorldEstimate, effect: EffectRecord) -> str:
    """Return `value [low, high]`; a value that is computed has no interval, one that is not defined no value."""
    shown = value(estimate, effect)
    if estimate.low == estimate.high:
        return shown
    low = "−∞" if estimate.low is None else number(estimate.low)
    high = "∞" if estimate.high is None else number(estimate.high)
    return f"{shown} [{low}, {high}]"


def span(low: float | None, high: float | None) -> str:
    """Return a predicted range."""
    if low is None:
        return f"≤ {_round(high)}"
    return f"≥ {_round(low)}" if high is None else f"{_round(low)} … {_round(high)}"


def _round(value: float | None) -> str:
    assert value is not None
    return number(value) if 0 < abs(value) < 5e-5 or abs(value) >= 1e5 else f"{value:,.4g}".replace("-", "−")


def _defined(estimate: WorldEstimate) -> bool:
    """Whether there is a value: a record keeps neither NaN nor infinities, but only the latter have a side."""
    return any(x is not None for x in (estimate.value, estimate.low, estimate.high)) or estimate.side != "open"


def _ends(listed: Sequence[EffectRecord]) -> tuple[str, str]:
    scale = _scale(listed)
    return _round(scale.low), _round(scale.high)


def _scale(listed: Sequence[EffectRecord]) -> Scale:
    """Return the scale that all conditions of a prediction share: logarithmic where it spans a factor above 1,000."""
    edges = [edge for effect in listed for edge in (effect.low, effect.high) if edge is not None]
    values = [e.value for effect in listed for e in effect.estimates if e.value is not None]
    least = min(values + edges)
    if least > 0 and max(values + edges) > 1000 * least:
        decades = [math.log10(least) - 0.3, math.log10(max(values + edges)) + 0.3]
        return Scale(10.0 ** math.floor(decades[0]), 10.0 ** math.ceil(decades[1]), log=True)
    ends = [end for effect in listed for e in effect.estimates for end in (e.low, e.high) if end is not None]
    low, high = min(values + edges + ends), max(values + edges + ends)
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(high - low + 2 * room) - 1)
    return Scale(math.floor((low - room) / step) * step, math.ceil((high + room) / step) * step)


def strip(effect: EffectRecord, scale: Scale) -> Strip:
    """Return one condition drawn on a scale; what is infinite runs to the end of the strip."""

    def ends(low: float | None, high: float | None) -> tuple[float, float]:
        return 0.0 if low is None else scale.at(low), float(WIDTH) if high is None else scale.at(high)

    lines = [
        (
            *(ends(e.low, e.high) if _defined(e) else (0.0, 0.0)),
            None if e.value is None else scale.at(e.value),
            SIDES[e.side],
        )
        for e in effect.estimates
    ]
    edges = [scale.at(edge) for edge in (effect.low, effect.high) if edge is not None]
    return Strip(ends(effect.low, effect.high), edges, lines, scale.at(0.0) if scale.low < 0 < scale.high else None)


def _beside(finding: FindingRecord, language: str) -> Part:
    published = published_rows(finding.text.published, language)
    values = {"word": words(language), "found": sentences_of(finding.found[language]), "published": published}
    return Part("parts/beside.html.j2", values)


def published_rows(published: Sequence[Published], language: str) -> list[dict[str, str]]:
    """Return what others measured as a template takes it: `what`, `source`, `link`."""
    return [{"what": row.what.of(language), "source": row.source, "link": link(row.source)} for row in published]


def sentences_of(text: str) -> list[str]:
    """Return a text's sentences, one a paragraph: texts full of numbers are read line by line."""
    return [
        part for part in re.split(r"(?<=。)|(?<!\bDr\.)(?<!\bvs\.)(?<=\.)\s+(?=[A-Z])", " ".join(text.split())) if part
    ]


def link(source: str) -> str:
    """Return where a source is to be read, nothing where that is not known."""
    match = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", source)
    return f"https://arxiv.org/abs/{match[1]}" if match else ""


def wanting(finding: FindingRecord, language: str) -> list[dict[str, str]]:
    """Return the undecided predictions, where they are open, and how much more would settle them."""
    word = words(language)
    rows = []
    for name, prediction in finding.predictions.items():
        if prediction.open:
            where = word["semicolon"].join(condition(finding, c, language) for c in prediction.open)
            need = word["no_more"] if prediction.more is None else word["more"].format(n=_times(prediction.more))
            rows.append({"id": name, "text": _text(finding, name, language), "where": where, "need": need})
    return rows


def _times(more: float) -> str:
    return f"{math.ceil(more * 10) / 10:.1f}" if more < 10 else f"{math.ceil(more):,}" if more < 1e5 else number(more)


def _made(finding: FindingRecord, language: str, command: str) -> Facts:
    word = words(language)
    seconds = [word["seconds"].format(n=f"{value:,.0f}") for value in finding.seconds.values()]
    pairs = [
        (word["worlds"], word["comma"].join(map(str, finding.worlds))),
        (word["time"], word["comma"].join(seconds)),
        (word["again"], command),
        (word["made_with"], ", ".join(f"{k} {v}" for k, v in finding.versions.items())),
    ]
    return Facts([(name, text) for name, text in pairs if text])


def _names(key: str, text: StudyText, language: str) -> plots.Names:
    title, _, caption = text.plots[key].of(language).partition("\n")
    x, y = (axis.of(language) for axis in text.axes[key]) if key in text.axes else ("x", "y")
    series = {name: label.of(language) for name, label in text.series.items()}
    return plots.Names(title, caption, x, y, series)
