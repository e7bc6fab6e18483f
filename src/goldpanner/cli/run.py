"""`run`: the whole story, of the lab's models or of a model of yours."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli import display
from goldpanner.cli.app import app
from goldpanner.cli.options import (
    AsJson,
    Columns,
    ConfigFile,
    Judge,
    Seed,
    Set,
    Threshold,
)
from goldpanner.errors import InputError, need_lab
from goldpanner.policies.resolve import model_folder
from goldpanner.types import content_hash

if TYPE_CHECKING:
    from goldpanner.runs.config import RunConfig
    from goldpanner.store.schema import StudyRecord


def load_config(config: Path | None, seed: int | None, overrides: list[str] | None) -> "RunConfig":
    """Return the settings of the lab from a file, a seed and overrides."""
    need_lab()
    from goldpanner.runs import settings
    from goldpanner.runs.config import RunConfig

    return settings.load_settings(RunConfig, config, overrides or (), seed=seed)


@app.command("run")
def run_command(
    model: Annotated[
        str | None,
        typer.Option(
            help="A model of yours in place of the lab's: its folder or name on the hub, or smollm2 (fetched)."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="With --model: the task, e.g. arithmetic/add-2d2d, or a data file.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="With --model: file of the task's problems, if needed.")] = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    config: ConfigFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder of everything the run keeps.")] = None,
    seed: Seed = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Train with GRPO, measure before and after, and say what RL did: to the lab's own models, or to --model on --task.

    Example: goldpanner run --seed 1 --set domain.gap=false --out runs/no-gap
    Example: goldpanner run --model smollm2 --task arithmetic/add-2d2d
    """
    from goldpanner.cli import display
    from goldpanner.report import build

    judged = {"columns": columns, "verifier": verifier, "threshold": threshold}
    of_a_task = [data, *judged.values()]
    if (model is None) != (task is None) or (task is None and any(value is not None for value in of_a_task)):
        raise InputError(
            "--model and --task belong together (--data, --columns, --verifier and --threshold to them): name both, "
            "e.g. --model smollm2 --task arithmetic/add-2d2d; without them the lab trains its own models"
        )
    need_lab()
    if model is not None and task is not None:
        record, folder = run_on_a_model(model, task, data, judged, config, out, seed, set_, command_line(), as_json)
    else:
        from goldpanner.runs import lab_run

        settings = load_config(config, seed, set_)
        folder = out or Path("runs") / default_name(settings, config, set_)
        display.opening(folder, quiet=as_json)
        with display.Bars(quiet=as_json) as bars:
            record = lab_run.run_lab(settings, folder, bars.update, command=command_line())
    page = build(folder)
    if as_json:
        sys.stdout.write(json.dumps({**record.model_dump(), "folder": str(folder), "report": str(page)}) + "\n")
    else:
        display.story(record, folder, page)


def default_name(settings: "RunConfig", config: Path | None, overrides: list[str] | None) -> str:
    """Return a folder name that differs when the settings do: `world-seed0`, `world-seed0-3fa2c1` with changes."""
    from goldpanner.types import content_hash

    name = f"{settings.domain.kind}-seed{settings.seed}"
    changed = config is not None or bool(overrides)
    return f"{name}-{content_hash(settings.model_dump(mode='json'), 6)}" if changed else name


def command_line() -> str:
    """Return the command as it was typed, the program by its name alone."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def run_on_a_model(
    model: str,
    task: str,
    data: Path | None,
    judged: Mapping[str, Any],
    config: Path | None,
    out: Path | None,
    seed: int | None,
    set_: list[str] | None,
    command: str,
    quiet: bool,
) -> tuple["StudyRecord", Path]:
    """Carry out a run on a Hugging Face model; return its record and its folder.

    `judged` holds the settings `columns`, `verifier` and `threshold`.
    """
    from goldpanner.runs import model_run, settings

    options: dict[str, Any] = {"model": model, "task": task, "data": None if data is None else str(data), "seed": seed}
    options |= judged
    chosen_task = settings.load_settings(model_run.ModelRunConfig, config, set_ or (), **options).load_task()
    task = chosen_task.id  # mistakes are told before anything is fetched
    if chosen_task.note:
        typer.echo(chosen_task.note, err=True)
    options["model"] = str(model_folder(model, display.show_message))
    chosen = settings.load_settings(model_run.ModelRunConfig, config, set_ or (), **options)
    chosen.check_model()
    name = f"{Path(options['model']).name}-{task.replace('/', '-')}-seed{chosen.seed}"
    changed = config is not None or bool(set_) or any(value is not None for value in judged.values())
    named = f"{name}-{content_hash(chosen.model_dump(mode='json'), 6)}" if changed else name
    folder = out or Path("runs") / named
    display.opening_real(folder, Path(options["model"]).name, task, quiet=quiet)
    with display.Bars(quiet=quiet) as bars:
        return model_run.run_model(chosen, folder, bars.update, command=command), folder
