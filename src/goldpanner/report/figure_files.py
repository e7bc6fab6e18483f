"""A figure by itself: in a notebook, and as SVG, PDF or PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt

from goldpanner.files import replacing
from goldpanner.report.chart_style import INK, Chart, by_look, finish, inline, save, svg
from goldpanner.report.page import Figure, Key

WIDTH = 520
"""Pixels of a chart."""
LETTER, STROKE, LINE = 6.2, 26, 18
"""Pixels of a legend: the width of a letter and of the stroke before a name, the height of a line."""


@dataclass(frozen=True, repr=False)
class Picture:
    """A figure that a notebook shows and that can be saved."""

    figure: Figure

    def __repr__(self) -> str:
        return f"Picture: {self.figure.title}. {self.figure.caption}"

    def _repr_svg_(self) -> str:
        return svg(self._charts(), WIDTH)

    def save(self, path: Path | str) -> Path:
        """Write the picture, by the ending as .svg, .pdf or .png; return the path.

        Raises InputError for another ending.
        """
        with replacing(Path(path)) as temporary:
            save(self._charts(), temporary, width=WIDTH, columns=1)
        return Path(path)

    def _charts(self) -> list[Chart]:
        return [*self.figure.charts, *([_legend(self.figure.legend)] if len(self.figure.legend) > 1 else [])]


def _legend(keys: Sequence[Key]) -> Chart:
    """Return a stroke, a mark and a name for each line, in as many rows as they take."""
    rows: list[dict[str, str | float]] = []
    x = y = 0.0
    for key in keys:
        width = STROKE + 6 + LETTER * len(key.look.label) + 16
        x, y = (x, y) if x + width <= WIDTH or x == 0 else (0.0, y + LINE)
        rows.append({"stage": key.look.label, "x": x, "x2": x + STROKE, "middle": x + STROKE / 2, "y": y + LINE / 2})
        x += width
    height = y + LINE
    across = alt.Scale(domain=[0, WIDTH], nice=False)
    down = alt.Scale(domain=[0, height], nice=False, reverse=True)
    vertical = alt.Y("y:Q", scale=down, axis=None)
    looks = [key.look for key in keys]
    base = alt.Chart(inline(rows))
    layers = []
    if any(key.line for key in keys):
        layers.append(
            base.mark_rule(strokeWidth=2.4).encode(
                x=alt.X("x:Q", scale=across, axis=None), x2="x2:Q", y=vertical, color=by_look(looks),
                strokeDash=by_look(looks, channels="dash"),
            )
        )  # fmt: skip
    layers += [
        base.mark_point(size=36, filled=True, opacity=1).encode(
            x=alt.X("middle:Q", scale=across, axis=None), y=vertical, color=by_look(looks),
            shape=by_look(looks, channels="shape"),
        ),
        base.mark_text(align="left", baseline="middle", dx=6, color=INK, fontSize=11).encode(
            x=alt.X("x2:Q", scale=across, axis=None), y=vertical, text="stage:N"
        ),
    ]  # fmt: skip
    return finish(alt.layer(*layers), "", "Legend", int(height))
