"""Drawings of a study's plot rows: points and lines by series and world, one panel each, with bands where there are.

What is drawn is decided by the rows alone: `x`, `y`, `series`, and if there are `low`, `high`, `panel`, `world`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from goldpanner.report.chart_style import Chart, Look, by_look, finish, inline, y_axis
from goldpanner.report.charts import SEQUENTIAL
from goldpanner.report.page import Figure, Key
from goldpanner.report.ui_text import words
from goldpanner.store.findings import PlotRecord, PlotRow

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5d6670")
"""Okabe & Ito, the two that stand apart most first."""
SHAPES = ("circle", "diamond", "square", "triangle-up")
DASHES = ((), (6, 3), (2, 2), (8, 3, 2, 3))
LABEL = (
    "datum.value == 0 ? '0' : abs(datum.value) >= 1e5 || abs(datum.value) < 1e-3 ?"
    " replace(format(datum.value, '.2~e'), '+', '') : format(datum.value, ',.4~f')"
)
Axis = tuple[alt.Scale, dict[str, Any]]
"""The scale of an axis, and what else `alt.Axis` takes."""
DRAWN_POINTS = 12
"""Lines with more points than this are drawn without marks."""


@dataclass(frozen=True)
class Names:
    """What a plot is called in one language."""

    title: str
    caption: str
    x: str
    y: str
    series: Mapping[str, str]
    """Series and panels in words; one that is not here is shown by its own name."""

    def of(self, name: str) -> str:
        """Return a series or panel in words."""
        return self.series.get(name, name)


def figure(plot: PlotRecord, names: Names, language: str = "en") -> Figure:
    """Return the figure of a plot's record (`title`, `rows`, `log_x`, `log_y`, `lines`).

    A point that has no place, because it is not a number or not positive on a log axis, is left out; the caption says
    how many of the latter there are.
    """
    word = words(language)
    points = [(row, x, y) for row in plot.rows for x, y in [(_number(row, "x"), _number(row, "y"))]]
    numbers = [(row, x, y) for row, x, y in points if x is not None and y is not None]
    rows = [row for row, x, y in numbers if (x > 0 or not plot.log_x) and (y > 0 or not plot.log_y)]
    looks = _looks([str(row["series"]) for row in rows], names)
    panels: dict[str, list[PlotRow]] = {}
    for row in rows:
        panels.setdefault(str(row.get("panel", "")), []).append(row)
    caption = [names.caption, _left_out(len(numbers) - len(rows), word), "" if rows else word["nothing_drawn"]]
    x, y = _scale(rows, "x", plot.log_x), _scale(rows, "y", plot.log_y)
    charts = [_panel(plot, panel, these, looks, names, (x, y)) for panel, these in panels.items()]
    joined = plot.lines and _dense(rows)
    legend = [Key(replace(look, shape="") if joined else look, plot.lines, True) for look in looks.values()]
    wide = 520 if len(charts) == 1 else 300
    return Figure(names.title, " ".join(part for part in caption if part), charts, legend, wide)


def _number(row: PlotRow, key: str) -> float | None:
    """Return a finite number of a row, None where there is none."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _left_out(count: int, word: Mapping[str, str]) -> str:
    if not count:
        return ""
    return word["not_drawn_one"] if count == 1 else word["not_drawn"].format(n=count)


def _looks(series: Sequence[str], names: Names) -> dict[str, Look]:
    """Return how each series is drawn; many of them are taken for an ordered scale and get its colours."""
    distinct = list(dict.fromkeys(series))
    colors = COLORS if len(distinct) <= len(COLORS) else SEQUENTIAL
    return {
        name: Look(
            names.of(name),
            colors[i % len(colors)],
            DASHES[(i // len(colors) if len(distinct) > 4 else i) % len(DASHES)],
            SHAPES[i % len(SHAPES)],
        )
        for i, name in enumerate(distinct)
    }


def _panel(
    plot: PlotRecord,
    panel: str,
    rows: Sequence[PlotRow],
    looks: Mapping[str, Look],
    names: Names,
    xy: tuple[Axis, Axis],
) -> Chart:
    """Return one panel: bands below, lines, then marks that tell their values."""
    x = alt.X("x:Q", scale=xy[0][0], axis=alt.Axis(title=names.x, grid=False, labelFlush=True, **xy[0][1]))
    y = alt.Y("y:Q", scale=xy[1][0], axis=y_axis(names.y, **xy[1][1]))
    listed = list(looks.values())
    color, dash = by_look(listed, "series"), by_look(listed, "series", "dash")
    pictures: list[PlotRow] = [
        {
            **{k: row[k] for k in ("x", "y", "low", "high", "world") if k in row},
            "series": looks[str(row["series"])].label,
        }
        for row in rows
    ]
    least = 0.0 if plot.log_y else -math.inf
    banded = [
        row
        for row in pictures
        if _number(row, "high") is not None and (low := _number(row, "low")) is not None and low > least
    ]
    base, layers = alt.Chart(inline(pictures)), []
    lines = plot.lines and len({row["x"] for row in pictures}) > 1
    detail = alt.Detail("world:N")
    if banded:
        ends = {"x": x, "y": alt.Y("low:Q"), "y2": "high:Q", "color": color, "detail": detail}
        bands = alt.Chart(inline(banded))
        layers.append(bands.mark_area(opacity=0.13).encode(**ends) if lines else bands.mark_rule().encode(**ends))
    if lines:
        order = alt.Order("x:Q")
        layers.append(
            base.mark_line(strokeWidth=1.7, opacity=0.85).encode(
                x=x, y=y, color=color, strokeDash=dash, detail=detail, order=order
            )
        )
    marks = base.mark_point(size=30, strokeWidth=1.4, filled=True, opacity=0 if lines and _dense(rows) else 0.85)
    layers.append(
        marks.encode(x=x, y=y, color=color, shape=by_look(listed, "series", "shape"), tooltip=_tips(names, pictures))
    )
    title = names.of(panel) if panel else names.title
    chart = finish(alt.layer(*layers), title, f"{names.title}. {names.y} / {names.x}", 220 if panel else 260)
    return chart if panel else replace(chart, spec={k: v for k, v in chart.spec.items() if k != "title"})


def _dense(rows: Sequence[PlotRow]) -> bool:
    """Whether lines have so many points that marks would hide them; the marks still tell their values."""
    return len(rows) > DRAWN_POINTS * len({(row["series"], row.get("panel"), row.get("world")) for row in rows})


def _tips(names: Names, rows: Sequence[PlotRow]) -> list[alt.Tooltip]:
    tips = [alt.Tooltip("series:N", title="·"), alt.Tooltip("x:Q", title=names.x, format=".4~g")]
    tips.append(alt.Tooltip("y:Q", title=names.y, format=".4~g"))
    return tips + [alt.Tooltip(f"{k}:N", title=k) for k in ("world",) if any(k in row for row in rows)]


def _scale(rows: Sequence[PlotRow], axis: str, log: bool) -> Axis:
    """Return the scale and ticks of an axis, the same for all panels of a plot."""
    ends = ("low", "high") if axis == "y" else ()
    values = sorted({x for row in rows for k in (axis, *ends) if (x := _number(row, k)) is not None})
    values = [value for value in values if value > 0] if log else values
    if not values:
        return alt.Scale(), {}
    low, high = values[0], values[-1]
    if log:
        low, high = (
            (low, high) if axis == "x" and high >= 3 * low else (_decade(low, math.floor), _decade(high, math.ceil))
        )
        high = max(high, 10 * low) if axis == "y" or high == low else high
        marks = _log_ticks(low, high)
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        return scale, {"values": marks, "tickCount": len(marks), "labelExpr": LABEL}
    if low == high:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    if axis == "x":
        whole = len(values) <= 12 and high - low <= 24 and all(value == int(value) for value in values)
        ticks: dict[str, Any] = {"values": values, "tickCount": len(values)} if whole else {"tickCount": 6}
        return alt.Scale(domain=[low, high], nice=False, zero=False, padding=8), {**ticks, "labelExpr": LABEL}
    if low >= 0 and 0.4 < high <= 1:
        return alt.Scale(domain=[0, 1]), {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f", "tickCount": 6}
    low = 0.0 if 0 < low < 0.4 * high else low
    return alt.Scale(domain=[low, high], nice=True, zero=False), {"tickCount": 5, "labelExpr": LABEL}


def _decade(value: float, round_: Callable[[float], int]) -> float:
    return float(10.0 ** round_(round(math.log10(value), 9)))


def _log_ticks(low: float, high: float) -> list[float]:
    """Return every (or every second, third ...) power of ten; where there are few, their doubles and fives too."""
    first, last = math.ceil(round(math.log10(low), 9)), math.floor(round(math.log10(high), 9))
    decades = [10.0**d for d in range(first, last + 1, max(1, math.ceil((last - first) / 6)))]
    if len(decades) >= 3:
        return decades
    return [m * 10.0**d for d in range(first - 1, last + 1) for m in (1, 2, 5) if low <= m * 10.0**d <= high]
