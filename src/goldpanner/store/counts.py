"""Samples to Counts: one scan, each key once, and no ambiguity that goes unsaid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from goldpanner.errors import InputError
from goldpanner.store.read import Ask, Reader, columns
from goldpanner.store.rows import KEY
from goldpanner.types import Counts

_COUNT = """
    count(*) AS n,
    count(*) FILTER (outcome = 'correct') AS c,
    count(*) FILTER (outcome = 'unjudged') AS unjudged,
    count(*) FILTER (finish = 'length') AS truncated,
    count(*) FILTER (finish = 'unknown') AS finish_unknown,
    count(*) FILTER (cause = 'model') AS unanswered
"""


@dataclass(frozen=True)
class Selection:
    """A choice of samples; None means all."""

    policy: str | None = None
    params: str | None = None
    tasks: Sequence[str] | None = None
    problems: Sequence[str] | None = None
    run: str | None = None
    seed: int | None = None
    step: int | None = None
    rollouts: bool = True
    """Whether the rollouts of RL training are taken too."""
    failed: bool = True
    """Whether samples whose request failed (`finish` is `error`) are taken too."""

    @property
    def where(self) -> str:
        """The SQL condition; ids are parameters, never text of the query."""
        simple = [f'"{name}" = ${name}' for name in ("policy", "params", "run", "seed", "step") if name in self.values]
        lists = [
            f"{column} IN (SELECT unnest(${name}::VARCHAR[]))"
            for name, column in (("tasks", "task"), ("problems", "problem"))
            if name in self.values
        ]
        measured = [] if self.rollouts else ["step IS NULL"]
        conditions = [] if self.failed else ["finish <> 'error'"]
        return " AND ".join([*simple, *lists, *measured, *conditions]) or "true"

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `where`."""
        values: dict[str, object] = {
            name: getattr(self, name)
            for name in ("policy", "params", "run", "seed", "step")
            if getattr(self, name) is not None
        }
        for name in ("tasks", "problems"):
            chosen = getattr(self, name)
            if chosen is not None:
                values[name] = [chosen] if isinstance(chosen, str) else list(chosen)
        return values

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {value!r}" if not isinstance(value, list) else f"{len(value)} {name}"
            for name, value in self.values.items()
        )


def count_rows(reader: Reader, selection: Selection, verifier: str | None) -> Counts:
    """Return the Counts of a selection; see `Store.counts`."""

    return reader.answer(("samples", "verdicts"), lambda ask: _count(reader, ask, selection, verifier))


def _count(reader: Reader, ask: Ask, selection: Selection, verifier: str | None) -> Counts:
    where, values = selection.where, selection.values
    named = {"verifier": verifier} if verifier is not None else {}
    rows = reader.once("samples", where, prefer="verifier = $verifier" if named else "")
    filters = named if "$verifier" in rows else {}
    table = ask(
        f"SELECT problem, params, verifier, {_COUNT} FROM {rows} GROUP BY ALL ORDER BY problem", {**values, **filters}
    )
    if not len(table):
        raise nothing(ask, selection)
    _one_params(table, selection)
    totals = _sums(table, "verifier")
    if verifier is None and len(totals) > 1:
        listed = ", ".join(f"{name} ({n} samples)" for name, n in totals.items())
        raise InputError(
            f"{selection}: judged by {len(totals)} verifiers: {listed}; say which with verifier= (--verdicts-of)"
        )
    if verifier is not None and set(totals) != {verifier}:
        table = _judged_by(reader, ask, rows, {**values, **named}, verifier, totals)
    ids = table.column("problem").to_pylist()
    _all_there(selection, ids)
    return Counts(tuple(ids), *(table.column(name).to_numpy() for name in Counts.COLUMNS))


def _judged_by(
    reader: Reader, ask: Ask, rows: str, values: Mapping[str, object], verifier: str, found: Mapping[str, int]
) -> pa.Table:
    """Count by the verdicts of `verifier`, stored with the sample or later; a sample it never saw is unjudged."""
    later = reader.once("verdicts", "verifier = $verifier" + (" AND policy = $policy" if "policy" in values else ""))
    table = ask(
        f"""
        WITH judged AS (
            SELECT s.problem, s.finish, s.verifier = $verifier OR v.outcome IS NOT NULL AS seen,
                CASE WHEN s.verifier = $verifier THEN s.outcome ELSE coalesce(v.outcome, 'unjudged') END AS outcome,
                CASE WHEN s.verifier = $verifier THEN s.cause ELSE v.cause END AS cause
            FROM {rows} s LEFT JOIN (SELECT {columns(KEY)}, outcome, cause FROM {later}) v USING ({columns(KEY)})
        )
        SELECT problem, {_COUNT}, count(*) FILTER (seen) AS seen FROM judged GROUP BY problem ORDER BY problem
        """,
        values,
    )
    if not np.sum(table.column("seen").to_numpy()):
        later_names = ask("SELECT DISTINCT verifier FROM verdicts_rows").column(0).to_pylist()
        names = ", ".join(sorted({*found, *later_names}))
        raise InputError(f"verifier {verifier!r} has judged none of these samples; these have: {names}")
    return table


def _one_params(table: pa.Table, selection: Selection) -> None:
    totals = _sums(table, "params")
    if len(totals) > 1:
        listed = ", ".join(f"{name} ({n} samples)" for name, n in totals.items())
        raise InputError(
            f"{selection}: drawn under {len(totals)} sampling parameters: {listed}; pooling them would mix two "
            "distributions, so say which with params= (--params)"
        )


def _sums(table: pa.Table, column: str) -> dict[str, int]:
    """Return samples per value of `column`."""
    sums = table.group_by(column).aggregate([("n", "sum")]).sort_by(column)
    return dict(zip(sums.column(column).to_pylist(), sums.column("n_sum").to_pylist(), strict=True))


def _all_there(selection: Selection, ids: Sequence[str]) -> None:
    chosen, sampled = selection.problems or (), set(ids)
    missing = [i for i in ([chosen] if isinstance(chosen, str) else chosen) if i not in sampled]
    if missing:
        raise InputError(
            f"{len(missing)} of the problems asked for have no samples ({', '.join(missing[:3])} ...): "
            "draw them first, or leave them out"
        )


def nothing(ask: Ask, selection: Selection) -> InputError:
    """Return the error for a selection without samples: which of its choices is to blame, and what there is instead."""
    for name, column in (
        ("policy", "policy"), ("params", "params"), ("run", "run"), ("seed", "seed"), ("tasks", "task"),
    ):  # fmt: skip
        if name not in selection.values:
            continue
        alone = Selection(**{name: getattr(selection, name)})
        if len(ask(f"SELECT 1 FROM samples_rows WHERE {alone.where} LIMIT 1", alone.values)):
            continue
        there = ask(f'SELECT DISTINCT "{column}" FROM samples_rows ORDER BY ALL LIMIT 9').column(0).to_pylist()
        if not there:
            return InputError("the store holds no samples yet; draw some first")
        shown = ", ".join(map(repr, there[:8])) + (", ..." if len(there) > 8 else "")
        return InputError(f"the store has no samples of {name} {getattr(selection, name)!r}; it has: {shown}")
    return InputError(f"the store has no samples of {selection} taken together; draw them, or choose less narrowly")
