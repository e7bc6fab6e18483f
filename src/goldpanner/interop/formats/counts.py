"""Counts files: one JSON object a line, `{"id": ..., "n": ..., "c": ...}`; `unjudged`, `unanswered` (those of them
that are unjudged by the model's own doing) and `truncated` are optional.

Without `truncated` nobody knows how many completions were cut; beside it, `finish_unknown` says of how many that holds.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.files import replacing
from goldpanner.interop.format import Format, json_with
from goldpanner.interop.lines import LogRow, log_rows, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record
from goldpanner.interop.roles import FURTHER_COUNTS
from goldpanner.types import Counts


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a line. Raises InputError on a duplicate id, c + unjudged > n, or a count that is none."""
    _only_counts(reading)
    origin: LogOrigin | None = None
    seen: dict[str, int] = {}
    for row in log_rows(reading):
        if origin is None or origin.file != row.file:
            origin = LogOrigin(row.file)
        name = _name(row)
        if name in seen:
            row.fail(f"problem id {name!r} stands twice (first on line {seen[name]}); give every problem one row")
        seen[name] = row.line
        yield counts_record(row, name, origin, row.integer("n"), row.integer("c"), reading)


def counts_record(
    row: LogRow, name: str, origin: LogOrigin, n: int, c: int, reading: Reading, step: int | None = None
) -> Record:
    """Return the record of a row with the counts of one problem; fields that it lacks are 0, `truncated` unknown.

    Args:
        row: columns of the row.
        name: id of the problem.
        origin: file that the row comes from.
        n: samples.
        c: correct samples.
        reading: the import under way.
        step: training step of the samples, where the row names one.

    Raises:
        InputError: counts that do not go together.
    """
    recorded = row.fields.get("truncated") is not None
    unjudged, unanswered, truncated, partly = (
        row.integer(field) if row.fields.get(field) is not None else 0 for field in FURTHER_COUNTS
    )
    if unanswered > unjudged:
        row.fail(f"unanswered = {unanswered} is more than unjudged = {unjudged}, of which it is a part")
    if c + unjudged > n:
        row.fail(f"c = {c} and unjudged = {unjudged} are together more than n = {n}")
    if truncated > n:
        row.fail(f"truncated = {truncated} is more than n = {n}")
    if truncated + partly > n:
        row.fail(f"truncated = {truncated} and finish_unknown = {partly} are together more than n = {n}")
    if n == 0:
        reading.report.warn("problems with n = 0 carry no information")
    unknown = partly if recorded else n
    return Record(name, origin, n, c, unjudged, truncated, unknown, unanswered, step=step, name=name)


def _only_counts(reading: Reading) -> None:
    """Raise InputError for options that choose among what a log says of a sample: counts were chosen already."""
    values = (reading.threshold, reading.score, reading.filter, reading.verifier, reading.step)
    names = ("--threshold", "--score", "--filter", "--rescore", "--step")
    if idle := [name for name, value in zip(names, values) if value is not None]:
        raise InputError(
            f"{reading.files[0]} is a counts file, its samples are judged and counted: {', '.join(idle)} would change "
            "nothing; leave that out, or give the log that the counts came from"
        )


def _name(row: LogRow) -> str:
    value = row.need("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "" or len(str(value)) > 10_000:
        row.fail(f"the field 'id' is {value!r:.80}; expected text or a whole number")
    return unicode_text(str(value))


def write_counts(counts: Counts, path: Path | str) -> Path:
    """Write a counts file, atomically. `read` gives the same Counts back."""
    path = Path(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for i, name in enumerate(counts.ids):
            row: dict[str, str | int] = {"id": name, "n": int(counts.n[i]), "c": int(counts.c[i])}
            unknown = int(counts.finish_unknown[i])
            row |= {"unjudged": int(counts.unjudged[i])} if counts.unjudged[i] else {}
            row |= {"unanswered": int(counts.unanswered[i])} if counts.unanswered[i] else {}
            row |= {"truncated": int(counts.truncated[i])} if unknown < counts.n[i] or not unknown else {}
            row |= {"finish_unknown": unknown} if 0 < unknown < counts.n[i] else {}
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


FORMAT = Format("counts", _read, "JSON lines with id, n, c", json_with("id", "n", "c"), samples=False)
