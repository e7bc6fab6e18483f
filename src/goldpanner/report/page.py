"""The page: sections of prose, figures and tables become one HTML file that needs no network and runs no foreign text.

Any command can make a page: build `Section`s from its result and call `render`. Text is escaped by Jinja, data by
`data`; a content security policy forbids every request, so that nothing is asked for even if something slipped through.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any, ClassVar

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from goldpanner.report.chart_style import CONFIG, Chart, Look, vega_lite_version
from goldpanner.report.ui_text import words
from goldpanner.types import Estimate


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a line with its marker, a marker alone, or (neither) a filled square."""

    look: Look
    line: bool = True
    point: bool = False


@dataclass(frozen=True)
class Figure:
    """Charts that belong together, with one legend and a caption that says how to read them."""

    kind: ClassVar[str] = "figure"
    title: str
    caption: str
    charts: Sequence[Chart]
    legend: Sequence[Key] = ()
    least_width: int = 280
    """Pixels a chart needs; narrower screens get fewer charts a row."""


@dataclass(frozen=True)
class Interval:
    """A table cell: an estimate with its interval, and the exact value beside it where it is known."""

    estimate: Estimate | None
    exact: float | None = None
    look: Look | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    cells: Sequence[Any]
    """`Interval`s or texts."""
    look: Look | None = None
    """Marker drawn before the first cell."""


@dataclass(frozen=True)
class PageTable:
    """Rows under headings, in named groups."""

    kind: ClassVar[str] = "table"
    title: str
    caption: str
    head: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Row]]]

    @property
    def exact(self) -> bool:
        """Whether some cell knows the exact value."""
        cells = [cell for _, rows in self.groups for row in rows for cell in row.cells]
        return any(isinstance(cell, Interval) and cell.exact is not None for cell in cells)


@dataclass(frozen=True)
class Card:
    """One arm's verdict: what it is about, a word, a sentence, and a small table, its first row the heading."""

    title: str
    word: str
    summary: str = ""
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Ruling:
    """What the data say, in words."""

    kind: ClassVar[str] = "verdict"
    headline: str
    paragraphs: Sequence[str]
    cards: Sequence[Card] = ()


@dataclass(frozen=True)
class Prose:
    """Paragraphs."""

    kind: ClassVar[str] = "prose"
    paragraphs: Sequence[str]


@dataclass(frozen=True)
class Explorer:
    """A table of problems to sort, filter and open; `data` is described in `explorer.py`."""

    kind: ClassVar[str] = "explorer"
    caption: str
    data: Mapping[str, object]


@dataclass(frozen=True)
class Facts:
    """Names and values, and longer text (a command, a configuration) below them."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]
    listings: Sequence[tuple[str, str]] = ()
    """(title, text), shown in a fixed-width face and folded away."""


@dataclass(frozen=True)
class Part:
    """Something with a template of its own, which finds `values` under the name `part`."""

    kind: ClassVar[str] = "part"
    template: str
    values: Mapping[str, object]


Block = Ruling | Prose | Figure | PageTable | Explorer | Facts | Part


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading; `id` is its anchor."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def render(
    sections: Sequence[Section],
    title: str,
    *,
    lead: str = "",
    eyebrow: str = "goldpanner report",
    language: str = "en",
    notice: str = "",
    home: tuple[str, str] | None = None,
) -> str:
    """Return a page as HTML: one file, the same bytes for the same sections.

    Args:
        sections: sections in their order.
        title: title of the page.
        lead: paragraph below the title.
        eyebrow: words above the title.
        language: language of the page, `en` or `zh`.
        notice: warning that nobody can overlook.
        home: (text, file) of the page that this one belongs to.
    """
    charts = any(isinstance(block, Figure) and block.charts for section in sections for block in section.blocks)
    numbers: dict[str, count[int]] = {"figure": count(1), "table": count(1)}
    template = _environment().get_template("template.html.j2")
    return template.render(
        number=lambda kind: next(numbers[kind]),
        title=title,
        lead=lead,
        eyebrow=eyebrow,
        notice=notice,
        home=home,
        word=words(language),
        sections=sections,
        style=Markup(_asset("style.css")),
        vega=Markup(_vega()) if charts else "",
        chart_config=CONFIG,
        script=Markup(_asset("page.js")),
    )


def data(value: Any) -> Markup:
    """Return `value` as JSON that is safe inside a script element, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def pack_data(value: Any) -> str:
    """Return `value` as JSON, gzipped, in base64: a tenth of the size, and no text a browser could mistake."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 9, mtime=0)).decode("ascii")


def _asset(name: str) -> str:
    return (files("goldpanner.report") / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    """Return the templates, compiled once for all pages."""
    environment = Environment(
        loader=PackageLoader("goldpanner.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data": data, "pack": pack_data}
    return environment


@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; every chart of the page uses this one copy."""
    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version()))
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
