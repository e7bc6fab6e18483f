"""Other tools' logs in, our results out: one file per foreign format in `formats/`.

`read(path)` finds the format by unambiguous marks (never by a guess) and returns an `Imported`: a stream of records
that becomes `counts()`, `samples()`, or rows of a store by `into(store)`.
"""

import re
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop.format import Format, Head, json_with, parquet_with
from goldpanner.interop.formats.counts import write_counts
from goldpanner.interop.formats.inspect_log import write_inspect
from goldpanner.interop.formats.trl import write_trl
from goldpanner.interop.formats.verl import verl_command, write_verl
from goldpanner.interop.imported import Imported, SampleStore
from goldpanner.interop.memory import file_of
from goldpanner.interop.records import Draw, ImportReport, Judge, LogOrigin, Question, Reading, Record
from goldpanner.interop.registry import FORMATS, detect, format_named, log_files, register_format
from goldpanner.interop.roles import parse_map
from goldpanner.interop.selection import ProblemSelection, select
from goldpanner.types import Problem

__all__ = [
    "FORMATS",
    "Draw",
    "Format",
    "Head",
    "ImportReport",
    "Imported",
    "Judge",
    "LogOrigin",
    "ProblemSelection",
    "Question",
    "Reading",
    "Record",
    "SampleStore",
    "detect",
    "json_with",
    "parquet_with",
    "read",
    "register_format",
    "select",
    "verl_command",
    "write_counts",
    "write_inspect",
    "write_trl",
    "write_verl",
]

_DIGITS = re.compile(r"(\d+)")


def read(
    source: object,
    format: str | None = None,  # noqa: A002
    *,
    map: str | Mapping[str, str] | None = None,  # noqa: A002
    verifier: Judge | None = None,
    threshold: float | None = None,
    score: str | None = None,
    filter: str | None = None,  # noqa: A002
    step: int | None = None,
    skip_partial_line: bool = False,
    problems: Mapping[str, Problem] | None = None,
) -> Imported:
    """Return another tool's log or a table as a stream of records.

    Nothing is read yet but what finding the format takes.

    Args:
        source: a file, a folder of one tool's files, `-` (standard input), or a table in memory: pandas, polars,
            pyarrow, rows as dicts, or a numpy matrix of 0 and 1 (problems by samples).
        format: name of the format; by default it is found.
        map: what the columns of a table are taken for, e.g. `id=problem,correct=passed`; by default found by name.
        verifier: judges every completion anew; the log's own verdicts are then not used.
        threshold: makes a reward that is not 0 or 1 a verdict: correct from it upwards.
        score: which metric, scorer or reward of the log decides.
        filter: which of lm-evaluation-harness's filters decides.
        step: only this training step.
        skip_partial_line: leaves out a last line that was cut.
        problems: by the name that the log gives them, problems whose text or right answer it does not hold.

    Raises:
        InputError: file, line, what was expected, what to do; here or while the records are read.
    """
    path, folder = file_of(source)
    columns = {} if map is None else parse_map(map)
    if threshold is not None and threshold != threshold:
        raise InputError("threshold is NaN; give a number")
    of = format_named(format or "table") if format or columns else detect(path)
    if columns and not of.table:
        raise InputError(f"--map names the columns of a table, and {of.name} is a format of its own; leave one out")
    files = tuple(sorted(log_files(path, of), key=_natural))
    report = ImportReport(of.name)
    reading = Reading(files, report, verifier, threshold, score, filter, step, skip_partial_line, columns)
    if problems and of.name != "openai-batch":
        raise InputError(f"--join joins problems to the output of a batch, and {of.name} holds its own; leave it out")
    reading.problems = problems or {}
    imported = Imported(of, reading)
    if folder is not None:
        weakref.finalize(imported, shutil.rmtree, folder, ignore_errors=True)
    return imported


def _natural(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """Sort `9.jsonl` before `10.jsonl`."""
    return str(path.parent), [(len(part), part) if part.isdecimal() else (0, part) for part in _DIGITS.split(path.name)]
