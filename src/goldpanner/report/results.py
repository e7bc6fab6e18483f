"""What each kind of result shows: its tables and its figures by name.

A table or figure is made when it is asked for. A new kind of result registers its view here, and has every form.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from goldpanner.errors import InputError
from goldpanner.files import replacing
from goldpanner.measure import passk
from goldpanner.measure.compare import Comparison
from goldpanner.measure.passk import Band
from goldpanner.measure.plan import ASSIGNMENTS, Plan
from goldpanner.measure.profile import Profile
from goldpanner.measure.series import Series
from goldpanner.report import figures
from goldpanner.report.chart_style import PICTURES
from goldpanner.report.figure_files import Picture
from goldpanner.report.page import Figure
from goldpanner.report.table import WRITERS, Column, ResultTable
from goldpanner.store.rows import samples_table
from goldpanner.types import Counts, Sample

if TYPE_CHECKING:
    import pandas

SHOWN_K = (1, 4, 16, 64, 256, 1024, 4096)
"""The k of a short table, beside the largest."""
HTML_ROWS = 12
"""Rows of a table in a notebook."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class View:
    """The tables and figures of a result by name; the first ones are shown where none is named."""

    tables: Mapping[str, Callable[[], ResultTable]]
    figures: Mapping[str, Callable[[], Figure]]

    def table(self, name: str = "") -> ResultTable:
        """Return a table. Raises InputError listing those that there are."""
        return _named(self.tables, name, "table")()

    def picture(self, name: str = "") -> Picture:
        """Return a figure by itself. Raises InputError listing those that there are."""
        return Picture(_named(self.figures, name, "figure")())

    def save(self, path: Path) -> Path:
        """Write the table or figure that the name of a file says, as its ending says; return the path.

        Raises InputError where there is no such table, figure or ending, listing those that there are.
        """
        name = self.name_of(path)
        if path.suffix in PICTURES:
            return self.picture(name).save(path)
        table = self.table(name)
        with replacing(path) as temporary:
            WRITERS[path.suffix](table, temporary)
        return path

    def name_of(self, path: Path) -> str:
        """Return the table or figure that the name of a file ends in. Raises InputError where `save` would."""
        names: Sequence[str] = [*self.figures] if path.suffix in PICTURES else [*self.tables]
        if path.suffix not in (*PICTURES, *WRITERS):
            names = []
        for name in names:
            if path.stem == name or path.stem.endswith((f"-{name}", f"_{name}")):
                return name
        tables = f"tables {', '.join(self.tables)} ({' '.join(WRITERS)})"
        drawings = f"; figures {', '.join(self.figures)} ({' '.join(PICTURES)})" if self.figures else ""
        raise InputError(f"{path.name} names no table or figure of this result; there are {tables}{drawings}")

    def html(self, answer: str) -> str:
        """Return the answer, the first figure and the first rows of the first table."""
        picture = ""
        if self.figures:
            picture = f"<div>{self.picture()._repr_svg_()}</div>"
        paragraphs = "".join(f"<p>{escape(line)}</p>" for line in answer.split("\n"))
        return f"<div>{paragraphs}{picture}{self.table().html(HTML_ROWS)}</div>"


def _named(things: Mapping[str, Callable[[], Made]], name: str, kind: str) -> Callable[[], Made]:
    if not things:
        raise InputError(f"there is no {kind} of this result")
    if name and name not in things:
        raise InputError(f"there is no {kind} {name!r}; there are {', '.join(things)}")
    return things[name or next(iter(things))]


def save_all(result: object, paths: Sequence[Path]) -> None:
    """Write tables and figures of a result to files; none where the name of one is wrong.

    Raises InputError as `View.save`.
    """
    shown = view(result)
    for path in paths:
        shown.name_of(path)
    for path in paths:
        shown.save(path)


def to_frame(result: object, table: str = "") -> "pandas.DataFrame":
    """Return a table of a result, or of a list of samples, as a pandas DataFrame.

        gp.to_frame(store.samples(policy="base"))

    Args:
        result: Counts, a Band, Comparison, Series, Profile or Plan, or a list of samples.
        table: name of the table; by default the first.

    Raises:
        InputError: a thing without tables, or no such table.
        MissingExtraError: pandas is not installed.
    """
    return view(result).table(table).frame()


@singledispatch
def view(result: object) -> View:
    """Return the tables and figures of a result. Raises InputError for what is no result."""
    raise InputError(
        f"a {type(result).__name__} has no tables; give Counts, a Band, Comparison, Series, Profile or Plan, or a list "
        "of samples"
    )


@view.register
def _(result: Counts) -> View:
    return View(
        {"problems": lambda: _counts(result)}, {"curve": lambda: figures.curve_figure({"": passk.curve(result)})}
    )


@view.register
def _(result: Band) -> View:
    return View({"curve": lambda: _band(result)}, {"curve": lambda: figures.curve_figure({"": result})})


@view.register
def _(result: Profile) -> View:
    tables = {
        "table": lambda: _targets(result),
        "curve": lambda: _band(result.curve),
        "problems": lambda: _boundary(result),
        "groups": lambda: _groups(result),
    }
    if result.by:
        tables["labels"] = lambda: _labels(result)
    pictures = {"curve": lambda: figures.curve_figure({"": result.curve})}
    if result.groups:
        pictures["groups"] = lambda: figures.group_figure(
            {
                "mixed": {size: shares.mixed for size, shares in result.groups.items()},
                "all wrong": {size: shares.all_wrong for size, shares in result.groups.items()},
                "all correct": {size: shares.all_correct for size, shares in result.groups.items()},
            }
        )
    return View(tables, pictures)


@view.register
def _(result: Comparison) -> View:
    bands = {"base": result.base, "RL": result.rl}
    return View(
        {
            "table": lambda: _short(bands | {"difference": result.difference}, result.difference.largest),
            "curve": lambda: _bands(bands),
            "difference": lambda: _band(result.difference, "difference"),
            "problems": lambda: _changes(result),
        },
        {
            "curve": lambda: figures.curve_figure(bands),
            "difference": lambda: figures.difference_figure(result),
            "problems": lambda: figures.change_figure(result),
        },
    )


@view.register
def _(result: Series) -> View:
    bands = {stage.name: stage.curve for stage in (result.base, *result.stages)}
    return View(
        {
            "table": lambda: _models(result),
            "curve": lambda: _bands(bands),
            "problems": lambda: _problems_by_model(result),
        },
        {"curve": lambda: figures.curve_figure(bands), "problems": lambda: figures.heat_figure(result)},
    )


@view.register
def _(result: Plan) -> View:
    return View(
        {"table": lambda: _classes(result), "groups": lambda: _sizes(result), "problems": lambda: _assignments(result)},
        {"groups": lambda: figures.group_figure({"mixed": {o.size: o.mixed_share for o in result.sizes}})},
    )


@view.register(list)
def _(result: list[Sample]) -> View:
    if not all(isinstance(each, Sample) for each in result):
        raise InputError("a list of other things than samples has no tables; give what Store.samples returns")
    return View({"samples": lambda: _samples(result)}, {})


def _samples(samples: Sequence[Sample]) -> ResultTable:
    table = samples_table(samples)
    return ResultTable(dict(zip(table.column_names, (column.to_pylist() for column in table.columns))))


def _counts(counts: Counts) -> ResultTable:
    return ResultTable({"id": counts.ids, **dict(zip(Counts.COLUMNS, counts.columns))}, "Counts of every problem.")


def _band(band: Band, name: str = "pass@k") -> ResultTable:
    columns = {"k": band.k, name: band.value, f"{name}_low": band.low, f"{name}_high": band.high}
    return ResultTable(columns, f"{name}, {band.level:.0%} {'band' if band.simultaneous else 'intervals'}.")


def _bands(bands: Mapping[str, Band]) -> ResultTable:
    """Return the curves of several models, one below the other."""
    columns: dict[str, Column] = {
        "model": [name for name, band in bands.items() for _ in band.k],
        "k": np.concatenate([band.k for band in bands.values()]),
        "pass@k": np.concatenate([band.value for band in bands.values()]),
        "low": np.concatenate([band.low for band in bands.values()]),
        "high": np.concatenate([band.high for band in bands.values()]),
    }
    return ResultTable(columns, "pass@k of every model with its band.")


def _short(bands: Mapping[str, Band], largest: int) -> ResultTable:
    ks = sorted({k for k in (*SHOWN_K, largest) if 0 < k <= largest})
    level = next(iter(bands.values())).level
    columns = {name: [band.at(k) for k in ks] for name, band in bands.items()}
    return ResultTable({"k": ks, **columns}, f"pass@k, {level:.0%} simultaneous bands.")


def _targets(result: Profile) -> ResultTable:
    largest = result.curve.largest
    return ResultTable(
        {
            "k": list(result.these),
            "these problems": list(result.these.values()),
            "problems like these": [result.alike[k] for k in result.these],
            "how": [result.method_at(k) if k <= largest else "beyond n" for k in result.these],
        },
        f"pass@k, {result.curve.level:.0%} intervals.",
    )


def _boundary(result: Profile) -> ResultTable:
    b = result.boundary
    columns: dict[str, Column] = {
        "id": b.counts.ids, "n": b.counts.n, "c": b.counts.c, "unjudged": b.counts.unjudged, "P": b.value,
        "P_low": b.low, "P_high": b.high, "upper bound": b.bound, "stratum": b.stratum.tolist(),
    }  # fmt: skip
    return ResultTable(columns, f"P(correct) of every problem, {b.level:.0%} intervals.")


def _groups(result: Profile) -> ResultTable:
    shares = result.groups.values()
    return ResultTable(
        {
            "G": [each.size for each in shares],
            "mixed": [each.mixed for each in shares],
            "all wrong": [each.all_wrong for each in shares],
            "all correct": [each.all_correct for each in shares],
        },
        "Expected shares of groups of G samples.",
    )


def _labels(result: Profile) -> ResultTable:
    parts = result.by.values()
    columns: dict[str, Column] = {
        "label": list(result.by),
        "problems": [each.problems for each in parts],
        "pass@1": [each.pass_at_1 for each in parts],
        "k": [each.k for each in parts],
        "pass@k": [each.pass_at_k for each in parts],
    }
    return ResultTable(columns, "pass@k by label.")


def _changes(result: Comparison) -> ResultTable:
    rows = result.changes.rows()
    columns: dict[str, Column] = {name: [row[name] for row in rows] for name in rows[0]}
    if result.origin:
        origins = (result.origin.get(i) for i in result.changes.ids)
        columns["origin"] = [None if each is None else each.label for each in origins]
    return ResultTable(columns, "Every problem under both models, with exact tests.")


def _models(result: Series) -> ResultTable:
    stages = (result.base, *result.stages)
    last = result.stages[0].at_k_tries.k
    columns: dict[str, Column] = {
        "model": [stage.name for stage in stages],
        "seeds": [len(stage.seeds) for stage in stages],
        "pass@1": [stage.at_one_try.rl for stage in stages],
        "difference@1": [stage.at_one_try.difference for stage in stages],
        f"pass@{last}": [stage.at_k_tries.rl for stage in stages],
        f"difference@{last}": [stage.at_k_tries.difference for stage in stages],
        "rose": [int(stage.changes.rose.sum()) for stage in stages],
        "fell": [int(stage.changes.fell.sum()) for stage in stages],
        "covered": [stage.covered for stage in stages],
        f"mixed at G = {result.group}": [stage.mixed for stage in stages],
    }
    return ResultTable(columns, f"Against {result.base.name}, {result.level:.0%} for all together.")


def _problems_by_model(result: Series) -> ResultTable:
    columns: dict[str, Column] = {"id": result.base.changes.ids}
    for stage in (result.base, *result.stages):
        columns |= {f"{stage.name}_c": stage.changes.rl.c, f"{stage.name}_n": stage.changes.rl.judged}
    return ResultTable(columns, "Correct and judged samples of every problem under every model.")


def _classes(result: Plan) -> ResultTable:
    edges = (0.0, *result.thresholds, 1.0)
    ids = [result.ids(each) for each in ASSIGNMENTS]
    columns: dict[str, Column] = {
        "class": list(ASSIGNMENTS), "P from": edges[:-1], "P to": edges[1:], "problems": [len(each) for each in ids],
    }  # fmt: skip
    return ResultTable(columns, f"Problems by class, for groups of {result.recommended}.")


def _sizes(result: Plan) -> ResultTable:
    columns: dict[str, Column] = {
        "G": [option.size for option in result.sizes],
        "mixed share": [option.mixed_share for option in result.sizes],
        "mixed groups a step": [option.mixed_per_step for option in result.sizes],
        "rollouts per mixed group": [option.cost for option in result.sizes],
    }
    return ResultTable(columns, "Groups by their size.")


def _assignments(result: Plan) -> ResultTable:
    problems = result.problems
    columns: dict[str, Column] = {
        "id": [p.id for p in problems], "n": [p.n for p in problems], "c": [p.c for p in problems],
        "class": [p.assignment for p in problems], "probability": [p.probability for p in problems],
        "P": [p.p for p in problems], "success": [p.success for p in problems],
        "rollouts": [p.rollouts for p in problems],
    }  # fmt: skip
    return ResultTable(columns, "The class of every problem.")
