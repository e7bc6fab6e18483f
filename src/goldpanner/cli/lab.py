"""`run`, `train` and `tasks`: the lab. Needs the `lab` extra (torch, transformers)."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli import app
from goldpanner.errors import InputError, Interrupted, MissingExtraError

if TYPE_CHECKING:
    from goldpanner.studies.config import RunConfig

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
Seed = Annotated[
    int | None, typer.Option(help="Sets every seed not set by itself: world, model, trainers, measurement.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. grpo.steps=20.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for a program to read.")]


def need_lab() -> None:
    """Raise MissingExtraError when torch or transformers is not installed."""
    from importlib.util import find_spec

    if not (find_spec("torch") and find_spec("transformers")):
        raise MissingExtraError("the lab (training and sampling local models)", "lab")


def load_config(config: Path | None, seed: int | None, overrides: list[str] | None) -> "RunConfig":
    """Return the settings of the lab from a file, a seed and overrides."""
    need_lab()
    from goldpanner.studies import settings
    from goldpanner.studies.config import RunConfig

    return settings.load(RunConfig, config, overrides or (), seed=seed)


@app.command()
def run(
    config: ConfigFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder of everything the run keeps.")] = None,
    seed: Seed = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Pretrain, fine-tune, train with GRPO, measure after every stage, and say what RL did.

    Example: goldpanner run --seed 1 --set domain.gap=false --out runs/no-gap
    """
    from goldpanner.cli import display
    from goldpanner.report import build
    from goldpanner.studies import story

    settings = load_config(config, seed, set_)
    folder = out or Path("runs") / default_name(settings, config, set_)
    display.opening(folder, quiet=as_json)
    with display.Bars(quiet=as_json) as bars:
        record = story.run(settings, folder, bars.update, command=command_line())
    page = build(folder)
    if as_json:
        sys.stdout.write(json.dumps({**record, "folder": str(folder), "report": str(page)}) + "\n")
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


train = typer.Typer(help="Train one stage by itself: pretrain, sft or grpo.", no_args_is_help=True)
app.add_typer(train, name="train")

Out = Annotated[Path, typer.Option(help="Folder of the stage: metrics.jsonl, checkpoint.pt and at the end model/.")]
From = Annotated[Path, typer.Option("--model", help="Model folder to start from, in the Hugging Face layout.")]


def _train(
    kind: str, out: Path, model: Path | None, config: Path | None, seed: int | None, set_: list[str] | None
) -> None:
    settings = load_config(config, seed, set_)
    import torch

    from goldpanner.cli import display
    from goldpanner.store import Store
    from goldpanner.studies import stages

    if model is not None and not (model / "config.json").is_file():
        raise InputError(f"--model {str(model)!r} has no config.json; give a model folder such as runs/.../base/model")
    torch.set_num_threads(1)
    with display.Bars() as bars:
        try:
            stages.train(kind, settings, out, model, Store(out / "store"), bars.update)
        except KeyboardInterrupt:
            raise Interrupted(f"the last checkpoint is kept in {out}; run the same command again to go on") from None
    typer.echo(f"{out / 'model'}")


@train.command()
def pretrain(out: Out, config: ConfigFile = None, seed: Seed = None, set_: Set = None) -> None:
    """Train a fresh model on the domain's documents.

    Example: goldpanner train pretrain --out runs/base
    """
    _train("pretrain", out, None, config, seed, set_)


@train.command()
def sft(model: From, out: Out, config: ConfigFile = None, seed: Seed = None, set_: Set = None) -> None:
    """Fine-tune a model on a few worked examples.

    Example: goldpanner train sft --model runs/base/model --out runs/sft --set demonstrations=24
    """
    _train("sft", out, model, config, seed, set_)


@train.command()
def grpo(model: From, out: Out, config: ConfigFile = None, seed: Seed = None, set_: Set = None) -> None:
    """Train a model with verifiable rewards: GRPO or a variant of it.

    Example: goldpanner train grpo --model runs/base/model --out runs/rl --set grpo.variant=dr-grpo
    """
    _train("grpo", out, model, config, seed, set_)


@app.command()
def tasks(
    task: Annotated[str | None, typer.Argument(help="Show problems of this task, e.g. world/d3.")] = None,
    n: Annotated[int, typer.Option("-n", help="Problems to show.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the problems.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List the tasks, or show problems of one with their worked answers.

    Example: goldpanner tasks world/d3 -n 5
    """
    from goldpanner.tasks import load, task_ids

    if task is None:
        ids = task_ids()
        typer.echo(json.dumps({"tasks": ids}) if as_json else "\n".join(ids))
        return
    rows: list[dict[str, Any]] = [
        {"id": p.id, "prompt": p.prompt, "answer": p.answer, "worked": p.meta.get("chain")} for p in load(task, n, seed)
    ]
    if as_json:
        typer.echo(json.dumps({"task": task, "problems": rows}, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['prompt']}\n  worked: {row['worked']}\n  answer: {row['answer']}\n")
