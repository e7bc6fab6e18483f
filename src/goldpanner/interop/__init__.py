"""Other tools' logs in, our results out: one file per foreign format in `formats/`.

`read_log(path)` finds the format by unambiguous marks (never by a guess) and returns an `Imported`: a stream of records
that becomes `counts()`, `samples()`, or rows of a store by `into(store)`.
"""

import re
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop.format import Format, Head, json_with, parquet_with
from goldpanner.interop.formats.counts import write_counts
from goldpanner.interop.formats.inspect_log import write_inspect
from goldpanner.interop.formats.trl import write_trl
from goldpanner.interop.formats.verl import verl_command, write_verl
from goldpanner.interop.imported import Imported, SampleStore
from goldpanner.interop.records import Draw, ImportReport, Judge, Origin, Question, Reading, Record
from goldpanner.interop.registry import FORMATS, detect, format_named, log_files, register
from goldpanner.interop.selection import Selection, select

__all__ = [
    "FORMATS",
    "Draw",
    "Format",
    "Head",
    "ImportReport",
    "Imported",
    "Judge",
    "Origin",
    "Question",
    "Reading",
    "Record",
    "SampleStore",
    "Selection",
    "detect",
    "json_with",
    "parquet_with",
    "read_log",
    "register",
    "select",
    "verl_command",
    "write_counts",
    "write_inspect",
    "write_trl",
    "write_verl",
]

_DIGITS = re.compile(r"(\d+)")


def read_log(
    path: Path | str,
    format: str | None = None,  # noqa: A002
    *,
    verifier: Judge | None = None,
    threshold: float | None = None,
    score: str | None = None,
    filter: str | None = None,  # noqa: A002
    step: int | None = None,
    torn_tail: bool = False,
) -> Imported:
    """Return another tool's log (a file, or a folder of one tool's files) as a stream of records.

    Nothing is read yet but what finding the format takes.

    Args:
        path: the file or folder.
        format: name of the format; by default it is found.
        verifier: judges every completion anew; the log's own verdicts are then not used.
        threshold: makes a reward that is not 0 or 1 a verdict: correct from it upwards.
        score: which metric, scorer or reward of the log decides.
        filter: which of lm-evaluation-harness's filters decides.
        step: only this training step.
        torn_tail: leaves out a last line that was cut.

    Raises:
        InputError: file, line, what was expected, what to do; here or while the records are read.
    """
    path = Path(path)
    if threshold is not None and threshold != threshold:
        raise InputError("threshold is NaN; give a number")
    of = detect(path) if format is None else format_named(format)
    files = tuple(sorted(log_files(path, of), key=_natural))
    reading = Reading(files, ImportReport(of.name), verifier, threshold, score, filter, step, torn_tail)
    return Imported(of, reading)


def _natural(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """Sort `9.jsonl` before `10.jsonl`."""
    return str(path.parent), [(len(part), part) if part.isdecimal() else (0, part) for part in _DIGITS.split(path.name)]
