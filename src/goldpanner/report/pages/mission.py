"""The page of the argument, and the pages of all studies beside it, drawn from records and nothing else."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.files import replacing
from goldpanner.report.page import Facts, Part, Section, render
from goldpanner.report.pages import study
from goldpanner.report.pages.answer_part import answer_part, short_answer, value_in_words
from goldpanner.report.pages.boundary_chart import boundary_chart
from goldpanner.report.ui_text import words
from goldpanner.store import Store
from goldpanner.store.argument import (
    MISSION,
    BoundaryRecord,
    ClaimText,
    MissionRecord,
    SecondaryRecord,
    SentenceRecord,
    Side,
)
from goldpanner.store.findings import FindingRecord, Phase

SIDES: tuple[Side, ...] = ("below", "above")


def build_studies(root: Path, language: str = "en") -> dict[str, Path]:
    """Draw `answer.html` and one page a study in `root` from the store there; return their paths by name.

    Raises InputError where nothing was concluded in `root`.
    """
    words(language)
    store = Store(root / "store")
    mission = store.get(MissionRecord, MISSION)
    if mission is None:
        raise InputError(f"{root} holds no conclusions of studies; run: goldpanner study all --out {root}")
    return write_pages(root, mission, store.records(FindingRecord), language)


def write_pages(
    folder: Path, mission: MissionRecord, findings: Mapping[str, FindingRecord], language: str
) -> dict[str, Path]:
    """Write the page of the argument and one page a study into a folder; return their paths by name.

    Each page is one file that needs no network; in Chinese (`zh`) they are `NAME.zh.html`. The same records give the
    same bytes.
    """
    sentences = {sentence.id: sentence.text for sentence in mission.sentences}
    pages = {
        name: study.study_page(finding, sentences, language, mission.command) for name, finding in findings.items()
    }
    pages["answer"] = mission_page(mission, findings, language)
    paths = {name: folder / study.file_name(name, language) for name in pages}
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        with replacing(path) as scratch:
            scratch.write_text(pages[name], encoding="utf-8")
    return paths


def mission_page(mission: MissionRecord, findings: Mapping[str, FindingRecord], language: str) -> str:
    """Return the page of the argument."""
    word = words(language)
    titles = {row.name: row.title.of(language) for row in mission.studies}
    first = [] if mission.answer is None else [Section("answer", word["answer"], [answer_part(mission, language)])]
    sections = [
        *first,
        Section("sentences", word["sentences"], [_how(mission, language)]
                + [_sentence(sentence, findings, titles, language) for sentence in mission.sentences]),
        Section("studies", word["studies"], [_studies(mission, findings, language)]),
    ]  # fmt: skip
    made = [(word["again"], mission.command), (word["made_with"], _versions(findings))]
    if any(text for _, text in made):
        sections.append(Section("made", word["made"], [Facts([(name, text) for name, text in made if text])]))
    return render(
        sections,
        word["mission_title" if mission.answer is None else "question"],
        lead=word["mission_lead"] if mission.answer is None else short_answer(mission, language),
        eyebrow=word["mission_eyebrow"],
        language=language,
        notice=word["notice"] if mission.quick else "",
    )


def _versions(findings: Mapping[str, FindingRecord]) -> str:
    named = [f"{name} {text}" for finding in findings.values() for name, text in finding.versions.items()]
    return ", ".join(dict.fromkeys(named))


def _how(mission: MissionRecord, language: str) -> Part:
    """Return how to read the boxes, and what the same records say with RL switched off."""
    word = words(language)
    judged = [s for s in mission.sentences if s.boundary is not None]
    switched = [s.off for s in judged if s.off is not None]
    texts = [word["boxes_how"]]
    if switched:
        texts.append(word["rl_off"].format(n=sum(bool(off.known) for off in switched), all=len(switched)))
    return Part("parts/how.html.j2", {"texts": texts, "rows": [(s.id, s.text.of(language)) for s in mission.sentences]})


def _sentence(
    sentence: SentenceRecord, findings: Mapping[str, FindingRecord], titles: Mapping[str, str], language: str
) -> Part:
    word = words(language)
    values = {
        "word": word,
        "id": sentence.id,
        "text": sentence.text.of(language),
        "other": sentence.text.en if language == "zh" else sentence.text.zh,
        "boxes": boxes(sentence.claim, sentence.boundary, language),
        "chart": boundary_chart(sentence.claim, sentence.boundary, language),
        "study": _link(sentence.claim, findings, titles, language),
        "secondary": [_secondary(row, titles, language) for row in sentence.secondary if row.study in findings],
        "published": study.published_rows(sentence.published, language),
        "change": sentence.change.of(language),
    }
    return Part("parts/sentence.html.j2", values)


def _link(
    claim: ClaimText | None, findings: Mapping[str, FindingRecord], titles: Mapping[str, str], language: str
) -> tuple[str, str] | None:
    """Return (title, file) of the study that tests a claim; without a file where it was not run."""
    if claim is None or claim.study not in titles:
        return None
    return titles[claim.study], study.file_name(claim.study, language) if claim.study in findings else ""


def _secondary(row: SecondaryRecord, titles: Mapping[str, str], language: str) -> dict[str, str]:
    return {
        "text": row.text.of(language),
        "word": words(language)[f"predicted_{row.word}"],
        "class": row.word or "",
        "study": titles[row.study],
        "file": f"{study.file_name(row.study, language)}#p-{row.prediction}",
    }


def boxes(claim: ClaimText | None, boundary: BoundaryRecord | None, language: str) -> dict[str, list[str]]:
    """Return the lines of the three boxes: `true`, `false` and `unknown`."""
    word = words(language)
    if claim is None:
        return {"true": [], "false": [], "unknown": [word["no_claim"]]}
    if boundary is None:
        return {"true": [], "false": [], "unknown": [word["claim_not_run"]]}
    lines: dict[str, list[str]] = {"true": [], "false": [], "unknown": list(_unknown(claim, boundary, language))}
    for side in boundary.known:
        lines["true" if side == boundary.true_side else "false"] = list(_known(claim, boundary, side, language))
    if lines["false"] and claim.reading is not None:
        lines["false"].append(claim.reading.of(language))
    return lines


def _known(claim: ClaimText, boundary: BoundaryRecord, side: Side, language: str) -> Iterator[str]:
    """Yield what was found on one side of the boundary: exploration, control, confirmation."""
    word = words(language)
    edge = boundary.low if side == "below" else boundary.high
    assert edge is not None
    yield word["side_zero" if edge == 0 else f"side_{side}"].format(
        variable=claim.variable.of(language), x=value_in_words(edge, claim.unit, language)
    )
    for phase in ("exploration", "confirmation"):
        yield _count(claim, boundary, phase, side, language)
    box = boundary.box("exploration", side)
    if box.controls:
        yield word["control_count"].format(control=claim.control.of(language), n=box.control_outcomes, all=box.controls)


def _count(claim: ClaimText, boundary: BoundaryRecord, phase: Phase, side: Side, language: str) -> str:
    word, box = words(language), boundary.box(phase, side)
    if not box.units:
        return word["not_confirmed"]
    return word[f"count_{phase}"].format(
        n=box.outcomes, all=f"{box.units:,}", units=claim.units.of(language), outcome=claim.outcome.of(language),
        runs=word["one_run" if box.runs == 1 else "runs"].format(n=box.runs),
    )  # fmt: skip


def _unknown(claim: ClaimText, boundary: BoundaryRecord, language: str) -> Iterator[str]:
    """Yield what is not known: between the edges, beyond what was tried, and why a side says nothing."""
    word = words(language)
    failed = [run for run in boundary.runs if not run.took]
    if failed:
        text = word["not_taken"].format(n=len(failed), all=len(boundary.runs), treatment=claim.treatment.of(language))
        yield text
    if len(failed) == len(boundary.runs):
        return

    def x(value: float | None) -> str:
        return "" if value is None else value_in_words(value, claim.unit, language)

    low, high = boundary.low, boundary.high
    if low is None and high is None:
        yield word["no_order"].format(least=x(boundary.least), greatest=x(boundary.greatest))
    elif low is None or high is None:
        yield word["beyond_range"].format(least=x(boundary.least), greatest=x(boundary.greatest))
    else:
        yield word["between"].format(low=x(low), high=x(high), variable=claim.variable.of(language))
        tried = word["outside"] if boundary.least else word["outside_above"]
        yield tried.format(least=x(boundary.least), greatest=x(boundary.greatest))
    if boundary.box("exploration", boundary.idle_side).units and not boundary.controlled:
        yield word["no_control"]
    worlds = {run.world for run in boundary.runs if run.took}
    if len(worlds) == 1:
        yield word["one_world"]


def _studies(mission: MissionRecord, findings: Mapping[str, FindingRecord], language: str) -> Part:
    word = words(language)
    rows = [
        {
            "name": row.name,
            "title": row.title.of(language),
            "file": study.file_name(row.name, language) if row.name in findings else "",
            "predictions": row.predictions,
            "worlds": word["comma"].join(map(str, row.worlds)) or word["not_run"],
            "time": word["minutes"].format(n=f"{row.seconds / 60:.1f}") if row.worlds else "",
        }
        for row in mission.studies
    ]
    return Part("parts/studies.html.j2", {"word": word, "rows": rows})
