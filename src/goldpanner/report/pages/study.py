"""The page of one study, drawn from the record of its finding and nothing else."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldpanner.report import plots
from goldpanner.report.page import Facts, Part, Prose, Section, render
from goldpanner.report.ui_text import words

INSIDE, OUTSIDE, CROSSING = "#00735a", "#b14400", "#5d6670"
"""Colours of an estimate by the side of the predicted range it lies on."""
SIDES = {"yes": INSIDE, "no": OUTSIDE, "open": CROSSING}
WIDTH, LINE = 300, 15
"""Pixels of a strip, and of one world's line in it."""

Record = Mapping[str, Any]


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


def study_page(finding: Record, sentences: Mapping[str, Mapping[str, str]], language: str, made: Record) -> str:
    """Return the study's page. `sentences` are those of the mission by id, `made` is its `versions` and `command`."""
    word, text = words(language), finding["text"]
    sections = [
        Section("verdict", word["verdict"], [_verdict(finding, language)]),
        Section("method", word["method"], [Prose([text["method"][language]])]),
        Section("predictions", word["predictions"], [_predictions(finding, sentences, language)]),
        Section("found", word["found"], [_beside(finding, language)]),
    ]
    figures = [plots.figure(plot, _names(plot["title"], text, language), language) for plot in finding["plots"]]
    if figures:
        sections.append(Section("figures", word["figures"], figures))
    if open_ := wanting(finding, language):
        sections.append(
            Section("open", word["would_take"], [Part("parts/open.html.j2", {"word": word, "rows": open_})])
        )
    sections.append(Section("made", word["made"], [_made(finding, language, made)]))
    return render(
        sections,
        text["title"][language],
        lead=text["question"][language],
        eyebrow=word["study_eyebrow"],
        language=language,
        notice=word["notice"] if finding["quick"] else "",
        home=(word["to_mission"], file_name("mission", language)),
    )


def file_name(name: str, language: str) -> str:
    """Return the file of a page: `NAME.html`, in Chinese `NAME.zh.html`."""
    return f"{name}.html" if language == "en" else f"{name}.{language}.html"


def chip(verdict: str | None) -> str:
    """Return the class of a verdict's label."""
    return verdict or "not_run"


def word_counts(predictions: Mapping[str, Record]) -> dict[str, int]:
    """Return how many predictions have each verdict."""
    words = [prediction["word"] for prediction in predictions.values()]
    return {name: words.count(name) for name in ("held", "false", "conditional", "undecided")}


def _verdict(finding: Record, language: str) -> Part:
    word, counts = words(language), word_counts(finding["predictions"])
    tally = word["tally_study"].format(all=sum(counts.values()), **counts)
    listed = [
        {"word": p["word"], "says": word[p["word"]], "id": name, "text": _text(finding, name, language)}
        for name, p in finding["predictions"].items()
    ]
    values = {"word": word, "verdict": finding["word"], "tally": tally, "counts": counts, "predictions": listed}
    return Part("parts/verdict.html.j2", values)


def _text(finding: Record, prediction: str, language: str) -> str:
    return str(finding["text"]["predictions"][prediction]["text"][language])


def _predictions(finding: Record, sentences: Mapping[str, Mapping[str, str]], language: str) -> Part:
    word = words(language)
    listed = []
    for name, prediction in finding["predictions"].items():
        texts = finding["text"]["predictions"][name]
        bears = [
            {"how": word[how], "id": sentence, "text": sentences[sentence][language]}
            for how, side in (("bears_for", "supports"), ("bears_against", "against"))
            for sentence in texts[side]
            if sentence in sentences
        ]
        rows = effects(finding, prediction["effects"], language)
        listed.append(
            {"id": name, "word": prediction["word"], "says": word[prediction["word"]], "text": texts["text"][language],
             "bears": bears, "effects": rows, "scale": _ends(prediction["effects"])}
        )  # fmt: skip
    values = {
        "word": word,
        "predictions": listed,
        "worlds": finding["worlds"],
        "mission": file_name("mission", language),
        "width": WIDTH,
        "line": LINE,
        "colors": (INSIDE, OUTSIDE, CROSSING),
    }
    return Part("parts/predictions.html.j2", values)


def effects(finding: Record, listed: Sequence[Record], language: str) -> list[dict[str, Any]]:
    """Return a prediction's conditions as a reader wants them: in words, as figures, and as drawings on one scale."""
    word, scale = words(language), _scale(listed)
    return [
        {
            "condition": condition(finding, effect["condition"], language),
            "range": span(effect["low"], effect["high"]),
            "figures": [(interval(e, effect), e["side"]) for e in effect["estimates"]],
            "short": " / ".join(value(e, effect) for e in effect["estimates"]),
            "outcome": word[effect["state"]],
            "state": effect["state"],
            "strip": strip(effect, scale),
        }
        for effect in listed
    ]


def condition(finding: Record, name: str, language: str) -> str:
    """Return a condition in words."""
    return str(finding["text"]["conditions"][name][language])


def number(value: float) -> str:
    """Return a number shortly."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e5 or size < 5e-5:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")
    decimals = 0 if size >= 1000 else 1 if size >= 10 else 3 if size >= 0.01 else 4
    return f"{value:,.{decimals}f}".replace("-", "−")


def value(estimate: Record, effect: Record) -> str:
    """Return an estimate's value; a record keeps no infinities, so their sign is told from where they lie."""
    if not _defined(estimate):
        return "–"
    if estimate["value"] is not None:
        return number(estimate["value"])
    if estimate["low"] is not None or estimate["high"] is not None:
        return "∞" if estimate["low"] is not None else "−∞"
    if effect["low"] is not None and effect["high"] is not None:
        return "±∞"
    return "∞" if (effect["high"] is None) == (estimate["side"] == "yes") else "−∞"


def interval(estimate: Record, effect: Record) -> str:
    """Return `value [low, high]`; a value that is computed has no interval, one that is not defined no value."""
    shown = value(estimate, effect)
    if estimate["low"] == estimate["high"]:
        return shown
    ends = ("−∞" if estimate["low"] is None else number(estimate["low"]),
            "∞" if estimate["high"] is None else number(estimate["high"]))  # fmt: skip
    return f"{shown} [{ends[0]}, {ends[1]}]"


def span(low: float | None, high: float | None) -> str:
    """Return a predicted range."""
    if low is None:
        return f"≤ {_round(high)}"
    return f"≥ {_round(low)}" if high is None else f"{_round(low)} … {_round(high)}"


def _round(value: float | None) -> str:
    assert value is not None
    return number(value) if 0 < abs(value) < 5e-5 or abs(value) >= 1e5 else f"{value:,.4g}".replace("-", "−")


def _defined(estimate: Record) -> bool:
    """Whether there is a value: a record keeps neither NaN nor infinities, but only the latter have a side."""
    return any(estimate[k] is not None for k in ("value", "low", "high")) or estimate["side"] != "open"


def _ends(listed: Sequence[Record]) -> tuple[str, str]:
    scale = _scale(listed)
    return _round(scale.low), _round(scale.high)


def _scale(listed: Sequence[Record]) -> Scale:
    """Return the scale that all conditions of a prediction share: logarithmic where it spans a factor above 1,000."""
    edges = [float(effect[k]) for effect in listed for k in ("low", "high") if effect[k] is not None]
    values = [float(e["value"]) for effect in listed for e in effect["estimates"] if e["value"] is not None]
    least = min(values + edges)
    if least > 0 and max(values + edges) > 1000 * least:
        decades = [math.log10(least) - 0.3, math.log10(max(values + edges)) + 0.3]
        return Scale(10.0 ** math.floor(decades[0]), 10.0 ** math.ceil(decades[1]), log=True)
    ends = [float(e[k]) for effect in listed for e in effect["estimates"] for k in ("low", "high") if e[k] is not None]
    low, high = min(values + edges + ends), max(values + edges + ends)
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(high - low + 2 * room) - 1)
    return Scale(math.floor((low - room) / step) * step, math.ceil((high + room) / step) * step)


def strip(effect: Record, scale: Scale) -> Strip:
    """Return one condition drawn on a scale; what is infinite runs to the end of the strip."""

    def ends(record: Record) -> tuple[float, float]:
        return (
            0.0 if record["low"] is None else scale.at(record["low"]),
            float(WIDTH) if record["high"] is None else scale.at(record["high"]),
        )

    lines = [
        (
            *(ends(e) if _defined(e) else (0.0, 0.0)),
            None if e["value"] is None else scale.at(e["value"]),
            SIDES[e["side"]],
        )
        for e in effect["estimates"]
    ]
    edges = [scale.at(effect[k]) for k in ("low", "high") if effect[k] is not None]
    return Strip(ends(effect), edges, lines, scale.at(0.0) if scale.low < 0 < scale.high else None)


def _beside(finding: Record, language: str) -> Part:
    word = words(language)
    published = [
        {"what": row["what"][language], "source": row["source"], "link": link(row["source"])}
        for row in finding["text"]["published"]
    ]
    values = {"word": word, "found": sentences_of(finding["found"][language]), "published": published}
    return Part("parts/beside.html.j2", values)


def sentences_of(text: str) -> list[str]:
    """Return a text's sentences, one a paragraph: texts full of numbers are read line by line."""
    return [
        part for part in re.split(r"(?<=。)|(?<!\bDr\.)(?<!\bvs\.)(?<=\.)\s+(?=[A-Z])", " ".join(text.split())) if part
    ]


def link(source: str) -> str:
    """Return where a source is to be read, nothing where that is not known."""
    match = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", source)
    return f"https://arxiv.org/abs/{match[1]}" if match else ""


def wanting(finding: Record, language: str) -> list[dict[str, str]]:
    """Return the undecided predictions, where they are open, and how much more would settle them."""
    word = words(language)
    rows = []
    for name, prediction in finding["predictions"].items():
        if prediction["open"]:
            where = word["semicolon"].join(condition(finding, c, language) for c in prediction["open"])
            more = prediction["more"]
            need = word["no_more"] if more is None else word["more"].format(n=_times(more))
            rows.append({"id": name, "text": _text(finding, name, language), "where": where, "need": need})
    return rows


def _times(more: float) -> str:
    return f"{math.ceil(more * 10) / 10:.1f}" if more < 10 else f"{math.ceil(more):,}" if more < 1e5 else number(more)


def _made(finding: Record, language: str, made: Record) -> Facts:
    word = words(language)
    seconds = [word["seconds"].format(n=f"{value:,.0f}") for value in finding["seconds"].values()]
    pairs = [
        (word["worlds"], word["comma"].join(map(str, finding["worlds"]))),
        (word["time"], word["comma"].join(seconds)),
        (word["again"], str(made.get("command", ""))),
        (word["made_with"], ", ".join(f"{k} {v}" for k, v in finding.get("versions", {}).items())),
    ]
    return Facts([(name, text) for name, text in pairs if text])


def _names(key: str, text: Record, language: str) -> plots.Names:
    title, _, caption = text["plots"][key][language].partition("\n")
    x, y = text["axes"].get(key, ({language: "x"}, {language: "y"}))
    series = {name: label[language] for name, label in text["series"].items()}
    return plots.Names(title, caption, x[language], y[language], series)
