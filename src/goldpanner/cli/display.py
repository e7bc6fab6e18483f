"""What the command line shows: progress bars with rate and time left, and tables."""

from collections.abc import Mapping, Sequence
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
    from goldpanner.store.schema import CellRecord, EstimateRecord, StudyRecord


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


class Rate(ProgressColumn):
    """Steps or problems per second."""

    def render(self, task: Bar) -> Text:
        """Return the rate, blank until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


class Bars:
    """A progress bar for each thing that goes on; plain lines where there is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=errors,
            disable=quiet or not errors.is_terminal,
        )
        self._lines = ProgressLines(show_line) if not quiet and not errors.is_terminal else None
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

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def show_line(text: str) -> None:
    """Print text on standard error as it is."""
    errors.print(text, highlight=False, markup=False, soft_wrap=True)


def show_message(event: "Event") -> None:
    """Print the message of an event, if it has one, on standard error."""
    if event.message:
        show_line(event.message)


def opening(folder: Path, quiet: bool = False) -> None:
    """Say what is about to happen."""
    if not quiet:
        errors.print(
            "A small language model is pretrained from scratch, then trained with verifiable rewards two ways:\n"
            "straight from the base (as DeepSeek-R1-Zero), and after SFT on a few worked examples (as R1).\n"
            f"Everything is kept in [bold]{folder}[/]; interrupt it as you like, the same command goes on.\n",
            highlight=False,
        )


def opening_real(folder: Path, model: str, task: str, quiet: bool = False) -> None:
    """Say what is about to happen to a model of the user's."""
    if not quiet:
        errors.print(
            f"{model} on {task}: a pilot, a plan, GRPO, and its boundary before and after on problems held out.\n"
            f"Everything is kept in [bold]{folder}[/]; interrupt it as you like, the same command goes on.\n",
            highlight=False,
        )


def story(record: "StudyRecord", folder: Path, page: Path) -> None:
    """Print the verdict, the table of stages and tasks, and where everything is."""
    verdict = record.verdict
    assert verdict is not None
    console.print()
    console.print(f"[bold]{verdict.headline}[/]", highlight=False)
    for paragraph in verdict.paragraphs:
        console.print(Padding(paragraph, (1, 0, 0, 2)), highlight=False, markup=False)
    console.print()
    console.print(stage_table(verdict.table, record.stages, record.tasks_measured, record.tasks_trained))
    console.print(f"\nreport   {page}\nsamples  {folder / 'store'}\nmodels   {folder / 'stages'}", highlight=False)


def stage_table(
    cells: Mapping[str, Mapping[str, "CellRecord"]], stages: Sequence[str], tasks: Sequence[str], trained: Sequence[str]
) -> Table:
    """Return the table of pass@1 and pass@k by task and stage: sampled with its interval, and exact where known."""
    first = cells[stages[0]][tasks[0]]
    exact = first.exact_at_1 is not None
    legend = "* held out: RL never saw the task. Sampled: the answer is right; exact: P of the worked answer."
    table = Table(box=None, padding=(0, 2, 0, 0), caption=legend if exact else None, caption_justify="left")
    table.add_column("task", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    for end in ("1", str(first.k)):
        for column in (f"pass@{end}, sampled", "exact")[: 1 + exact]:
            table.add_column(column, justify="right", no_wrap=True)
    for task in tasks:
        name = task if task in trained else f"{task}*"
        for i, stage in enumerate(stages):
            cell, row = cells[stage][task], []
            for sampled, exact_value in ((cell.pass_at_1, cell.exact_at_1), (cell.pass_at_k, cell.exact_at_k)):
                row += [_interval(sampled)] + ([] if exact_value is None else [f"{exact_value:.3f}"])
            table.add_row(name if i == 0 else "", stage, *row, end_section=i == len(stages) - 1)
    return table


def _interval(record: "EstimateRecord") -> str:
    estimate = record.estimate()
    return f"{estimate.value:.3f} {estimate.low:.2f}–{estimate.high:.2f}"
