"""`run` and `report`: what RL did to the lab's models or to a model of yours, and the page of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goldpanner.cli.app import RUN, OptionGroup, cli_command, command_line, print_json
from goldpanner.cli.options import AsJson, Model, OutOrNone, RehearsalOptions, SettingsOptions, Task, TaskOptions
from goldpanner.errors import InputError, need_lab

if TYPE_CHECKING:
    from goldpanner.store.studies import StudyRecord


@dataclass(frozen=True, kw_only=True)
class RunOptions(OptionGroup):
    """What is run, with which settings, and where its results go."""

    title = "Options"

    model: Model = ""
    task: Task = None
    out: OutOrNone = None
    judging: TaskOptions
    rehearsal: RehearsalOptions
    settings: SettingsOptions

    def run_lab(self, quiet: bool) -> "tuple[StudyRecord, Path]":
        """Carry out the lab's run; return its record and its folder."""
        from goldpanner.runs.workers import import_early

        import_early(["goldpanner.runs.lab_run"])  # five seconds, which the second core spends meanwhile
        from goldpanner.cli import display
        from goldpanner.runs.folder import default_folder
        from goldpanner.runs.lab_run import run_lab

        config = self.settings.load()
        name = f"{config.domain.kind}-seed{config.seed}"
        folder = self.out or default_folder(name, config, changed=self.settings.changed)
        display.opening(
            "A small language model is pretrained from scratch, then trained with verifiable rewards two ways:\n"
            "straight from the base (as DeepSeek-R1-Zero), and after SFT on a few worked examples (as R1).",
            folder,
            quiet,
        )
        with display.Bars(quiet=quiet) as bars:
            return run_lab(config, folder, bars.update, command_line(), self.rehearsal.skip), folder

    def run_model(self, quiet: bool) -> "tuple[StudyRecord, Path]":
        """Carry out a run on a Hugging Face model; return its record and its folder."""
        from goldpanner.cli import display
        from goldpanner.policies.resolve import model_folder
        from goldpanner.runs.folder import default_folder
        from goldpanner.runs.model_run import ModelRunConfig, run_model
        from goldpanner.runs.settings import load_settings

        settings, judging = self.settings, asdict(self.judging) | {"set_aside": self.judging.set_aside or None}
        config = load_settings(
            ModelRunConfig, settings.config, settings.overrides or (), seed=settings.seed, model=self.model,
            task=self.task, **judging,
        )  # fmt: skip
        chosen = config.load_task()  # mistakes are told before anything is fetched
        if chosen.note:
            typer.echo(chosen.note, err=True)
        config = config.model_copy(update={"model": model_folder(config.model, display.show_message)})
        name = f"{config.model.name}-{chosen.id.replace('/', '-')}-seed{config.seed}"
        folder = self.out or default_folder(name, config, changed=settings.changed or bool(self.judging.given()))
        plan = "a pilot, a plan, GRPO, and its boundary before and after on problems held out"
        display.opening(f"{config.model.name} on {chosen.id}: {plan}.", folder, quiet)
        with display.Bars(quiet=quiet) as bars:
            return run_model(config, folder, bars.update, command_line(), self.rehearsal.skip), folder


@cli_command("run", RUN)
def run_command(what: RunOptions, as_json: AsJson = False) -> None:
    """Train with GRPO, measured before and after.

    Without options, the lab trains a small model of its own. With --model and --task, GRPO trains your model on your
    task. The results go to runs/NAME unless --out names a folder; rerun the command to resume.

    Example: goldpanner run --seed 1 --set domain.gap=false --out runs/no-gap

    Example: goldpanner run --model smollm2 --task arithmetic/add-2d2d
    """
    from goldpanner.cli import display
    from goldpanner.report.pages.run import build

    if bool(what.model) != bool(what.task) or (what.task is None and what.judging.given()):
        raise InputError(
            "--model and --task belong together, and --data, --columns, --verifier, --threshold and --set-aside to "
            "them: name both, e.g. --model smollm2 --task arithmetic/add-2d2d; without them the lab trains its own "
            "models"
        )
    need_lab()
    record, folder = what.run_lab(as_json) if what.task is None else what.run_model(as_json)
    page = build(folder)
    if as_json:
        print_json("run", {**record.model_dump(mode="json"), "folder": str(folder), "report": str(page)})
    else:
        display.story(record, folder, page)


@cli_command("report", RUN)
def report_command(folder: Annotated[Path, typer.Argument(help="Folder of a run.")], as_json: AsJson = False) -> None:
    """Draw the report of a run again.

    The page is report.html in the folder of the run.

    Example: goldpanner report runs/world-seed0
    """
    from goldpanner.report.pages.run import build

    page = str(build(folder))
    if as_json:
        print_json("report", {"report": page})
    else:
        typer.echo(page)
