"""The counts of a table without its samples: whole columns at a time, so that a million rows take a second."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from goldpanner.errors import InputError
from goldpanner.interop.cells import finish_of
from goldpanner.interop.columns import Chunk, Codes, encoded, flatten
from goldpanner.interop.lines import message_text
from goldpanner.interop.records import Record, problem_of
from goldpanner.interop.table_rows import Key, Table
from goldpanner.types import IntArray, Outcome

_OUTCOMES = (Outcome.WRONG, Outcome.CORRECT, Outcome.UNJUDGED)
_ENDS = {"length": 1, "unknown": 2}


@dataclass
class _Tally:
    """How many samples of one problem, policy and step were seen."""

    prompt: str
    answer: str
    times: IntArray = field(default_factory=lambda: np.zeros((3, 3), np.int64))
    """By outcome (wrong, correct, unjudged) and end (by itself, cut, not recorded)."""


def tallies(table: Table) -> Iterator[Record]:
    """Yield one record a problem, policy and training step: its counts, added up over the table."""
    sums: dict[Key, _Tally] = {}
    number = 0
    for chunk in table.chunks():
        _add(table, chunk, number, sums)
        number += len(chunk.places)
    for (name, policy, step), tally in sums.items():
        label = "" if "id" not in table.layout.columns and tally.prompt else name
        (_, c, unjudged), (_, truncated, unknown) = tally.times.sum(1).tolist(), tally.times.sum(0).tolist()
        problem = problem_of(table.task, tally.prompt, tally.answer)
        yield Record(
            name, table.origin(policy), int(tally.times.sum()), c, unjudged, truncated, unknown,
            problem=problem, step=step, name=label,
        )  # fmt: skip


def _add(table: Table, chunk: Chunk, number: int, sums: dict[Key, _Tally]) -> None:
    """Add the samples of a chunk, whose first row is row `number` from 0."""
    outcomes, rows = _outcomes(table, chunk)
    ends = _ends(table, chunk, rows)
    roles = [role for role in ("id", "prompt", "answer", "policy", "step") if role in table.layout.columns]
    columns = {role: encoded(chunk.columns[table.layout.columns[role]]) for role in roles}
    group = np.zeros(len(chunk.places), np.int64) if {"id", "prompt"} & set(roles) else np.arange(len(chunk.places))
    for role in ("policy", "step", *(("id",) if "id" in columns else ("prompt", "answer"))):
        if role in columns:
            _, group = np.unique(group * len(columns[role].values) + columns[role].at, return_inverse=True)
    _, first, place = np.unique(group, return_index=True, return_inverse=True)
    times = np.bincount((place[rows] * 3 + outcomes) * 3 + ends, minlength=9 * len(first)).reshape(-1, 3, 3)
    for at, index in enumerate(first.tolist()):
        values = {role: codes.values[codes.at[index]] for role, codes in columns.items()}
        key = table.key(table.row(chunk, index, values), values, number + index + 1)
        if not times[at].any():
            table.reading.report.skip("a problem without samples", f"{table.path}:{chunk.places[index]}")
            continue
        if key not in sums:
            sums[key] = _Tally(message_text(values.get("prompt")) or "", table.answer(values))
        sums[key].times += times[at]


def _outcomes(table: Table, chunk: Chunk) -> tuple[IntArray, IntArray]:
    """Return the outcome of each sample of a chunk (0 wrong, 1 correct, 2 unjudged), and its row."""
    every = np.arange(len(chunk.places))
    if table.layout.samples:
        parts = [_column_outcomes(table, chunk, encoded(chunk.columns[s]), every, s) for s in table.layout.samples]
        return np.concatenate(parts), np.tile(every, len(parts))
    name = table.layout.columns["correct"]
    lists = flatten(chunk.columns[name])
    column, rows = (chunk.columns[name], every) if lists is None else lists
    return _column_outcomes(table, chunk, encoded(column), rows, name), rows


def _column_outcomes(table: Table, chunk: Chunk, codes: Codes, rows: IntArray, name: str) -> IntArray:
    """Judge each distinct value once."""
    outcomes = np.zeros(len(codes.values), np.int64)
    for code, first in zip(*(part.tolist() for part in np.unique(codes.at, return_index=True))):
        row = chunk.row(int(rows[first]), **{name: codes.values[code]})
        outcomes[code] = _OUTCOMES.index(table.verdict(row, codes.values[code], name).outcome)
    return outcomes[codes.at]


def _ends(table: Table, chunk: Chunk, rows: IntArray) -> IntArray:
    """Return how each sample of a chunk ended: 0 by itself, 1 cut, 2 not recorded."""
    name = table.layout.columns.get("finish")
    if name is None:
        return np.full(len(rows), 2)
    lists = flatten(chunk.columns[name])
    codes = encoded(chunk.columns[name] if lists is None else lists[0])
    ends = np.array([_ENDS.get(finish_of(value), 0) for value in codes.values], np.int64)[codes.at]
    if lists is None:
        return ends[rows]
    if len(ends) != len(rows) or (lists[1] != rows).any():
        raise InputError(
            f"{table.path}: the lists of {name!r} are not as long as those of {table.column('correct')!r}; give one "
            "entry for each sample"
        )
    return ends
