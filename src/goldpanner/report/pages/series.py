"""`goldpanner compare --html` for several models: their curves, a table, and every problem over the stages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from goldpanner.files import write_atomically
from goldpanner.measure.series import Series
from goldpanner.report import figures
from goldpanner.report.page import PageTable, Prose, Row, Section, render


def series_page(found: Series, path: Path, text_of: Callable[[str], str] = lambda problem: "") -> Path:
    """Write the comparison of several models as a page that needs no network; return its path.

    Args:
        found: the comparison.
        path: file to write.
        text_of: the text of a problem by its id, empty where none is known.

    Returns:
        `path`.
    """
    curves = figures.curve_figure({stage.name: stage.curve for stage in (found.base, *found.stages)})
    sections = [
        Section("answer", "The answer", [Prose(found.summary.split("\n")), curves, _table(found)]),
        Section("problems", "Problem by problem", [figures.heat_figure(found), _lost(found, text_of)]),
    ]
    text = render(sections, f"{found.base.name} and what came of it", eyebrow="goldpanner compare")
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def _table(found: Series) -> PageTable:
    last = found.stages[0].at_k_tries.k
    rows = [
        [
            stage.name,
            str(stage.at_one_try.rl),
            format(stage.at_one_try.difference, "+"),
            str(stage.at_k_tries.rl),
            format(stage.at_k_tries.difference, "+"),
            f"{int(stage.changes.rose.sum())} / {int(stage.changes.fell.sum())}",
            "-" if np.isnan(stage.covered) else f"{stage.covered:.0%}",
            str(stage.mixed),
        ]
        for stage in (found.base, *found.stages)
    ]
    head = ["model", "pass@1", "difference", f"pass@{last}", "difference", "rose / fell", "covered"]
    caption = (
        "Differences are from the base. Covered: share of the problems solved by the base that the model solves, too."
    )
    return PageTable("Every model", caption, [*head, f"mixed at G = {found.group}"], [("", [Row(row) for row in rows])])


def _lost(found: Series, text_of: Callable[[str], str]) -> PageTable:
    rows = [
        Row([stage.name, problem, text_of(problem)[:300]])
        for stage in found.stages
        for problem in stage.changes.of("lost", established=True)
    ]
    caption = "Problems that the base solved and the model did not, beyond chance."
    return PageTable("Lost", caption, ["model", "problem", "text"], [("", rows)])
