"""What the command line shows: progress bars with rate and time left, and tables."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as Bar
from rich.table import Table
from rich.text import Text

from goldpanner.progress import DOING, ProgressLines

if TYPE_CHECKING:
    from goldpanner.progress import Event
    from goldpanner.report.table import ResultTable
    from goldpanner.store.studies import StudyRecord


class Shown(Console):
    """rich's console; where the reader of a pipe has left it, the program ends as others do."""

    def on_broken_pipe(self) -> None:
        """Exit with 141, as a program that SIGPIPE ends."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise SystemExit(141) from None


console = Shown()
errors = Shown(stderr=True)


def printable(text: str) -> str:
    """Return a text from a file as one printable line: what a terminal would act on is shown as U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def print_lines(*lines: str) -> None:
    """Print lines as they are, without markup."""
    for line in lines:
        console.print(line, highlight=False, markup=False)


def print_table(table: "ResultTable") -> None:
    """Print a table of a result, its caption above it."""
    console.print(Text(printable(table.caption.rstrip(".")), style="italic"))
    shown = plain_table()
    for i, name in enumerate(table.columns):
        shown.add_column(Text(printable(name)), justify="left" if i == 0 else "right")
    for row in table.texts():
        shown.add_row(*(Text(printable(cell)) for cell in row))
    console.print(shown)


def plain_table() -> Table:
    """Return a table without lines."""
    return Table(box=None, padding=(0, 2, 0, 0))


class Rate(ProgressColumn):
    """Steps or problems per second."""

    def render(self, task: Bar) -> Text:
        """Return the rate, blank until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


class LiveBars:
    """Progress bars on standard error, nothing where there is no terminal."""

    def __init__(self, quiet: bool, *columns: ProgressColumn) -> None:
        self.plain = not quiet and not errors.is_terminal
        """Whether lines are to be written instead."""
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=28), MofNCompleteColumn(), *columns,
            TimeRemainingColumn(compact=True, elapsed_when_finished=True), TextColumn("[dim]{task.fields[note]}"),
            console=errors, disable=quiet or self.plain,
        )  # fmt: skip

    def say(self, line: str) -> None:
        """Write a line where there is no terminal."""
        if self.plain:
            errors.print(line, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Bars(LiveBars):
    """A progress bar for each thing that goes on; plain lines where there is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet, Rate())
        self._lines = ProgressLines(show_line) if self.plain else None
        self._bars: dict[tuple[str, str], TaskID] = {}

    def update(self, event: "Event") -> None:
        """Take an event: move its bar, or write a line without a terminal. Show its message."""
        if self._lines is not None:
            self._lines(event)
            return
        if event.message:
            show_message(event)
            return
        key = (event.stage, event.doing)
        if key not in self._bars:
            text = f"{DOING.get(event.doing, event.doing):>11} [bold]{event.stage}[/]"
            self._bars[key] = self._progress.add_task(text, total=event.total, note="")
        self._progress.update(self._bars[key], completed=event.done, total=event.total, note=event.note)


def show_line(text: str) -> None:
    """Print text on standard error as it is."""
    errors.print(text, highlight=False, markup=False, soft_wrap=True)


def show_message(event: "Event") -> None:
    """Print the message of an event, if it has one, on standard error."""
    if event.message:
        show_line(event.message)


def opening(text: str, folder: Path, quiet: bool = False) -> None:
    """Say what is about to happen, and where it is kept."""
    if not quiet:
        errors.print(
            f"{text}\nEverything is kept in [bold]{folder}[/]; interrupt it as you like, the same command goes on.\n",
            highlight=False,
        )


def story(record: "StudyRecord", folder: Path, page: Path) -> None:
    """Print the verdict, the table of stages and tasks, and where everything is."""
    from goldpanner.report.result_tables import stages_table

    verdict = record.verdict
    assert verdict is not None
    console.print()
    console.print(f"[bold]{verdict.headline}[/]", highlight=False)
    for paragraph in verdict.paragraphs:
        console.print(Padding(paragraph, (1, 0, 0, 2)), highlight=False, markup=False)
    console.print()
    table = stages_table(record)
    sampled = [name for name in table.columns if f"exact {name}" in table.columns]  # the page has both
    print_table(table.without(*sampled))
    console.print(f"\nreport   {page}\nsamples  {folder / 'store'}\nmodels   {folder / 'stages'}", highlight=False)
    if record.arms:
        base, rl = record.arms[0]
        console.print(f"next: goldpanner compare {base} {rl} --store {folder}", highlight=False, markup=False)
