"""Other tools' logs in, our results out: one file per foreign format.

`read(path)` finds the format by unambiguous marks (never by a guess) and returns an `Imported`: a stream of records
that becomes `counts()`, `samples()`, or rows of a store by `into(store)`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop.formats import (
    counts,
    evalplus,
    human_eval,
    inspect_log,
    lm_eval,
    open_instruct,
    trl,
    verifiers,
    verl,
)
from goldpanner.interop.imported import Imported, SampleStore
from goldpanner.interop.lines import json_rows, opened
from goldpanner.interop.records import Asked, Draw, ImportReport, Judge, Origin, Reading, Record
from goldpanner.interop.selection import Selection, select

__all__ = [
    "FORMATS",
    "Asked",
    "Draw",
    "Format",
    "ImportReport",
    "Imported",
    "Judge",
    "Origin",
    "Record",
    "SampleStore",
    "Selection",
    "detect",
    "read",
    "select",
    "verl_command",
    "write_counts",
    "write_inspect",
    "write_trl",
    "write_verl",
]

_DIGITS = re.compile(r"(\d+)")
write_counts = counts.write
write_inspect = inspect_log.write
write_trl = trl.write
write_verl = verl.write
verl_command = verl.command


@dataclass(frozen=True)
class Format:
    """One foreign format: how it is recognised and read."""

    name: str
    read: Callable[[Reading], Iterator[Record]]
    marks: str
    """What it looks like, for people."""
    keys: frozenset[str] = frozenset()
    """Fields of its first line that no other format has together; empty where it is not JSON lines."""
    names: tuple[str, ...] = ()
    """Patterns of its file names, for folders."""
    anonymous: bool = False
    """Whether nothing in a file says which model wrote it: two files of a folder may be two models."""


_TABLE = (
    Format("counts", counts.read, "JSON lines with id, n, c", counts.KEYS),
    Format(
        "lm-eval",
        lm_eval.read,
        "samples_*.jsonl: JSON lines with doc_id, doc, resps, filtered_resps",
        lm_eval.KEYS,
        ("samples_*.jsonl", "samples_*.jsonl.gz"),
    ),
    Format(
        "inspect", inspect_log.read, "*.eval, or *.json with version, status, eval", names=("*.eval", "[0-9]*T*.json")
    ),
    Format("verl", verl.read, "{step}.jsonl: JSON lines with input, output, score, step", verl.KEYS, ("[0-9]*.jsonl",)),
    Format(
        "trl",
        trl.read,
        "completions_*.parquet with step, prompt, completion, advantage",
        names=("completions_*.parquet", "completions/completions_*.parquet"),
    ),
    Format(
        "verifiers",
        verifiers.read,
        "results.jsonl: JSON lines with example_id, prompt, completion, reward",
        verifiers.KEYS,
        ("results.jsonl",),
    ),
    Format(
        "verifiers-traces",
        verifiers.read_traces,
        "traces.jsonl: JSON lines with task, traces, ok",
        verifiers.TRACE_KEYS,
        ("traces.jsonl",),
    ),
    Format(
        "open-instruct",
        open_instruct.read,
        "*_rollouts_*.jsonl: JSON lines with prompt_tokens, response_tokens, reward, sample_idx, prompt_idx",
        open_instruct.KEYS,
        ("*_rollouts_[0-9]*.jsonl",),
    ),
    Format(
        "human-eval",
        human_eval.read,
        "*_results.jsonl: JSON lines with task_id, completion, passed, result",
        human_eval.KEYS,
        ("*_results.jsonl",),
        anonymous=True,
    ),
    Format(
        "evalplus",
        evalplus.read,
        "*eval_results.json with hash, eval",
        names=("*eval_results.json",),
        anonymous=True,
    ),
)
FORMATS: dict[str, Format] = {f.name: f for f in _TABLE}
"""Every format by name, counts first."""


def read(
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

    Nothing is read yet but what finding the format takes. `verifier` judges completions anew; `threshold` makes a
    reward that is not 0 or 1 a verdict (correct from it upwards); `score` names the metric, scorer or reward that
    decides, `filter` lm-evaluation-harness's filter; `step` takes one training step; `torn_tail` leaves out a last line
    that was cut.
    Raises InputError (file, line, what was expected, what to do), here or while the records are read.
    """
    path = Path(path)
    if threshold is not None and threshold != threshold:
        raise InputError("threshold is NaN; give a number")
    found = detect(path) if format is None else _named(format)
    files = tuple(sorted(_files(path, found), key=_natural))
    reading = Reading(files, ImportReport(found.name), verifier, threshold, score, filter, step, torn_tail)
    return Imported(found.name, reading, found.read)


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def _natural(path: Path) -> tuple[str, list[tuple[int, str]]]:
    """Sort `9.jsonl` before `10.jsonl`."""
    return str(path.parent), [(len(part), part) if part.isdecimal() else (0, part) for part in _DIGITS.split(path.name)]


def _files(path: Path, found: Format) -> list[Path]:
    _there(path)
    if not path.is_dir():
        return [path]
    files = sorted({f for pattern in found.names for f in path.glob(pattern) if f.is_file()})
    if not files:
        raise InputError(
            f"{path} holds no file of the format {found.name} ({' or '.join(found.names) or 'give the file itself'})"
        )
    if found.anonymous and len(files) > 1:
        raise InputError(
            f"{path} holds {len(files)} files of the format {found.name} ({', '.join(f.name for f in files[:3])}), "
            "and nothing in them says whether one model wrote them; give one file"
        )
    return files


def _there(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist; give a file or folder to import")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is a pipe or a device, and a log is read more than once; write it to a file first")


def detect(path: Path | str) -> Format:
    """Return the format of a file or folder. Raises InputError listing the formats where not exactly one fits."""
    path = Path(path)
    _there(path)
    if path.is_dir():
        found = [f for f in FORMATS.values() if f.names and any(g.is_file() for p in f.names for g in path.glob(p))]
        first = next((g for f in found for p in f.names for g in sorted(path.glob(p))), None)
        if len(found) == 1 and first is not None and detect(first) is found[0]:
            return found[0]
        raise _unclear(path, found, "a folder without files of one known format")
    with opened(path) as handle:
        head = handle.read(4)
    if head == b"PAR1":
        if trl.columns_of(path) >= trl.COLUMNS:
            return FORMATS["trl"]
        raise _unclear(path, [], f"a parquet file with the columns {', '.join(sorted(trl.columns_of(path))[:12])}")
    if head == b"PK\x03\x04":
        if path.suffix == ".eval":
            return FORMATS["inspect"]
        raise _unclear(path, [], "a zip archive whose name does not end in .eval")
    if path.suffix == ".json":
        with suppress(InputError):  # JSON lines by another name
            return _by_first_row(path)
        value = evalplus.document(path)
        found = [FORMATS["evalplus"]] if evalplus.is_results(value) else []
        if {"version", "status", "eval"} <= set(value) and not found:
            found = [FORMATS["inspect"]]
        if len(found) == 1:
            return found[0]
        raise _unclear(path, found, f"a JSON object with the fields {', '.join(list(map(str, value))[:12])}")
    return _by_first_row(path)


def _by_first_row(path: Path) -> Format:
    row = next(json_rows(path), None)
    if row is None:
        raise InputError(f"{path} is empty: it holds no record; was its writer stopped?")
    found = [f for f in FORMATS.values() if f.keys and f.keys <= set(row.fields)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(map(str, row.fields))[:12])
    if not found and {"task_id", "completion"} <= set(row.fields):
        raise InputError(
            f"{path} holds completions without verdicts ({names}); run the benchmark's own evaluation first"
        )
    raise _unclear(path, found, f"JSON lines with the fields {names or 'none'}")


def _unclear(path: Path, found: list[Format], what: str) -> InputError:
    known = "".join(f"\n  {f.name:17}{f.marks}" for f in FORMATS.values())
    if len(found) > 1:
        what = f"both {' and '.join(f.name for f in found)}"
    return InputError(f"{path} is {what}; name its format with --format, one of:{known}")
