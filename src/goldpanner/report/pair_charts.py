"""Charts of models on the same problems: the difference of pass@k with its band, P against P, P over several."""

from collections.abc import Sequence

import altair as alt
import numpy as np

from goldpanner.measure.changes import Changes
from goldpanner.measure.passk import Band
from goldpanner.report.chart_style import INK, MUTED, RULE, Chart, finish, inline, y_axis
from goldpanner.report.charts import k_axis
from goldpanner.types import Counts

ROSE, FELL, STAYED = "#009e73", "#d55e00", "#9aa2aa"
DOTS = 20_000
"""Kinds of problems, by equal counts of both models, that P against P shows; the commonest."""


def difference_chart(gap: Band, shown: list[int], title: str, description: str, height: int = 190) -> Chart:
    """Return pass@k of RL minus base against k with its band, and the line of no difference.

    Args:
        gap: the difference.
        shown: values of k to draw, within the band.
        title: heading.
        description: the same in words, for readers who cannot see it.
        height: pixels.

    Returns:
        A chart as wide as its place.
    """
    at = np.isin(gap.k, shown)
    columns = (gap.k[at], gap.value[at], gap.low[at], gap.high[at])
    rows = [dict(zip(("k", "difference", "low", "high"), row)) for row in zip(*columns)]
    x = k_axis(max(shown, default=1))
    y = alt.Y("difference:Q", axis=y_axis("RL minus base", format="+.2f", tickCount=5))
    tip = [alt.Tooltip("k:Q", format=",")]
    tip += [alt.Tooltip(f"{name}:Q", format="+.3f") for name in ("difference", "low", "high")]
    base = alt.Chart(inline(rows))
    layers = [
        alt.Chart(inline([{"zero": 0}])).mark_rule(color=INK, strokeDash=[2, 2]).encode(y="zero:Q"),
        base.mark_area(opacity=0.18, color=INK).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2.4, color=INK).encode(x=x, y=y),
        base.mark_point(size=22, color=INK, filled=True).encode(x=x, y=y, tooltip=tip),
    ]
    return finish(alt.layer(*layers), title, description, height)


def change_chart(changes: Changes, title: str, description: str, height: int = 300) -> Chart:
    """Return c/n of RL against c/n of the base, a dot for all problems with equal counts; its size is their number.

    Args:
        changes: what happened to every problem.
        title: heading.
        description: the same in words, for readers who cannot see it.
        height: pixels.

    Returns:
        A chart as wide as its place: what is shown to have risen lies above the diagonal, what fell below it.
    """
    base, rl = changes.base, changes.rl
    some = (base.judged > 0) & (rl.judged > 0)
    kind = np.select([changes.rose, changes.fell], [1, 2], 0)
    columns = np.stack([base.c, base.judged, rl.c, rl.judged, kind], axis=1)[some]
    rows, first, count = np.unique(columns, axis=0, return_index=True, return_counts=True)
    ids = np.array(changes.ids, dtype=object)[some]
    order = np.argsort(-count, kind="stable")[:DOTS]
    names = ("no change shown", "rose", "fell")
    dots = [
        {
            "base": c / n, "RL": d / m, "problems": int(count[i]), "change": names[k],
            "problem": str(ids[first[i]])[:80] if count[i] == 1 else f"{count[i]} problems",
            "counts": f"{c}/{n} to {d}/{m}",
        }
        for i in order
        for c, n, d, m, k in [rows[i].tolist()]
    ]  # fmt: skip
    scale = alt.Scale(domain=[0, 1], nice=False)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    x = alt.X(
        "base:Q",
        scale=scale,
        axis=alt.Axis(title="P(correct) of the base, c/n", values=ticks, format=".2f", gridColor=RULE),
    )
    y = alt.Y("RL:Q", scale=scale, axis=y_axis("P(correct) of RL, c/n", ticks, format=".2f"))
    color = alt.Color("change:N", scale=alt.Scale(domain=list(names), range=[STAYED, ROSE, FELL]), legend=None)
    shape = alt.Shape(
        "change:N", scale=alt.Scale(domain=list(names), range=["circle", "triangle-up", "triangle-down"]), legend=None
    )
    size = alt.Size("problems:Q", scale=alt.Scale(range=[24, 320]), legend=None)
    tip = [alt.Tooltip(f"{name}:N") for name in ("problem", "counts", "change")]
    layers = [
        alt.Chart(inline([{"base": 0, "RL": 0}, {"base": 1, "RL": 1}]))
        .mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1)
        .encode(x=x, y=y),
        alt.Chart(inline(dots))
        .mark_point(filled=True, opacity=0.6)
        .encode(x=x, y=y, color=color, shape=shape, size=size, tooltip=tip),
    ]
    return finish(alt.layer(*layers), title, description, height)


ROWS = 400
"""Problems that a heat map shows; of more, evenly spaced ones."""


def heat_map(models: Sequence[tuple[str, Counts]], title: str, description: str) -> Chart:
    """Return c/n of every problem (a row) under every model (a column).

    Args:
        models: names and counts, of the same problems in the same order; the first one orders the rows.
        title: heading.
        description: the same in words, for readers who cannot see it.

    Returns:
        A chart as wide as its place.
    """
    rates = np.array([np.where(x.judged > 0, x.c / np.maximum(x.judged, 1), np.nan) for _, x in models])
    order = np.lexsort((rates[-1], rates[0]))
    order = order[np.unique(np.linspace(0, len(order) - 1, min(ROWS, len(order))).astype(int))]
    cells = [
        {"model": name, "row": row, "problem": str(counts.ids[i])[:80], "P": rates[column, i],
         "counts": f"{counts.c[i]}/{counts.judged[i]}"}
        for column, (name, counts) in enumerate(models)
        for row, i in enumerate(order.tolist())
    ]  # fmt: skip
    names = [name for name, _ in models]
    x = alt.X("model:N", sort=names, axis=alt.Axis(title=None, labelAngle=0, orient="top"))
    y = alt.Y("row:O", axis=None)
    color = alt.Color("P:Q", scale=alt.Scale(domain=[0, 1], range=["#f4f5f6", "#08306b"]), legend=None)
    tip = [alt.Tooltip("problem:N"), alt.Tooltip("model:N"), alt.Tooltip("counts:N")]
    chart = alt.Chart(inline(cells)).mark_rect().encode(x=x, y=y, color=color, tooltip=tip)
    return finish(chart, title, description, max(120, min(3 * len(order), 700)))
