"""What `study` shows: one bar for all jobs above what the workers do, and what came out as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import TaskID
from rich.table import Table

from goldpanner.cli.display import LiveBars, console, plain_table
from goldpanner.progress import DOING
from goldpanner.report.pages.mission import boxes
from goldpanner.report.ui_text import words

if TYPE_CHECKING:
    from goldpanner.progress import Event
    from goldpanner.store.argument import MissionRecord, StudyLine
    from goldpanner.store.findings import FindingRecord, Word

VERDICTS: tuple["Word", ...] = ("held", "false", "conditional", "undecided")
BOXES = ("true", "false", "unknown")


class StudyBars(LiveBars):
    """All jobs on one bar, and under it what each worker is doing; plain lines where there is no terminal."""

    def __init__(self, total: int, done: int, workers: int = 2, quiet: bool = False) -> None:
        super().__init__(quiet)
        self._total, self._done, self._workers = total, done, workers
        self._all = self._progress.add_task(f"{'studies':>15} [bold]x worlds[/]", total=total, completed=done, note="")
        self._active: dict[str, TaskID] = {}

    def update(self, event: "Event") -> None:
        """Take an event: a job that ends moves the upper bar, anything else the bar of the worker that sent it."""
        finished = event.done == event.total
        if event.doing == "measure" and finished:
            self._done += 1
            self._progress.update(self._all, completed=self._done)
            if event.stage in self._active:
                self._progress.remove_task(self._active.pop(event.stage))
            self.say(f"{self._done:>5}/{self._total} {event.stage}: {event.note}")
            return
        doing = f"{DOING.get(event.doing, event.doing):>15} [bold]{event.stage}[/]"
        task = self._active.pop(event.stage, None)
        if task is None:
            task = self._progress.add_task(doing, total=event.total, note="")
        self._active[event.stage] = task  # the latest last, so that the one not heard of for longest goes first
        self._progress.update(task, description=doing, completed=event.done, total=event.total, note=event.note)
        while len(self._active) > self._workers:
            self._progress.remove_task(self._active.pop(next(iter(self._active))))
        if finished and event.stage.startswith("bases "):
            self.say(f"{'':>11} {event.stage}: {DOING.get(event.doing, event.doing)} done")


def outcome(
    records: "Mapping[str, FindingRecord]",
    mission: "MissionRecord",
    folder: Path,
    paths: Mapping[str, Path],
    language: str,
) -> None:
    """Print how every study's predictions came out, the boxes of every sentence, and where the pages are."""
    word = words(language)
    if mission.quick:
        console.print(f"\n[bold yellow]{word['notice']}[/]", highlight=False)
    table = _table(word["study"], word["count"], *(word[verdict] for verdict in VERDICTS), word["minute"])
    for column in table.columns[1:]:
        column.justify = "right"
    for name, record in records.items():
        verdicts = [prediction.word for prediction in record.predictions.values()]
        counts = [str(verdicts.count(verdict) or "·") for verdict in VERDICTS]
        table.add_row(name, str(len(verdicts)), *counts, f"{sum(record.seconds.values()) / 60:.1f}")
    console.print()
    console.print(table)
    for sentence in mission.sentences:
        console.print(f"\n[bold]{sentence.text.of(language)}[/]", highlight=False)
        lines = boxes(sentence.claim, sentence.boundary, language)
        for name in [name for name in BOXES if lines[name] and (name != "unknown" or len(lines[name]) == 1)]:
            console.print(f"  {word[f'box_{name}']}{word['colon']}{' '.join(lines[name][:2])}", highlight=False)
    pages = [str(paths[name]) for name in records][:3] + (["..."] if len(records) > 3 else [])
    console.print(f"\nanswer   {paths['answer']}\nstudies  {', '.join(pages)}\nsamples  {folder / 'store'}",
                  highlight=False, soft_wrap=True)  # fmt: skip


def print_studies(rows: "Sequence[StudyLine]", folder: Path, language: str) -> None:
    """Print every study's name and title, and the worlds that it was run in in `folder`."""
    word = words(language)
    table = _table(word["study"], "", word["worlds"])
    for row in rows:
        table.add_row(row.name, row.title.of(language), word["comma"].join(map(str, row.worlds)) or word["not_run"])
    console.print(table)
    console.print(f"\n{folder}", highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = plain_table()
    for i, name in enumerate(columns):
        table.add_column(name, no_wrap=i == 0 and len(columns) > 2)
    return table
