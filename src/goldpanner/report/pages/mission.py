"""The mission page, and the pages of all studies beside it, drawn from what a studies folder keeps."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.report.page import Facts, Part, Section, render
from goldpanner.report.pages import study
from goldpanner.report.ui_text import words
from goldpanner.store import Store
from goldpanner.store.findings import MISSION, EvidenceRecord, FindingRecord, MissionRecord, SentenceRecord

SAYS = ("held", "false", "conditional", "undecided", "not_run")
PLACES = ("where_for", "where_against", "where_mixed", "where_open")


def build_studies(root: Path, language: str = "en") -> dict[str, Path]:
    """Draw `mission.html` and one page a study in `root`; return their paths by name.

    Each page is one file that needs no network; in Chinese (`zh`) they are `NAME.zh.html`. The same records give the
    same bytes. Raises InputError where nothing was concluded in `root`.
    """
    words(language)
    store = Store(root / "store")
    mission = store.get(MissionRecord, MISSION)
    if mission is None:
        raise InputError(f"{root} holds no conclusions of studies; run: goldpanner study all --out {root}")
    findings = store.records(FindingRecord)
    sentences = {sentence.id: sentence.text for sentence in mission.sentences}
    pages = {
        name: study.study_page(finding, sentences, language, mission.command) for name, finding in findings.items()
    }
    pages["mission"] = mission_page(mission, findings, language)
    paths = {name: root / study.file_name(name, language) for name in pages}
    for name, path in paths.items():
        scratch = path.with_suffix(".tmp")
        scratch.write_text(pages[name], encoding="utf-8")
        scratch.replace(path)
    return paths


def mission_page(mission: MissionRecord, findings: Mapping[str, FindingRecord], language: str) -> str:
    """Return the mission page."""
    word = words(language)
    titles = {row.name: row.title.of(language) for row in mission.studies}
    sections = [
        Section("overview", word["overview"], [_overview(mission, language)]),
        Section(
            "sentences",
            word["sentences"],
            [_sentence(sentence, findings, titles, language) for sentence in mission.sentences],
        ),
        Section("studies", word["studies"], [_studies(mission, findings, language)]),
    ]
    made = [(word["again"], mission.command), (word["made_with"], _versions(findings))]
    if any(text for _, text in made):
        sections.append(Section("made", word["made"], [Facts([(name, text) for name, text in made if text])]))
    return render(
        sections,
        word["mission_title"],
        lead=word["mission_lead"],
        eyebrow=word["mission_eyebrow"],
        language=language,
        notice=word["notice"] if mission.quick else "",
    )


def _versions(findings: Mapping[str, FindingRecord]) -> str:
    named = [f"{name} {text}" for finding in findings.values() for name, text in finding.versions.items()]
    return ", ".join(dict.fromkeys(named))


def _counts(evidence: Sequence[EvidenceRecord]) -> dict[str, int]:
    return dict(Counter(row.word or "not_run" for row in evidence))


def _overview(mission: MissionRecord, language: str) -> Part:
    rows = [
        {"id": s.id, "text": s.text.of(language), "word": s.word, "counts": _counts(s.evidence)}
        for s in mission.sentences
    ]
    return Part("parts/overview.html.j2", {"word": words(language), "rows": rows})


def _sentence(
    sentence: SentenceRecord, findings: Mapping[str, FindingRecord], titles: Mapping[str, str], language: str
) -> Part:
    word, evidence = words(language), sentence.evidence
    counts = _counts(evidence)
    tallies = [f"{word[f'says_{name}']} {counts[name]}" for name in SAYS if counts.get(name)]
    summary = (
        word["bearing"].format(all=len(evidence), told=word["comma"].join(tallies)) if tallies else word["no_bearing"]
    )
    listed = [_evidence(row, findings[row.study], titles, language) for row in evidence if row.word]
    waiting = dict.fromkeys(titles[row.study] for row in evidence if row.word is None)
    values = {
        "word": word,
        "id": sentence.id,
        "text": sentence.text.of(language),
        "verdict": sentence.word,
        "counts": counts,
        "summary": summary,
        "places": list(_places(evidence, findings, titles, language)),
        "evidence": listed,
        "waiting": word["comma"].join(waiting),
        "published": study.published_rows(sentence.published, language),
        "change": sentence.change.of(language),
    }
    return Part("parts/sentence.html.j2", values)


def _evidence(
    row: EvidenceRecord, finding: FindingRecord, titles: Mapping[str, str], language: str
) -> dict[str, object]:
    return {
        "word": row.word,
        "found": row.found,
        "prediction": row.prediction,
        "text": row.text.of(language),
        "study": titles[row.study],
        "file": study.file_name(row.study, language),
        "effects": study.effects(finding, finding.predictions[row.prediction].effects, language),
    }


def _places(
    evidence: Sequence[EvidenceRecord], findings: Mapping[str, FindingRecord], titles: Mapping[str, str], language: str
) -> Iterator[tuple[str, list[tuple[dict[str, str], str]]]]:
    """Yield (heading, [(study, conditions in words)]): where a sentence is borne out, where not, where it is open."""
    word = words(language)
    by_place: dict[str, dict[str, list[str]]] = {place: {} for place in PLACES}
    for row in evidence:
        if row.word:
            finding = findings[row.study]
            prediction = finding.predictions[row.prediction]
            sides = (prediction.yes, prediction.no) if row.side == "supports" else (prediction.no, prediction.yes)
            for place, names in zip(PLACES, (*sides, prediction.mixed, prediction.open), strict=True):
                by_place[place].setdefault(row.study, []).extend(study.condition(finding, n, language) for n in names)
    for place, studies in by_place.items():
        rows = [
            (
                {"title": titles[name], "file": study.file_name(name, language)},
                word["semicolon"].join(dict.fromkeys(where)),
            )
            for name, where in studies.items()
            if where
        ]
        if rows:
            yield word[place], rows


def _studies(mission: MissionRecord, findings: Mapping[str, FindingRecord], language: str) -> Part:
    word = words(language)
    rows = [
        {
            "name": row.name,
            "title": row.title.of(language),
            "file": study.file_name(row.name, language) if row.name in findings else "",
            "word": row.word,
            "counts": row.counts if row.word else {"not_run": row.predictions},
            "time": word["minutes"].format(n=f"{row.seconds / 60:.1f}") if row.word else "",
        }
        for row in mission.studies
    ]
    return Part("parts/studies.html.j2", {"word": word, "rows": rows})
