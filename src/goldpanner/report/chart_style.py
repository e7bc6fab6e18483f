"""What every chart shares: its look, its words, its type, and the way to a static picture.

Colours are those of Okabe & Ito (2008), told apart by colour-blind people too; dashes and shapes say the same again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import vl_convert

from goldpanner.errors import InputError

INK, MUTED, RULE = "#1f2328", "#5d6670", "#d8dce0"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
CONFIG: dict[str, object] = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "title": {
        "anchor": "start",
        "frame": "group",
        "fontSize": 13,
        "fontWeight": 600,
        "color": INK,
        "offset": 14,
        "subtitleColor": MUTED,
        "subtitleFontSize": 11.5,
        "subtitlePadding": 4,
    },
    "axis": {
        "domainColor": "#9aa2aa",
        "tickColor": "#9aa2aa",
        "tickSize": 4,
        "gridColor": "#eceef0",
        "labelColor": MUTED,
        "labelFontSize": 11,
        "titleColor": MUTED,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titlePadding": 6,
    },
}
"""Shared by every chart; the page gives it to Vega once."""


@dataclass(frozen=True)
class Look:
    """How one line of a chart is drawn, always in the same way on one page."""

    label: str
    color: str
    dash: tuple[int, ...] = ()
    """Lengths of strokes and gaps in pixels; empty: a full line."""
    shape: str = "circle"
    """`circle`, `square`, `diamond`, `triangle-up`, `triangle-down`; empty for a line without marks."""
    hollow: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawing with its words: a Vega-Lite specification whose width is that of its place on the page."""

    spec: dict[str, Any]
    title: str
    description: str


def finish(chart: Any, title: str, description: str, height: int, subtitle: Sequence[str] = ()) -> Chart:
    """Return `chart` with its title, its description, its size, and no reference to an outside schema.

    Args:
        chart: an Altair chart.
        title: title above it.
        description: what it shows, for a screen reader.
        height: height of the plot in pixels.
        subtitle: lines below the title.
    """
    heading = alt.TitleParams(title, subtitle=list(subtitle)) if subtitle else title
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(
        title=heading, description=description, height=height, width="container", autosize=fit
    ).to_dict(validate=False)
    for key in ("$schema", "config"):
        spec.pop(key, None)
    return Chart(spec, title, description)


def inline(rows: Sequence[Mapping[str, object]]) -> alt.InlineData:
    """Return rows as inline data, floats to six significant digits: smaller, and the same bytes on every machine."""

    def short(value: object) -> object:
        if isinstance(value, (float, np.floating)):
            return float(f"{value:.6g}") if np.isfinite(value) else None
        return int(value) if isinstance(value, np.integer) else value

    return alt.InlineData(values=[{key: short(value) for key, value in row.items()} for row in rows])


def by_look(looks: Sequence[Look], field: str = "stage", channels: str = "color") -> Any:
    """Return the encoding of `field` by colour, dash or shape after `looks`, without a legend (the page draws one)."""
    names = [look.label for look in looks]
    if channels in ("color", "stroke"):
        kind = alt.Color if channels == "color" else alt.Stroke
        return kind(f"{field}:N", scale=alt.Scale(domain=names, range=[k.color for k in looks]), legend=None)
    if channels == "dash":
        dashes = [list(look.dash) or [1, 0] for look in looks]
        return alt.StrokeDash(f"{field}:N", scale=alt.Scale(domain=names, range=dashes), legend=None)
    if channels == "fill":
        fills = ["#ffffff" if look.hollow else look.color for look in looks]
        return alt.Fill(f"{field}:N", scale=alt.Scale(domain=names, range=fills), legend=None)
    return alt.Shape(f"{field}:N", scale=alt.Scale(domain=names, range=[k.shape for k in looks]), legend=None)


def y_axis(title: str, values: Sequence[float] | None = None, **more: Any) -> alt.Axis:
    """Return a y axis whose title lies flat above it, where it is read first and takes no width."""
    if values is not None:  # Vega thins out ticks that are more than it would have chosen itself, unless told how many
        more |= {"values": list(values), "tickCount": len(values)}
    return alt.Axis(
        title=title, titleAngle=0, titleAlign="left", titleAnchor="end", titleX=0, titleY=-9, titleBaseline="bottom",
        ticks=False, domain=False, labelPadding=6, **more,
    )  # fmt: skip


PICTURES = (".svg", ".pdf", ".png")
"""Endings of a static picture."""


def save(charts: Sequence[Chart], path: Path, *, width: int = 330, columns: int = 3) -> Path:
    """Save charts side by side as one static picture, SVG, PDF or PNG by the ending of `path`."""
    if path.suffix not in PICTURES:
        raise InputError(f"picture {path}: the ending {path.suffix!r} is not known; give {', '.join(PICTURES)}")
    spec, version = concatenated(charts, width, columns), vega_lite_version()
    if path.suffix == ".svg":
        path.write_text(vl_convert.vegalite_to_svg(spec, vl_version=version), encoding="utf-8")
    elif path.suffix == ".pdf":
        path.write_bytes(vl_convert.vegalite_to_pdf(spec, vl_version=version))
    else:
        path.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=version, scale=2))
    return path


def svg(charts: Sequence[Chart], width: int) -> str:
    """Return charts one below the other as SVG."""
    return str(vl_convert.vegalite_to_svg(concatenated(charts, width, 1), vl_version=vega_lite_version()))


def concatenated(charts: Sequence[Chart], width: int, columns: int) -> dict[str, object]:
    """Return one specification of charts in rows of `columns`, each `width` pixels wide."""
    panels: list[dict[str, object]] = []
    datasets: dict[str, object] = {}
    for chart in charts:
        # Concatenated charts share their data at the top, and are not sized by their place.
        panel = {key: value for key, value in chart.spec.items() if key not in ("autosize", "datasets")}
        datasets |= chart.spec.get("datasets", {})
        panels.append({**panel, "width": width})
    apart = {"scale": dict.fromkeys(("color", "stroke", "fill", "strokeDash", "shape"), "independent")}
    rows = [
        {"hconcat": panels[start : start + columns], "spacing": 28, "resolve": apart}
        for start in range(0, len(panels), columns)
    ]
    look = {**CONFIG, "background": "#ffffff"}
    return {"vconcat": rows, "resolve": apart, "spacing": 28, "padding": 16, "config": look, "datasets": datasets}


def vega_lite_version() -> str:
    """Return the version of Vega-Lite that Altair writes for, as vl-convert names it."""
    return ".".join(str(alt.SCHEMA_VERSION).split(".")[:2])
