"""The charts: one function each, from plain arrays to a Vega-Lite specification made with Altair. No store, no page.

A chart says one thing, names its axes, and carries a title and a description for readers who cannot see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from scipy import stats

from goldpanner.report.chart_style import INK, RULE, Chart, Look, by_look, finish, inline, y_axis
from goldpanner.types import FloatArray, IntArray

MIXED, ALL_WRONG, ALL_CORRECT = "#009e73", "#5d6670", "#cfd4d9"
REACHED, RARE, ABSENT = "#0072b2", "#e69f00", "#b9c0c7"
OUTSIDE = "#d55e00"
SEQUENTIAL = ("#30123b", "#3b528b", "#21908c", "#5dc863", "#c9b400", "#b35806", "#7f3b08", "#1f2328")
"""Dark to light and round to brown, one per depth; lines carry their names too."""

FLOOR_LOG10 = -20.0
"""Probabilities below 1e-20 share the leftmost bin of the histogram."""
ABSENT_LOG10 = -9.0
"""Below one in a billion the page says `absent`: no sampling budget of this page's readers would show it."""


@dataclass(frozen=True)
class Curve:
    """pass@k of one stage: sampled with its band where samples were drawn, exact where P(correct) is known."""

    look: Look
    k: IntArray | None = None
    value: FloatArray | None = None
    low: FloatArray | None = None
    high: FloatArray | None = None
    exact_k: IntArray | None = None
    exact: FloatArray | None = None


def pass_at_k_chart(
    curves: Sequence[Curve],
    title: str,
    description: str,
    height: int = 190,
    subtitle: Sequence[str] = (),
    *,
    names: bool = False,
) -> Chart:
    """Return pass@k against k (log axis): thick lines and bands where sampled, thin lines where exact.

    Args:
        curves: one for each model or stage.
        title: title above the chart.
        description: what it shows, for a screen reader.
        height: height of the plot in pixels.
        subtitle: lines below the title.
        names: write the names into the lower right corner, for a picture that stands alone; a page has its own legend.
    """
    looks = [curve.look for curve in curves]
    sampled, exact = _curve_rows(curves)
    largest = max([int(row["k"]) for row in sampled + exact], default=1)
    x = k_axis(largest)
    ticks = y_axis("pass@k", values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f")
    y = alt.Y("pass:Q", scale=alt.Scale(domain=[0, 1]), axis=ticks)
    color, dash = by_look(looks), by_look(looks, channels="dash")
    tip = [alt.Tooltip("stage:N"), alt.Tooltip("k:Q", format=","), alt.Tooltip("pass:Q", title="pass@k", format=".3f")]
    ends = [alt.Tooltip("low:Q", format=".3f"), alt.Tooltip("high:Q", format=".3f")]
    layers: list[Any] = []
    if exact:
        thin = alt.Chart(inline(exact)).mark_line(strokeWidth=1.3, clip=True)
        layers.append(thin.encode(x=x, y=y, color=color, strokeDash=dash))
    if sampled:
        base = alt.Chart(inline(sampled))
        marked = alt.Chart(inline([row for row in sampled if row["marked"]]))
        layers += [
            base.mark_area(opacity=0.16).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=color),
            base.mark_line(strokeWidth=2.4).encode(x=x, y=y, color=color, strokeDash=dash),
            marked.mark_point(size=26, strokeWidth=1.4, opacity=1, filled=False).encode(
                x=x, y=y, stroke=by_look(looks, channels="stroke"), fill=by_look(looks, channels="fill"),
                shape=by_look(looks, channels="shape"), tooltip=[*tip, *ends],
            ),
        ]  # fmt: skip
    if names:
        layers += _names(looks, largest, x, y, color, dash)
    return finish(alt.layer(*layers), title, description, height, subtitle)


def _curve_rows(curves: Sequence[Curve]) -> tuple[list[dict[str, float | str]], list[dict[str, float | str]]]:
    """Return the rows of the sampled and of the exact curves; points are marked at powers of 4 and at the last k."""
    powers = 4 ** np.arange(12)
    sampled = [
        {"stage": c.look.label, "k": k, "pass": v, "low": lo, "high": hi, "marked": bool(k in powers or k == c.k[-1])}
        for c in curves
        if c.k is not None and c.value is not None and c.low is not None and c.high is not None
        for k, v, lo, hi in zip(c.k, c.value, c.low, c.high)
        if np.isfinite(v)
    ]
    exact = [
        {"stage": c.look.label, "k": k, "pass": v}
        for c in curves
        if c.exact_k is not None and c.exact is not None
        for k, v in zip(c.exact_k, c.exact)
    ]
    return sampled, exact


def k_axis(largest: int) -> Any:
    """Return a log axis from 1 to the decade of the largest k; of many decades it names every second one."""
    decades = [10**d for d in range(0, int(np.ceil(np.log10(max(largest, 10)))) + 1)]
    labels = "datum.value >= 1e6 ? datum.value/1e6 + 'M' : datum.value >= 1e3 ? datum.value/1e3 + 'k' : datum.value"
    if len(decades) > 4:
        labels = f"round(log(datum.value) / LN10) % 2 ? '' : ({labels})"
    axis = alt.Axis(title="k, samples per problem", values=decades, labelExpr=labels, grid=False, labelFlush=True)
    return alt.X("k:Q", scale=alt.Scale(type="log", domain=[1, decades[-1]], nice=False), axis=axis)


def _names(looks: Sequence[Look], largest: int, x: Any, y: Any, color: Any, dash: Any) -> list[Any]:
    """Return a legend as marks: a stroke and a name for each line."""
    left, right, text = largest**0.5, largest**0.58, largest**0.6
    rows = [
        {"stage": look.label, "k": k, "pass": 0.05 + 0.09 * (len(looks) - 1 - i)}
        for i, look in enumerate(looks)
        for k in (left, right)
    ]
    words = alt.Chart(inline([{**row, "k": text} for row in rows[::2]]))
    return [
        alt.Chart(inline(rows)).mark_line(strokeWidth=2.4).encode(x=x, y=y, color=color, strokeDash=dash),
        words.mark_text(align="left", baseline="middle", color=INK).encode(x=x, y=y, text="stage:N"),
    ]


@dataclass(frozen=True)
class Spectrum:
    """log10 P(correct) of every problem of one stage, by which problems are within reach, rare or absent."""

    look: Look
    log10_P: FloatArray


def zones(log10_P: FloatArray, limit: float) -> tuple[float, float, float]:
    """Return the shares of problems within reach (P >= `limit`), rare (P >= 1e-9) and absent (below)."""
    reach, rare, absent = (float(mask.mean()) if len(mask) else 0.0 for mask in _zone_masks(log10_P, limit))
    return reach, rare, absent


def _zone_masks(log10_P: FloatArray, limit: float) -> tuple[Any, Any, Any]:
    reach, absent = log10_P >= np.log10(limit), log10_P < ABSENT_LOG10
    return reach, ~reach & ~absent, absent


def spectrum_chart(
    spectra: Sequence[Spectrum], limit: float, title: str, description: str, floor: float = FLOOR_LOG10
) -> Chart:
    """Return one histogram of log10 P(correct) per stage, one above the other, bins half a decade wide.

    Args:
        spectra: one for each stage.
        limit: smallest P that the samples resolve: a line separates what they can show from what is rare.
        title: title above the chart.
        description: what it shows, for a screen reader.
        floor: log10 P of the lowest bin, which holds everything below, too.
    """
    edges = np.arange(floor, 0.5, 0.5)
    names = [f"within reach (P ≥ {limit:.2g})", "rare", "absent (P < 1e-9)"]
    bars, heads = [], []
    clipped = [np.clip(one.log10_P, floor, -1e-9) for one in spectra]
    tallest = max((np.histogram(x, edges)[0].max() / max(len(x), 1) for x in clipped), default=1.0)
    for row, (one, log10_P) in enumerate(zip(spectra, clipped)):
        offset = float(len(spectra) - 1 - row)
        tops = np.full(len(edges) - 1, offset)
        for name, inside in zip(names, _zone_masks(log10_P, limit)):
            for bin_, problems in enumerate(np.histogram(log10_P[inside], edges)[0]):
                if problems:
                    low, share = tops[bin_], problems / len(log10_P)
                    tops[bin_] += 0.7 * share / tallest
                    bars.append(
                        {"stage": one.look.label, "x": edges[bin_] + 0.04, "x2": edges[bin_] + 0.46, "y": low,
                         "y2": tops[bin_], "zone": name, "problems": problems, "share": share,
                         "P": f"1e{edges[bin_]:g} to 1e{edges[bin_ + 1]:g}"}
                    )  # fmt: skip
        reach, rare, absent = zones(one.log10_P, limit)
        text = f"{one.look.label}:  {reach:.0%} · {rare:.0%} · {absent:.0%}"
        heads.append({"y": offset, "top": offset + 0.97, "text": text, "x": floor, "x2": 0.0})
    axis = alt.Axis(
        title="log₁₀ P(correct), exact", values=list(np.arange(floor, 1, 4)), grid=False, format="d", labelFlush=False,
        labelExpr=f"datum.value == {floor} ? '≤' + format(datum.value, 'd') : format(datum.value, 'd')",
    )  # fmt: skip
    x = alt.X("x:Q", scale=alt.Scale(domain=[floor, 0], nice=False), axis=axis)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, len(spectra)], nice=False), axis=None)
    zone_color = alt.Color("zone:N", scale=alt.Scale(domain=names, range=[REACHED, RARE, ABSENT]), legend=None)
    tip = [
        alt.Tooltip("stage:N"), alt.Tooltip("zone:N"), alt.Tooltip("P:N"),
        alt.Tooltip("problems:Q"), alt.Tooltip("share:Q", format=".1%"),
    ]  # fmt: skip
    head = alt.Chart(inline(heads))
    line = alt.Chart(inline([{"x": float(np.log10(limit)), "y": 0.0, "y2": float(len(spectra))}]))
    layers = [
        head.mark_rule(color=RULE).encode(x=x, x2="x2:Q", y=y),
        alt.Chart(inline(bars)).mark_rect().encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=zone_color, tooltip=tip),
        line.mark_rule(strokeDash=[3, 3], color=INK, strokeWidth=1).encode(x=x, y=y, y2="y2:Q"),
        head.mark_text(align="left", baseline="top", dx=1, fontSize=11, color=INK).encode(
            x=x, y="top:Q", text="text:N"
        ),
    ]
    return finish(alt.layer(*layers), title, description, 56 * len(spectra) + 4)


GROUP_KINDS = ("all wrong", "mixed", "all correct")
GROUP_COLORS = (ALL_WRONG, MIXED, ALL_CORRECT)


@dataclass(frozen=True)
class GroupMap:
    """Shares of mixed, all-wrong and all-correct groups: observed per step, and predicted where P is known."""

    step_T: IntArray
    """Steps, ascending."""
    shares_T: FloatArray
    """(steps, 3): all wrong, mixed, all correct."""
    before: FloatArray | None = None
    """(3,) predicted from the exact P of the policy before the first step."""
    after: FloatArray | None = None
    """(3,) predicted from the exact P of the policy after the last step."""


def group_map(groups: GroupMap, title: str, description: str, height: int = 220, subtitle: Sequence[str] = ()) -> Chart:
    """Return the groups of every RL step as a stacked area, between thin bars of what the exact P predicts.

    Args:
        groups: shares of mixed, all-wrong and all-correct groups by step.
        title: title above the chart.
        description: what it shows, for a screen reader.
        height: height of the plot in pixels.
        subtitle: lines below the title.
    """
    rows, flanks, notes = [], [], []
    first, last = int(groups.step_T.min()), int(groups.step_T.max())
    unit = max((last - first) / 40, 0.3)
    for step, shares in zip(groups.step_T, groups.shares_T):
        tops = np.cumsum(shares)
        rows += [
            {"step": step, "kind": kind, "y": top - share, "y2": top, "share": share}
            for kind, share, top in zip(GROUP_KINDS, shares, tops)
        ]
    for predicted, left, right in (
        (groups.before, first - 2.2 * unit, first - 0.7 * unit),
        (groups.after, last + 0.7 * unit, last + 2.2 * unit),
    ):
        if predicted is not None:
            tops = np.cumsum(predicted)
            flanks += [
                {"x": left, "x2": right, "kind": kind, "y": top - share, "y2": top, "share": share}
                for kind, share, top in zip(GROUP_KINDS, predicted, tops)
            ]
    for kind, low, high in zip(GROUP_KINDS, *_middles(groups.shares_T)):
        if high - low > 0.1:
            notes.append({"step": (first + last) / 2, "y": (low + high) / 2, "kind": kind})
    color = alt.Color("kind:N", scale=alt.Scale(domain=list(GROUP_KINDS), range=list(GROUP_COLORS)), legend=None)
    domain = [
        first - (2.4 * unit if groups.before is not None else 0),
        last + (2.4 * unit if groups.after is not None else 0),
    ]
    x = alt.X(
        "step:Q", scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(title="RL step", grid=False, tickMinStep=1)
    )
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=y_axis("share of groups", values=[0, 0.25, 0.5, 0.75, 1], format="%"),
    )
    tip = [alt.Tooltip("kind:N"), alt.Tooltip("share:Q", format=".1%")]
    layers = [
        alt.Chart(inline(rows)).mark_area(interpolate="monotone", line=False).encode(
            x=x, y=y, y2="y2:Q", color=color, tooltip=[alt.Tooltip("step:Q"), *tip]
        )
    ]  # fmt: skip
    if flanks:
        layers.append(
            alt.Chart(inline(flanks)).mark_rect(stroke="#ffffff", strokeWidth=0.5).encode(
                x=alt.X("x:Q"), x2="x2:Q", y=y, y2="y2:Q", color=color, tooltip=tip
            )
        )  # fmt: skip
    if notes:
        layers.append(
            alt.Chart(inline(notes)).mark_text(fontSize=12, fontWeight=600).encode(
                x=x, y=y, text="kind:N",
                color=alt.condition("datum.kind == 'all correct'", alt.value(INK), alt.value("#ffffff")),
            )
        )  # fmt: skip
    return finish(alt.layer(*layers), title, description, height, subtitle)


def _middles(shares_T: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return where each kind's band lies at the middle step: its lower and its upper edge."""
    middle = shares_T[len(shares_T) // 2]
    return np.cumsum(middle) - middle, np.cumsum(middle)


@dataclass(frozen=True)
class Trace:
    """One quantity over the steps of a stage."""

    look: Look
    step_T: IntArray
    value_T: FloatArray
    points: bool = True


def training_chart(
    traces: Sequence[Trace], title: str, description: str, y_title: str, *, unit_range: bool = True, height: int = 220
) -> Chart:
    """Return lines over steps, each named at its right end.

    Args:
        traces: one line each.
        title: title above the chart.
        description: what it shows, for a screen reader.
        y_title: title of the y axis.
        unit_range: fix the y axis to [0, 1].
        height: height of the plot in pixels.
    """
    looks = [trace.look for trace in traces]
    rows = [
        {"name": t.look.label, "step": s, "value": v}
        for t in traces
        for s, v in zip(t.step_T, t.value_T)
        if np.isfinite(v)
    ]
    dotted = {t.look.label for t in traces if t.points}
    x = alt.X("step:Q", scale=alt.Scale(nice=False), axis=alt.Axis(title="step", grid=False, tickMinStep=1))
    y_scale = alt.Scale(domain=[0, 1]) if unit_range else alt.Scale(zero=True, nice=True)
    y = alt.Y("value:Q", scale=y_scale, axis=y_axis(y_title, tickCount=4))
    color, dash = by_look(looks, "name"), by_look(looks, "name", "dash")
    base = alt.Chart(inline(rows))
    layers: list[Any] = [base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=color, strokeDash=dash)]
    dots = [row for row in rows if row["name"] in dotted]
    if dots:
        tip = [alt.Tooltip("name:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4f")]
        layers.append(
            alt.Chart(inline(dots)).mark_point(size=18, filled=True, opacity=1).encode(
                x=x, y=y, color=color, shape=by_look(looks, "name", "shape"), tooltip=tip
            )
        )  # fmt: skip
    return finish(alt.layer(*layers), title, description, height)


def agreement_chart(
    log10_P: FloatArray,
    c: IntArray,
    n: int,
    inside_P: Any,
    title: str,
    description: str,
    subtitle: Sequence[str],
    height: int = 230,
) -> Chart:
    """Return sampled c/n against exact P, problem by problem, over the funnel that 95% of fair draws fall into.

    Args:
        log10_P: log10 of the exact P of each problem, shape (P,).
        c: correct samples of each problem, shape (P,).
        n: samples of each problem.
        inside_P: whether each exact P lies in the interval of its counts, shape (P,).
        title: title above the chart.
        description: what it shows, for a screen reader.
        subtitle: lines below the title.
        height: height of the plot in pixels.
    """
    left = max(float(np.floor(np.log10(1 / n) - 2)), -12.0)
    floor = 0.45 / n  # where "0 of n" is drawn on a log axis
    grid = np.linspace(left, 0, 121)
    p = np.minimum(10.0**grid, 1.0)
    funnel = [
        {"x": x, "y": max(lo, floor), "y2": max(hi, floor)}
        for x, lo, hi in zip(grid, *(np.asarray(stats.binom.ppf(tail, n, p)) / n for tail in (0.025, 0.975)))
    ]
    dots = [
        {"x": max(x, left), "y": max(count / n, floor), "c": count, "log10 P": x,
         "where": "inside" if ok else "outside"}
        for x, count, ok in zip(log10_P, c, inside_P)
    ]  # fmt: skip
    dots.sort(key=lambda dot: str(dot["where"]))  # those outside are drawn last, on top
    decades = [10.0**d for d in range(int(np.ceil(np.log10(1 / n))), 1)]
    x_axis = alt.Axis(
        title="log₁₀ P(correct), exact", grid=False, tickMinStep=1, format="d",
        labelExpr=f"datum.value == {left} ? '≤' + format(datum.value, 'd') : format(datum.value, 'd')",
    )  # fmt: skip
    x = alt.X("x:Q", scale=alt.Scale(domain=[left, 0], nice=False), axis=x_axis)
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(type="log", domain=[floor * 0.8, 1.1], nice=False),
        axis=y_axis(
            f"share right of {n} samples",
            values=[floor, *decades],
            labelExpr=f"datum.value < {0.9 / n} ? '0' : format(datum.value, '~g')",
        ),
    )
    where = ["inside", "outside"]
    tip = [alt.Tooltip("log10 P:Q", format=".2f"), alt.Tooltip("c:Q", title=f"right of {n}"), alt.Tooltip("where:N")]
    layers = [
        alt.Chart(inline(funnel)).mark_area(color="#dfe6ec", interpolate="monotone").encode(x=x, y=y, y2="y2:Q"),
        alt.Chart(inline(dots)).mark_point(opacity=0.75, filled=True).encode(
            x=x, y=y,
            color=alt.Color("where:N", scale=alt.Scale(domain=where, range=[REACHED, OUTSIDE]), legend=None),
            shape=alt.Shape("where:N", scale=alt.Scale(domain=where, range=["circle", "triangle-up"]), legend=None),
            size=alt.condition("datum.where == 'outside'", alt.value(60), alt.value(20)),
            tooltip=tip,
        ),
    ]  # fmt: skip
    return finish(alt.layer(*layers), title, description, height, subtitle)
