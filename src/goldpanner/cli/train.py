"""`train`: one stage by itself, or the stages of a recipe. Needs the `lab` extra (torch, transformers)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goldpanner.cli.app import TRAIN, CommandsByGroup, OptionGroup, app, cli_command, command_line
from goldpanner.cli.options import ENGINE, Examples, Model, Out, RehearsalOptions, SettingsOptions, Task, TaskOptions
from goldpanner.errors import InputError, Interrupted
from goldpanner.policies.resolve import model_folder

if TYPE_CHECKING:
    from goldpanner.progress import Notify
    from goldpanner.runs.config import RunConfig
    from goldpanner.runs.stages import StoredRollouts
    from goldpanner.tasks.task import Task as LoadedTask


train = typer.Typer(
    cls=CommandsByGroup,
    help="Train one stage, or a recipe.\n\nThe folder of a stage has its model in model/ and its progress in "
    "metrics.jsonl.\n\nExample: goldpanner train pretrain --out runs/base",
    no_args_is_help=True,
)
app.add_typer(train, name="train", rich_help_panel=TRAIN)


class TrainingEngine(StrEnum):
    """What trains."""

    OWN = "goldpanner"
    TRL = "trl"


@dataclass(frozen=True)
class TrlOptions(OptionGroup):
    """Whether TRL trains, and how."""

    title = "TRL (--engine trl)"

    engine: Annotated[TrainingEngine, ENGINE] = TrainingEngine.OWN
    trl: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Setting of TRL's GRPOConfig, e.g. bf16=true.")
    ] = None
    processes: Annotated[
        int, typer.Option(metavar="N", help="Processes that must take part; otherwise it stops.", min=1)
    ] = 1
    probe: Annotated[
        int, typer.Option(metavar="N", help="Problems measured every measure.every steps; 0: none.", min=0)
    ] = 16


@dataclass(frozen=True)
class StageOptions(OptionGroup):
    """The model that a stage or a recipe starts from, its folder, and its task if it is not the lab's."""

    title = "Options"

    model: Model
    out: Out
    task: Task = None

    def start(self) -> Path:
        """Return the folder of the model to start from; `smollm2` is fetched."""
        from goldpanner.cli.display import show_message

        return model_folder(self.model, show_message)

    def load(self, judging: TaskOptions, config: "RunConfig", examples: Path | None = None) -> "LoadedTask | None":
        """Return the task that takes the place of the lab's, None where none was named."""
        if self.task is None:
            if options := judging.given() + ["--examples"] * (examples is not None):
                raise InputError(f"{', '.join(options)} needs a task; name it with --task, e.g. --task gsm8k/train")
            return None
        facts = config.domain if self.task.partition("/")[0] == config.domain.kind else None
        task = judging.load(self.task, facts, examples)
        task.check()
        return task


@cli_command("pretrain", TRAIN, train)
def pretrain_command(out: Out, *, settings: SettingsOptions) -> None:
    """Pretrain a new model of the lab.

    It is trained on documents of the lab's domain.

    Example: goldpanner train pretrain --out runs/base
    """
    config = settings.load()
    from goldpanner.runs.lab_run import train_by_settings
    from goldpanner.store import Store

    def work(notify: "Notify") -> Path:
        train_by_settings("pretrain", config, out, None, Store(out / "store"), notify)
        return out / "model"

    _with_bars(out, work)


@cli_command("sft", TRAIN, train)
def sft_command(
    stage: StageOptions, examples: Examples = None, *, judging: TaskOptions, settings: SettingsOptions
) -> None:
    """Fine-tune a model on worked examples.

    Example: goldpanner train sft --model runs/base/model --out runs/sft --set demonstrations=24
    """
    _train("sft", stage, judging, settings, examples=examples)


@cli_command("grpo", TRAIN, train)
def grpo_command(
    stage: StageOptions, judging: TaskOptions, rehearsal: RehearsalOptions, settings: SettingsOptions, trl: TrlOptions
) -> None:
    """Train a model with GRPO or a variant.

    The rewards are a verifier's. The setting grpo.variant names the variant.

    Example: goldpanner train grpo --model runs/base/model --out runs/rl --set grpo.variant=dr-grpo
    """
    if trl.engine is TrainingEngine.TRL:
        _train_by_trl(stage, judging, settings, trl, rehearsal.skip)
        return
    if trl.trl or trl.processes != 1:
        raise InputError("--trl and --processes belong to TRL's trainer; give --engine trl with them")
    _train("grpo", stage, judging, settings, skip_rehearsal=rehearsal.skip)


@cli_command("ppo", TRAIN, train)
def ppo_command(
    stage: StageOptions, judging: TaskOptions, rehearsal: RehearsalOptions, settings: SettingsOptions
) -> None:
    """Train a model with PPO.

    The rewards are a verifier's; the critic is a value head of the model.

    Example: goldpanner train ppo --model runs/base/model --out runs/ppo --set ppo.gae_lambda=1
    """
    _train("ppo", stage, judging, settings, skip_rehearsal=rehearsal.skip)


@cli_command("rft", TRAIN, train)
def rft_command(
    stage: StageOptions,
    rollouts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Store of the rollouts to use, instead of the model's own.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="NAME", help="Run in that store, e.g. base-grpo.")] = None,
    *,
    judging: TaskOptions,
    rehearsal: RehearsalOptions,
    settings: SettingsOptions,
) -> None:
    """Fine-tune a model on correct completions.

    Rejection fine-tuning (RFT): the completions are the model's own, or the stored rollouts of a run.

    Example: goldpanner train rft --model base/model --out rft --rollouts runs/r1 --run reasoning-rl
    """
    from goldpanner.runs.stages import StoredRollouts
    from goldpanner.store.find import open_store

    if (rollouts is None) != (run is None):
        raise InputError("--rollouts and --run belong together: the folder of a store, and the name of a run in it")
    stored = None if rollouts is None or run is None else StoredRollouts(open_store(rollouts), run)
    _train("rft", stage, judging, settings, rollouts=stored, skip_rehearsal=rehearsal.skip)


@cli_command("recipe", TRAIN, train)
def recipe_command(
    name: Annotated[str, typer.Argument(help="Recipe: r1-zero, r1, lima, or a YAML file of yours.")],
    stage: StageOptions,
    examples: Examples = None,
    *,
    judging: TaskOptions,
    rehearsal: RehearsalOptions,
    settings: SettingsOptions,
) -> None:
    """Train the stages of a recipe in turn.

    The folder of the recipe has the models in stages/NAME/model and the rollouts in store/.

    Example: goldpanner train recipe r1 --model runs/world-seed0/stages/base/model --out runs/r1
    """
    config = settings.load()
    from goldpanner.runs.recipe import run_recipe

    own, start = stage.load(judging, config, examples), stage.start()

    def work(notify: "Notify") -> Path:
        return run_recipe(
            name, start, stage.out, notify, file=settings.config, overrides=settings.overrides or (),
            seed=settings.seed, task=own, command=command_line(), skip_rehearsal=rehearsal.skip,
        )  # fmt: skip

    _with_bars(stage.out, work)


def _train(
    kind: str,
    stage: StageOptions,
    judging: TaskOptions,
    settings: SettingsOptions,
    *,
    examples: Path | None = None,
    rollouts: "StoredRollouts | None" = None,
    skip_rehearsal: str | None = None,
) -> None:
    """Train one stage by goldpanner itself."""
    config = settings.load()
    from goldpanner.runs.lab_run import train_by_settings
    from goldpanner.store import Store

    own = stage.load(judging, config, examples)
    chosen, start = config.for_task(own) if own else config, stage.start()

    def work(notify: "Notify") -> Path:
        train_by_settings(
            kind, chosen, stage.out, start, Store(stage.out / "store"), notify, task=own, rollouts=rollouts,
            skip_rehearsal=skip_rehearsal,
        )  # fmt: skip
        return stage.out / "model"

    _with_bars(stage.out, work)


def _train_by_trl(
    stage: StageOptions, judging: TaskOptions, settings: SettingsOptions, trl: TrlOptions, skip_rehearsal: str | None
) -> None:
    """Hand GRPO over to TRL; of several processes the first one speaks."""
    config = settings.load()
    from goldpanner.tasks.catalog import build_domain
    from goldpanner.train.trl.launch import hand_over

    own = stage.load(judging, config)
    chosen = config.for_task(own) if own else config
    tasks = {own.id: own} if own else build_domain(chosen.domain).tasks
    start = stage.start()

    def work(notify: "Notify") -> Path:
        return hand_over(
            start, tasks, chosen.grpo, stage.out, options=trl.trl or [], processes=trl.processes,
            device=chosen.device, probe=trl.probe, every=chosen.measure.every, notify=notify,
            skip_rehearsal=skip_rehearsal,
        )  # fmt: skip

    _with_bars(stage.out, work, quiet=os.environ.get("RANK", "0") != "0")


def _with_bars(out: Path, work: "Callable[[Notify], Path]", *, quiet: bool = False) -> None:
    """Train with progress bars on one thread, and print where the model is."""
    import torch

    from goldpanner.cli import display

    torch.set_num_threads(1)
    with display.Bars(quiet=quiet) as bars:
        try:
            folder = work(bars.update)
        except KeyboardInterrupt:
            raise Interrupted(f"the last checkpoint is kept in {out}; run the same command again to go on") from None
    if not quiet:
        typer.echo(f"{folder}")
