"""What every result can do: say itself in a line, show itself in a notebook, become tables, figures and files."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sized
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import pandas

    from goldpanner.report.figure_files import Picture
    from goldpanner.report.results import View

LETTERS = 600
"""Letters of a `repr` at most."""


class Brief:
    """Base of dataclasses with large fields: their `repr` names the fields, and of large ones the size alone."""

    def __repr__(self) -> str:
        fields = [f"{field.name}={_short(getattr(self, field.name))}" for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return _cut(f"{type(self).__name__}({', '.join(fields)})")


class Result(Brief, ABC):
    """Base of the results: counts, curves, comparisons, plans.

    A result has named tables and named figures; which ones, the error for a wrong name lists.
    """

    _view: ClassVar[Callable[[object], "View"]]
    """Returns the tables and figures; set by the package, since whatever draws results lies above them."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """The answer in a few sentences."""

    def __repr__(self) -> str:
        return _cut(f"{type(self).__name__}: {self.summary}")

    def _repr_html_(self) -> str:
        return self._view().html(self.summary)

    def to_frame(self, table: str = "") -> "pandas.DataFrame":
        """Return a table as a pandas DataFrame; an interval becomes two columns, `_low` and `_high`.

        Args:
            table: name of the table; by default the first.

        Raises:
            InputError: there is no such table (those that there are are listed).
            MissingExtraError: pandas is not installed.
        """
        return self._view().table(table).frame()

    def plot(self, figure: str = "") -> "Picture":
        """Return a figure, which a notebook shows as SVG and `save` writes.

        Args:
            figure: name of the figure; by default the first.

        Raises:
            InputError: there is no such figure (those that there are are listed).
        """
        return self._view().picture(figure)

    def save(self, path: Path | str) -> Path:
        """Write a table or figure: the file's name says which, its ending how (`curve.pdf`, `table.tex`).

        Args:
            path: a table as .csv, .parquet, .tex or .md, or a figure as .svg, .pdf or .png. Letters before the name are
                free: `math-curve.pdf` is the figure `curve`.

        Returns:
            The path.

        Raises:
            InputError: there is no such table or figure, or no such ending (those that there are are listed).
        """
        return self._view().save(Path(path))


def _short(value: object) -> str:
    """Return a value in a few letters: of what is long its size."""
    text = repr(value) if not isinstance(value, Sized) or len(value) <= 8 else ""
    if text and len(text) <= 80:
        return " ".join(text.split())
    return f"<{type(value).__name__}{f' of {len(value)}' if isinstance(value, Sized) else ''}>"


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 4]} ..."
