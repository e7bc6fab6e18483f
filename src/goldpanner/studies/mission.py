"""The mission's argument, sentence by sentence: which predictions bear on a sentence, and what they say together.

Nothing is measured here. A prediction that `supports` a sentence speaks for it where it holds; one that is `against` it
speaks for it where its contrary is established. Together they are judged by the rule of `decide`, one level up.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import get_args

import yaml
from pydantic import BaseModel, ConfigDict

from goldpanner.errors import InputError
from goldpanner.store import Store
from goldpanner.store.findings import (
    MISSION,
    EvidenceRecord,
    FindingRecord,
    MissionRecord,
    Published,
    SentenceRecord,
    Side,
    StudyLine,
    StudyText,
    Word,
    Words,
)
from goldpanner.studies import claims
from goldpanner.studies.decide import combine, contrary
from goldpanner.studies.study import read_text

WORDS: tuple[Word, ...] = get_args(Word)


class Sentence(BaseModel):
    """One sentence under test."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Words
    published: tuple[Published, ...]
    change: Words
    """What would change our mind, in either direction."""


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
    """Judge every sentence by the findings in `store`, keep the record and return it."""
    texts = {name: read_text(name) for name in claims.NAMES}
    record = judge_sentences(store.records(FindingRecord), texts, command)
    store.put(record)
    return record


def judge_sentences(
    findings: Mapping[str, FindingRecord], texts: Mapping[str, StudyText], command: str = ""
) -> MissionRecord:
    """Return the record of the mission from the findings there are, by study, and the texts of all studies.

    A study that was not run leaves its predictions undecided; a sentence none of whose studies was run has no verdict.
    Raises InputError where a study names a sentence that is not under test.
    """
    evidence: dict[str, list[EvidenceRecord]] = {name: [] for name in sentences()}
    for study, text in texts.items():
        for row in _bearing(study, text, findings.get(study)):
            if row.sentence not in evidence:
                raise InputError(f"study {study} bears on {row.sentence!r}; there are only {', '.join(evidence)}")
            evidence[row.sentence].append(row)
    return MissionRecord(
        id=MISSION,
        sentences=tuple(
            SentenceRecord(**dict(sentence), id=name, word=_together(rows), evidence=tuple(rows))
            for (name, sentence), rows in zip(sentences().items(), evidence.values(), strict=True)
        ),
        studies=tuple(_summary(study, text, findings.get(study)) for study, text in texts.items()),
        quick=any(finding.quick for finding in findings.values()),
        command=command,
    )


def study_lines(findings: Mapping[str, FindingRecord]) -> tuple[StudyLine, ...]:
    """Return a line for each study, with its verdict where there is a finding, in the order of the mission."""
    return tuple(_summary(name, read_text(name), findings.get(name)) for name in claims.NAMES)


def _bearing(study: str, text: StudyText, finding: FindingRecord | None) -> list[EvidenceRecord]:
    """Return a row for each pair of a prediction and a sentence it bears on; words are None where it was not run."""
    rows = []
    for name, prediction in (text if finding is None else finding.text).predictions.items():
        word = None if finding is None else finding.predictions[name].word
        contradicted = None if word is None else contrary(word)
        sides: tuple[tuple[Side, tuple[str, ...], Word | None], ...] = (
            ("supports", prediction.supports, word),
            ("against", prediction.against, contradicted),
        )
        rows += [
            EvidenceRecord(
                sentence=sentence, study=study, prediction=name, text=prediction.text, side=side, found=word, word=says
            )
            for side, borne, says in sides
            for sentence in borne
        ]
    return rows


def _together(rows: Sequence[EvidenceRecord]) -> Word | None:
    if all(row.word is None for row in rows):
        return None
    return combine([row.word or "undecided" for row in rows])


def _summary(name: str, text: StudyText, finding: FindingRecord | None) -> StudyLine:
    """Return a study's line: its title, and its verdict, counts of predictions by verdict and CPU time where it ran."""
    line = StudyLine(name=name, title=text.title, predictions=len(text.predictions), word=None)
    if finding is None:
        return line
    counts = Counter(prediction.word for prediction in finding.predictions.values())
    of_words = {word: counts[word] for word in WORDS}
    seconds = sum(finding.seconds.values())
    return line.model_copy(update={"word": finding.word, "counts": of_words, "seconds": seconds})


def table() -> str:
    """Return the studies as a Markdown table, from their texts: what each asks, and the sentences it bears on."""
    lines = ["| study | asks | predictions | bears on |", "|---|---|---|---|"]
    for name in claims.NAMES:
        text = read_text(name)
        named = dict.fromkeys(s for p in text.predictions.values() for s in (*p.supports, *p.against))
        bears = ", ".join(f"`{sentence}`" for sentence in sentences() if sentence in named)
        lines.append(f"| `{name}` | {text.title.en} | {len(text.predictions)} | {bears} |")
    return "\n".join(lines) + "\n"
