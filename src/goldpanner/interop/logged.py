"""Logs with a row (or a part of one document) for each problem or sample: what a row says, made into records."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from goldpanner.interop.lines import LogRow, log_rows, log_verdict, reward_of, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record, record_of
from goldpanner.types import Cause, FinishReason, Outcome, Problem, StatedParams, Verdict


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """One sample as a log has it."""

    text: str
    score: object
    """The log's verdict or reward; None where it has none."""
    finish: FinishReason = "unknown"
    error: str = ""
    """Why it failed, where it did: nothing was drawn, and nothing is judged."""
    identity: str = ""
    """The tool's own name of the sample."""


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """What one row of a log says."""

    samples: Sequence[LoggedSample]
    prompt: str = ""
    answer: str = ""
    name: str = ""
    """The log's own name of the problem; where there is none, a problem is known by what it says."""
    score: str = "score"
    """What the log calls the verdict."""
    model: str = ""
    params: StatedParams = field(default_factory=StatedParams)
    step: int | None = None
    group: str | None = None


def read_rows(
    reading: Reading,
    task: str,
    say: Callable[[LogRow, Reading], LoggedRow | None],
    rows: Iterable[LogRow] | None = None,
) -> Iterator[Record]:
    """Yield a record for each row of JSON (or of `rows`) of which `say` makes something; None: it is left out."""
    origins: dict[tuple[object, ...], LogOrigin] = {}
    for row in log_rows(reading) if rows is None else rows:
        logged = say(row, reading)
        if logged is None:
            continue
        problem = Problem(task, unicode_text(logged.prompt), unicode_text(logged.answer))
        key = (row.file, logged.model, tuple(sorted(logged.params.items())))
        if key not in origins:
            model = {"tool": task, "name": unicode_text(logged.model)} if logged.model else None
            origins[key] = LogOrigin(row.file, model=model, params=logged.params)
        draws = [
            reading.draw(
                problem,
                unicode_text(sample.text or sample.error),
                verdict=_verdict(row, logged.score, sample, task, reading),
                finish="error" if sample.error else sample.finish,
                reward=reward_of(sample.score) if logged.step is not None else None,
                identity=sample.identity,
            )
            for sample in logged.samples
        ]
        yield record_of(
            problem,
            draws,
            origins[key],
            problem_id=unicode_text(logged.name),
            step=logged.step,
            group=logged.group,
            name=unicode_text(logged.name),
        )


def _verdict(row: LogRow, name: str, sample: LoggedSample, task: str, reading: Reading) -> Verdict:
    judge = f"{task}/{name}"
    if sample.error:
        return Verdict(Outcome.UNJUDGED, reading.judge(judge), reason=unicode_text(sample.error))
    if sample.finish == "withheld":
        reason = "the server withheld the answer"
        return Verdict(Outcome.UNJUDGED, reading.judge(judge), reason=reason, cause=Cause.WITHHELD)
    return log_verdict(row, sample.score, name, judge, reading)


def one_answer(value: object) -> str:
    """Return a right answer as text: the only one of a list, or all of them as JSON.

    >>> one_answer(["42"])
    '42'
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def chosen_score(row: LogRow, scores: object, reading: Reading, first: bool = False) -> tuple[str, object]:
    """Return name and value of the score that decides: the one named, the only one, or (where it says so) the first."""
    values = scores if isinstance(scores, dict) else {}
    name = reading.score or (next(iter(values)) if len(values) == 1 or (first and values) else None)
    if name is None or name not in values:
        row.fail(f"the scores are {', '.join(map(str, values)) or 'none'}; name the one that decides with --score")
    return str(name), values[name]
