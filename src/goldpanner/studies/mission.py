"""The mission's argument, sentence by sentence: the boundary that the primary claim on each found.

Nothing is measured here. A sentence is judged by one claim of one study, run by run (`boundary.py`); predictions of all
studies that bear on it stand below and do not vote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from goldpanner.errors import InputError
from goldpanner.store import Store
from goldpanner.store.argument import (
    MISSION,
    BoundaryRecord,
    ClaimText,
    MissionRecord,
    SecondaryRecord,
    SentenceRecord,
    StudyLine,
)
from goldpanner.store.findings import FindingRecord, Published, ResultRecord, StudyText, Words
from goldpanner.studies import claims
from goldpanner.studies.boundary import Claim, ClaimRun, judge_claim
from goldpanner.studies.primary import CLAIMS, first_screen
from goldpanner.studies.study import read_text

Results = Mapping[str, Sequence[ResultRecord]]
"""Study -> the result of each world that it was run in."""


class Sentence(BaseModel):
    """One sentence under test."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Words
    published: tuple[Published, ...]
    change: Words
    """What would change our mind, in either direction."""
    claim: ClaimText | None = None
    """The primary claim; None: none was written yet."""


class _Mission(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sentences: dict[str, Sentence]


@cache
def sentences() -> Mapping[str, Sentence]:
    """Return the sentences under test by id, in the order of the argument. Raises InputError naming a wrong key."""
    file = files("goldpanner.studies") / "mission.yaml"
    try:
        return _Mission.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))).sentences
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"the text of the mission ({file}) cannot be used: {error}") from error


def conclude_mission(store: Store, command: str = "") -> MissionRecord:
    """Judge every sentence by the results in `store` that its findings rest on, keep the record and return it."""
    findings = store.records(FindingRecord)
    results = {
        name: [store.records(ResultRecord)[f"{name}-w{world}"] for world in finding.worlds]
        for name, finding in findings.items()
    }
    record = judge_sentences(results, findings, command)
    store.put(record)
    return record


def judge_sentences(results: Results, findings: Mapping[str, FindingRecord], command: str = "") -> MissionRecord:
    """Return the record of the mission from the results and the findings there are, by study.

    Raises InputError where a study names a sentence that is not under test.
    """
    texts = {name: read_text(name) for name in claims.NAMES}
    secondary: dict[str, list[SecondaryRecord]] = {name: [] for name in sentences()}
    for study, text in texts.items():
        for borne, row in _bearing(study, text, findings.get(study)):
            if borne not in secondary:
                raise InputError(f"study {study} bears on {borne!r}; there are only {', '.join(secondary)}")
            secondary[borne].append(row)
    judged = []
    for name, sentence in sentences().items():
        boundary, off = judge_sentence(name, sentence, results)
        judged.append(
            SentenceRecord(**dict(sentence), id=name, boundary=boundary, off=off, secondary=tuple(secondary[name]))
        )
    return MissionRecord(
        id=MISSION,
        sentences=tuple(judged),
        studies=tuple(_summary(study, text, findings.get(study)) for study, text in texts.items()),
        answer=first_screen([row.result for row in results.get("what-creates", ())]),
        quick=any(finding.quick for finding in findings.values()),
        command=command,
    )


def judge_sentence(
    name: str, sentence: Sentence, results: Results
) -> tuple[BoundaryRecord | None, BoundaryRecord | None]:
    """Return what its primary claim finds, and what it finds with the base in place of RL (None: no run, no RL)."""
    rows = results.get(sentence.claim.study, ()) if sentence.claim else ()
    if sentence.claim is None or not rows:
        return None, None
    claim = CLAIMS[name]
    on, off = ([_run(claim, row, off) for row in rows] for off in (False, True))
    return judge_claim(claim, on), judge_claim(claim, off) if claim.treatment_is_rl else None


def _run(claim: Claim[Any], row: ResultRecord, off: bool) -> ClaimRun:
    seed = row.result.get("seed", row.world)
    assert isinstance(seed, int)
    return replace(claim.units(row.result, off), world=row.world, seed=seed)


def outcome_json(
    records: Mapping[str, FindingRecord], mission: MissionRecord, folder: Path, paths: Mapping[str, Path]
) -> dict[str, object]:
    """Return what came of studies as JSON values: predictions, boundaries, and where the pages are."""
    keys = {"predictions", "worlds", "seconds", "quick"}
    return {
        "folder": str(folder),
        "studies": {
            name: {**record.model_dump(include=keys), "page": str(paths[name])} for name, record in records.items()
        },
        "sentences": {
            sentence.id: None if sentence.boundary is None else sentence.boundary.model_dump()
            for sentence in mission.sentences
        },
        "answer": str(paths["answer"]),
    }


def study_lines(findings: Mapping[str, FindingRecord]) -> tuple[StudyLine, ...]:
    """Return a line for each study, with its worlds where there is a finding, in the order of the mission."""
    return tuple(_summary(name, read_text(name), findings.get(name)) for name in claims.NAMES)


def _bearing(study: str, text: StudyText, finding: FindingRecord | None) -> list[tuple[str, SecondaryRecord]]:
    """Return (sentence, row) for each sentence that a prediction bears on; the word is None where it was not run."""
    rows = []
    for name, prediction in (text if finding is None else finding.text).predictions.items():
        word = None if finding is None else finding.predictions[name].word
        row = SecondaryRecord(study=study, prediction=name, text=prediction.text, word=word)
        rows += [(sentence, row) for sentence in (*prediction.supports, *prediction.against)]
    return rows


def _summary(name: str, text: StudyText, finding: FindingRecord | None) -> StudyLine:
    line = StudyLine(name=name, title=text.title, predictions=len(text.predictions))
    if finding is None:
        return line
    return line.model_copy(update={"worlds": finding.worlds, "seconds": sum(finding.seconds.values())})


def table() -> str:
    """Return the studies as a Markdown table, from their texts: what each asks, and the sentences it bears on."""
    lines = ["| study | asks | predictions | bears on |", "|---|---|---|---|"]
    for name in claims.NAMES:
        text = read_text(name)
        named = dict.fromkeys(s for p in text.predictions.values() for s in (*p.supports, *p.against))
        bears = ", ".join(f"`{sentence}`" for sentence in sentences() if sentence in named)
        lines.append(f"| `{name}` | {text.title.en} | {len(text.predictions)} | {bears} |")
    return "\n".join(lines) + "\n"
