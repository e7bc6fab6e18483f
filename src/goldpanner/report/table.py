"""A table of a result, and the forms that it is written in: a DataFrame, CSV, Parquet, LaTeX, Markdown, HTML."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from goldpanner.errors import need_extra
from goldpanner.files import replacing
from goldpanner.types import Estimate

if TYPE_CHECKING:
    import pandas

Cell = str | int | float | bool | Estimate | None
Column = Sequence[Cell] | NDArray[np.generic]

LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}", "]": "{]}", "–": "--",
    "∞": r"$\infty$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", **{c: f"\\{c}" for c in "&%$#_{}"},
}  # fmt: skip
"""What LaTeX takes for a command, or its usual fonts lack."""


@dataclass(frozen=True)
class ResultTable:
    """Columns under their names, of one length; estimates are shown with their intervals."""

    columns: Mapping[str, Column]
    caption: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def flat(self) -> dict[str, Column]:
        """Return the columns with each column of estimates as three: the value, `_low` and `_high`."""
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            if not any(isinstance(cell, Estimate) for cell in column):
                columns[name] = column
                continue
            for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                columns[f"{name}{suffix}"] = [getattr(cell, end) for cell in column]
        return columns

    def arrow(self) -> pa.Table:
        """Return the flat columns as an Arrow table; NaN is null."""
        return pa.table({name: pa.array(column, from_pandas=True) for name, column in self.flat().items()})

    def frame(self) -> "pandas.DataFrame":
        """Return the flat columns as a DataFrame. Raises MissingExtraError without pandas."""
        need_extra("a DataFrame", "frames", "pandas")
        return self.arrow().to_pandas()

    def texts(self, rows: int | None = None) -> Iterator[list[str]]:
        """Yield the cells of each row as they are read; of more rows than `rows` the first."""
        columns = [column[:rows] for column in self.columns.values()]
        signed = [name.startswith("difference") for name in self.columns]
        for row in zip(*columns):
            yield [_text(cell, sign) for cell, sign in zip(row, signed)]

    def without(self, *names: str) -> "ResultTable":
        """Return the table without some of its columns."""
        return ResultTable({name: column for name, column in self.columns.items() if name not in names}, self.caption)

    def html(self, rows: int) -> str:
        """Return the first rows as an HTML table."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.texts(rows))
        more = f"<p>{len(self) - rows:,} more rows</p>" if len(self) > rows else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def write_csv(table: ResultTable, path: Path) -> None:
    """Write comma-separated values, empty where there is none.

    A text that a spreadsheet would run as a formula (it begins with =, +, - or @ and is no number) gets an apostrophe
    before it; Parquet has every text as it is.
    """
    columns = table.flat()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_plain(name) for name in columns])
        writer.writerows([_plain(cell) for cell in row] for row in zip(*columns.values()))


def write_parquet(table: ResultTable, path: Path) -> None:
    """Write Parquet."""
    pq.write_table(table.arrow(), path)


def write_latex(table: ResultTable, path: Path) -> None:
    """Write a `tabular` for `\\usepackage{booktabs}`; texts are escaped."""
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in [list(table.columns), *table.texts()]]
    sides = "".join("r" if _numbers(column) else "l" for column in table.columns.values())
    head = [f"% {one_line(table.caption)}", rf"\begin{{tabular}}{{{sides}}}", r"\toprule", rows[0], r"\midrule"]
    path.write_text("\n".join([*head, *rows[1:], r"\bottomrule", r"\end{tabular}", ""]), encoding="utf-8")


def write_markdown(table: ResultTable, path: Path) -> None:
    """Write a Markdown table; texts are escaped."""
    rows = [f"| {' | '.join(map(markdown_cell, row))} |" for row in [list(table.columns), *table.texts()]]
    sides = "|".join("--:" if _numbers(column) else "---" for column in table.columns.values())
    path.write_text("\n".join([rows[0], f"|{sides}|", *rows[1:], ""]), encoding="utf-8")


WRITERS: Mapping[str, Callable[[ResultTable, Path], None]] = {
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".tex": write_latex,
    ".md": write_markdown,
}
"""By ending, how a table is written."""


def write_table(table: ResultTable, path: Path) -> None:
    """Write a table as its ending, one of `WRITERS`, says; the file is whole or absent."""
    with replacing(path) as temporary:
        WRITERS[path.suffix](table, temporary)


def markdown_cell(text: str) -> str:
    r"""Return a text on one line that leaves a Markdown table whole.

    >>> markdown_cell("a|b")
    'a\\|b'
    """
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", one_line(text)).replace("<", "&lt;")


def one_line(text: str) -> str:
    r"""Return a text with a space for every character that is not printed.

    >>> one_line("two\nlines")
    'two lines'
    """
    return "".join(c if c.isprintable() else " " for c in text)


def _latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in one_line(text))


def _text(cell: object, signed: bool = False) -> str:
    """Return a cell as it is read: numbers with four digits, a dash for what is undefined."""
    if isinstance(cell, Estimate) and signed:
        return format(cell, "+")
    if isinstance(cell, int | np.integer) and not isinstance(cell, bool):
        return f"{cell:,}"
    if cell is None or (isinstance(cell, float | np.floating) and np.isnan(cell)):
        return "–"
    if isinstance(cell, float | np.floating):
        return f"{cell:.4g}"
    return str(cell)


def _plain(cell: object) -> object:
    """Return a cell of a CSV file."""
    if isinstance(cell, float | np.floating) and np.isnan(cell):
        return None
    if isinstance(cell, float | np.floating):
        return repr(float(cell))
    text = str(cell)
    if isinstance(cell, str) and text[:1] in tuple("=+-@\t\r") and not _is_number(text):
        return f"'{text}"
    return cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(column: Column) -> bool:
    """Whether a column stands to the right: it holds numbers and estimates only."""
    return not any(isinstance(cell, str) for cell in column)
