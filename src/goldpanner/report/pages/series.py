"""`goldpanner compare --html` for several models: their curves, a table, and every problem over the stages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from goldpanner.files import write_atomically
from goldpanner.measure.profile import powers_of_two
from goldpanner.measure.series import Member, Series
from goldpanner.report import charts
from goldpanner.report.chart_style import Look
from goldpanner.report.page import Figure, Key, PageTable, Prose, Row, Section, render
from goldpanner.report.pair_charts import heat_map

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3))
SHAPES = ("circle", "diamond", "square", "triangle-up")


def series_page(found: Series, path: Path, text_of: Callable[[str], str] = lambda problem: "") -> Path:
    """Write the comparison of several models as a page that needs no network; return its path.

    Args:
        found: the comparison.
        path: file to write.
        text_of: the text of a problem by its id, empty where none is known.

    Returns:
        `path`.
    """
    stages = (found.base, *found.stages)
    looks = [
        Look(stage.name, COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], SHAPES[i % len(SHAPES)])
        for i, stage in enumerate(stages)
    ]
    curves = [_curve(stage, look) for stage, look in zip(stages, looks)]
    names = ", ".join(stage.name for stage in stages)
    picture = Figure(
        "pass@k of every model",
        "Simultaneous bands; those of the differences hold for all models together.",
        [charts.pass_at_k_chart(curves, "pass@k", f"pass@k of {names}", height=300)],
        [Key(look) for look in looks],
        520,
    )
    heat = Figure(
        "Every problem over the models",
        "Share of correct samples, hardest problems for the base first. Darker is more often right.",
        [heat_map([(s.name, s.changes.rl) for s in stages], "Problem by problem", f"c/n of every problem: {names}")],
        [],
        520,
    )
    sections = [
        Section("answer", "The answer", [Prose(found.summary.split("\n")), picture, _table(found)]),
        Section("problems", "Problem by problem", [heat, _lost(found, text_of)]),
    ]
    text = render(sections, f"{found.base.name} and what came of it", eyebrow="goldpanner compare")
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def _curve(stage: Member, look: Look) -> charts.Curve:
    at = np.isin(stage.curve.k, powers_of_two(stage.curve.largest))
    return charts.Curve(look, stage.curve.k[at], stage.curve.value[at], stage.curve.low[at], stage.curve.high[at])


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
