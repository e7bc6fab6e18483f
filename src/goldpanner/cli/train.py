"""`train`: one stage by itself, or the stages of a recipe. Needs the `lab` extra (torch, transformers)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import Columns, ConfigFile, Judge, Seed, Set, Threshold
from goldpanner.cli.run import command_line, load_config
from goldpanner.errors import InputError, Interrupted, need_lab
from goldpanner.policies.resolve import model_folder

if TYPE_CHECKING:
    from goldpanner.progress import Notify
    from goldpanner.runs.config import RunConfig
    from goldpanner.tasks.task import Task as OneTask


train = typer.Typer(help="Train one stage by itself, or the stages of a recipe.", no_args_is_help=True)
app.add_typer(train, name="train")

Out = Annotated[Path, typer.Option(help="Folder of the stage: metrics.jsonl, checkpoint.pt and at the end model/.")]
From = Annotated[
    Path, typer.Option("--model", help="Model to start from: its folder, its name on the hub, or smollm2 (fetched).")
]
Task = Annotated[
    str | None,
    typer.Option(help="Train on this task, e.g. arithmetic/add-2d2d or gsm8k/train, or on a data file, not the lab's."),
]
Data = Annotated[Path | None, typer.Option(help="File of the task's problems (.jsonl or .parquet), if it needs one.")]
Examples = Annotated[
    Path | None, typer.Option(help="File of worked examples for SFT, columns prompt and response (.jsonl or .parquet).")
]


class Trainer(StrEnum):
    """What trains."""

    OWN = "goldpanner"
    TRL = "trl"


@dataclass(frozen=True)
class Given:
    """What every stage is given on the command line."""

    out: Path
    model: Path | None
    config: Path | None
    seed: int | None
    set_: list[str] | None
    task: str | None = None
    data: Path | None = None
    examples: Path | None = None
    columns: str | None = None
    verifier: str | None = None
    threshold: float | None = None

    def chosen_task(self, settings: "RunConfig") -> "OneTask | None":
        """Return the task that takes the place of the lab's, None where none was named."""
        from goldpanner.tasks.catalog import task

        own = (self.columns, self.verifier, self.threshold)
        if self.task is None:
            if any(value is not None for value in (self.data, self.examples, *own)):
                raise InputError(
                    "--data, --examples, --columns, --verifier and --threshold belong to a task; name it with --task, "
                    "e.g. --task gsm8k/train"
                )
            return None
        facts = settings.domain if self.task.partition("/")[0] == settings.domain.kind else None
        chosen = task(self.task, self.data, *own, config=facts, examples=self.examples)
        if chosen.note:
            typer.echo(chosen.note, err=True)
        chosen.check()
        return chosen

    def start(self) -> Path | None:
        """Return the folder of the model to start from (`smollm2` is fetched), None for a fresh one."""
        from goldpanner.cli.display import show_message

        return None if self.model is None else model_folder(self.model, show_message)


def _train(kind: str, given: Given, rollouts: Path | None = None, run: str | None = None) -> None:
    settings = load_config(given.config, given.seed, given.set_)
    from goldpanner.runs.lab_run import train_by_settings
    from goldpanner.runs.stages import StoredRollouts
    from goldpanner.store import Store
    from goldpanner.store.find import open_store

    task = given.chosen_task(settings)
    if (rollouts is None) != (run is None):
        raise InputError("--rollouts and --run belong together: the folder of a store, and the name of a run in it")
    stored = None if rollouts is None or run is None else StoredRollouts(open_store(rollouts), run)
    start = given.start()

    def work(notify: "Notify") -> Path:
        config, store = settings.for_task(task) if task else settings, Store(given.out / "store")
        train_by_settings(kind, config, given.out, start, store, notify, task=task, rollouts=stored)
        return given.out / "model"

    _with_bars(given, work)


def _train_by_trl(given: Given, options: list[str], processes: int, probe: int) -> None:
    """Hand GRPO over to TRL; of several processes the first one speaks."""
    settings = load_config(given.config, given.seed, given.set_)
    from goldpanner.tasks.catalog import build_domain
    from goldpanner.train.trl.launch import hand_over

    task = given.chosen_task(settings)
    config = settings.for_task(task) if task else settings
    tasks = {task.id: task} if task else build_domain(config.domain).tasks
    start = given.start()
    assert start is not None

    def work(notify: "Notify") -> Path:
        return hand_over(
            start, tasks, config.grpo, given.out, options=options, processes=processes,
            device=config.device, probe=probe, every=config.measure.every, notify=notify,
        )  # fmt: skip

    _with_bars(given, work, quiet=os.environ.get("RANK", "0") != "0")


def _with_bars(given: Given, work: "Callable[[Notify], Path]", *, quiet: bool = False) -> None:
    """Train with progress bars on one thread, and say where the model is."""
    import torch

    from goldpanner.cli import display

    torch.set_num_threads(1)
    with display.Bars(quiet=quiet) as bars:
        try:
            folder = work(bars.update)
        except KeyboardInterrupt:
            raise Interrupted(
                f"the last checkpoint is kept in {given.out}; run the same command again to go on"
            ) from None
    if not quiet:
        typer.echo(f"{folder}")


@train.command("pretrain")
def pretrain_command(out: Out, config: ConfigFile = None, seed: Seed = None, set_: Set = None) -> None:
    """Train a fresh model on the domain's documents.

    Example: goldpanner train pretrain --out runs/base
    """
    _train("pretrain", Given(out, None, config, seed, set_))


@train.command("sft")
def sft_command(
    model: From,
    out: Out,
    task: Task = None,
    data: Data = None,
    examples: Examples = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    config: ConfigFile = None,
    seed: Seed = None,
    set_: Set = None,
) -> None:
    """Fine-tune a model on a few worked examples.

    Example: goldpanner train sft --model runs/base/model --out runs/sft --set demonstrations=24
    """
    _train("sft", Given(out, model, config, seed, set_, task, data, examples, columns, verifier, threshold))


@train.command("grpo")
def grpo_command(
    model: From,
    out: Out,
    task: Task = None,
    data: Data = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    config: ConfigFile = None,
    seed: Seed = None,
    set_: Set = None,
    engine: Annotated[Trainer, typer.Option(help="goldpanner: our own loop; trl: TRL's GRPOTrainer.")] = Trainer.OWN,
    trl: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="trl: an option of TRL's own, e.g. bf16=true.")
    ] = None,
    processes: Annotated[int, typer.Option(help="trl: processes that must take part, else it stops.", min=1)] = 1,
    probe: Annotated[
        int, typer.Option(help="trl: problems measured every measure.every steps; 0 for none.", min=0)
    ] = 16,
) -> None:
    """Train a model with verifiable rewards: GRPO or a variant of it, by our own loop or by TRL's trainer.

    Example: goldpanner train grpo --model runs/base/model --out runs/rl --set grpo.variant=dr-grpo
    """
    given = Given(out, model, config, seed, set_, task, data, None, columns, verifier, threshold)
    if engine is Trainer.TRL:
        _train_by_trl(given, trl or [], processes, probe)
        return
    if trl or processes != 1:
        raise InputError("--trl and --processes belong to TRL's trainer; give --engine trl with them")
    _train("grpo", given)


@train.command("ppo")
def ppo_command(
    model: From,
    out: Out,
    task: Task = None,
    data: Data = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    config: ConfigFile = None,
    seed: Seed = None,
    set_: Set = None,
) -> None:
    """Train a model with verifiable rewards by PPO, with a value head as the critic.

    Example: goldpanner train ppo --model runs/base/model --out runs/ppo --set ppo.gae_lambda=1
    """
    _train("ppo", Given(out, model, config, seed, set_, task, data, None, columns, verifier, threshold))


@train.command("rft")
def rft_command(
    model: From,
    out: Out,
    rollouts: Annotated[
        Path | None, typer.Option(help="Store whose rollouts are used; left out, the model draws its own.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Run of that store, e.g. base-grpo.")] = None,
    task: Task = None,
    data: Data = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    config: ConfigFile = None,
    seed: Seed = None,
    set_: Set = None,
) -> None:
    """Fine-tune a model on right answers: its own, or those of a run's stored rollouts (rejection fine-tuning).

    Example: goldpanner train rft --model base/model --out runs/rft --rollouts runs/world-seed0 --run base-grpo
    """
    _train("rft", Given(out, model, config, seed, set_, task, data, None, columns, verifier, threshold), rollouts, run)


@train.command("recipe")
def recipe_command(
    name: Annotated[str, typer.Argument(help="r1-zero, r1, lima, or a YAML file of your own.")],
    model: From,
    out: Annotated[Path, typer.Option(help="Folder of the recipe: stages/NAME/model, and the store.")],
    task: Task = None,
    data: Data = None,
    examples: Examples = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    config: ConfigFile = None,
    seed: Seed = None,
    set_: Set = None,
) -> None:
    """Train the stages of a recipe one after the other: r1-zero, r1 or lima.

    Example: goldpanner train recipe r1 --model runs/world-seed0/stages/base/model --out runs/r1
    """
    given = Given(out, model, config, seed, set_, task, data, examples, columns, verifier, threshold)
    need_lab()
    from goldpanner.runs.recipe import run_recipe

    chosen, start = given.chosen_task(load_config(config, seed, set_)), given.start()
    assert start is not None

    def work(notify: "Notify") -> Path:
        return run_recipe(
            name, start, out, notify, file=config, overrides=set_ or (), seed=seed, task=chosen, command=command_line()
        )

    _with_bars(given, work)
