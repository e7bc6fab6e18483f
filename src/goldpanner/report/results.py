"""What each kind of result shows: its tables and its figures by name.

A table or figure is made when it is asked for. A new kind of result registers its view here, and has every form.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.compare import Comparison
from goldpanner.measure.passk import Band
from goldpanner.measure.plan import Plan
from goldpanner.measure.profile import Profile
from goldpanner.measure.series import Series
from goldpanner.report import figures
from goldpanner.report import result_tables as tables
from goldpanner.report.chart_style import PICTURES
from goldpanner.report.figure_files import Picture
from goldpanner.report.page import Figure
from goldpanner.report.table import WRITERS, ResultTable, write_table
from goldpanner.types import Counts, Sample

if TYPE_CHECKING:
    import pandas

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
        write_table(self.table(name), path)
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
        {"problems": lambda: tables.counts_table(result)},
        {"curve": lambda: figures.curve_figure({"": passk.curve(result)})},
    )


@view.register
def _(result: Band) -> View:
    return View({"curve": lambda: tables.band_table(result)}, {"curve": lambda: figures.curve_figure({"": result})})


@view.register
def _(result: Profile) -> View:
    named = {
        "table": lambda: tables.targets_table(result),
        "curve": lambda: tables.band_table(result.curve),
        "problems": lambda: tables.boundary_table(result),
        "groups": lambda: tables.groups_table(result),
    }
    if result.by:
        named["labels"] = lambda: tables.labels_table(result)
    pictures = {"curve": lambda: figures.curve_figure({"": result.curve})}
    if result.groups:
        pictures["groups"] = lambda: figures.group_figure(
            {
                "mixed": {size: shares.mixed for size, shares in result.groups.items()},
                "all wrong": {size: shares.all_wrong for size, shares in result.groups.items()},
                "all correct": {size: shares.all_correct for size, shares in result.groups.items()},
            }
        )
    return View(named, pictures)


@view.register
def _(result: Comparison) -> View:
    bands = {"base": result.base, "RL": result.rl}
    return View(
        {
            "table": lambda: tables.short_table(bands | {"difference": result.difference}),
            "curve": lambda: tables.bands_table(bands),
            "difference": lambda: tables.band_table(result.difference, "difference"),
            "problems": lambda: tables.changes_table(result),
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
            "table": lambda: tables.models_table(result),
            "curve": lambda: tables.bands_table(bands),
            "problems": lambda: tables.problems_by_model(result),
        },
        {"curve": lambda: figures.curve_figure(bands), "problems": lambda: figures.heat_figure(result)},
    )


@view.register
def _(result: Plan) -> View:
    return View(
        {
            "table": lambda: tables.classes_table(result),
            "groups": lambda: tables.sizes_table(result),
            "problems": lambda: tables.assignments_table(result),
        },
        {"groups": lambda: figures.group_figure({"mixed": {o.size: o.mixed_share for o in result.sizes}})},
    )


@view.register(list)
def _(result: list[Sample]) -> View:
    if not all(isinstance(each, Sample) for each in result):
        raise InputError("a list of other things than samples has no tables; give what Store.samples returns")
    return View({"samples": lambda: tables.samples_rows(result)}, {})
