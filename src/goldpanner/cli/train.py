"""`train`: one stage by itself, or the stages of a recipe. Needs the `lab` extra (torch, transformers)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from goldpanner.cli.app import TRAIN, OptionGroup, cli_command, command_line, option, subcommands
from goldpanner.cli.options import ENGINE, Examples, Model, Out, RehearsalOptions, SettingsOptions, Task, TaskOptions
from goldpanner.errors import InputError, Interrupted
from goldpanner.policies.resolve import model_folder

if TYPE_CHECKING:
    from goldpanner.progress import Notify
    from goldpanner.runs.config import RunConfig
    from goldpanner.runs.stages import StoredRollouts
    from goldpanner.tasks.task import Task as LoadedTask


train = subcommands(
    "train",
    TRAIN,
    "Train one stage, or a recipe.\n\nThe folder of a stage has its model in model/ and its progress in "
    "metrics.jsonl.\n\nExample: goldpanner train pretrain --out runs/base",
)


@dataclass(frozen=True)
class TrlOptions(OptionGroup):
    """Whether TRL trains, and how."""

    title = "TRL (--engine trl)"

    engine: Annotated[Literal["goldpanner", "trl"], ENGINE] = "goldpanner"
    trl: list[str] | None = option("Setting of TRL's GRPOConfig, e.g. bf16=true.", "KEY=VALUE")
    processes: int = option("Processes that must take part; otherwise it stops.", "N", default=1, low=1)
    probe: int = option("Problems measured every measure.every steps; 0: none.", "N", default=16, low=0)


@dataclass(frozen=True, kw_only=True)
class StageOptions(OptionGroup):
    """The model that a stage or a recipe starts from, its folder, its settings, and its task if it is not the lab's."""

    title = "Options"

    model: Model
    out: Out
    task: Task = None
    judging: TaskOptions
    settings: SettingsOptions

    def start(self) -> Path:
        """Return the folder of the model to start from; `smollm2` is fetched."""
        from goldpanner.cli.display import show_message

        return model_folder(self.model, show_message)

    def load(self, config: "RunConfig", examples: Path | None = None) -> "LoadedTask | None":
        """Return the task that takes the place of the lab's, None where none was named."""
        if self.task is None:
            if options := self.judging.given() + ["--examples"] * (examples is not None):
                raise InputError(f"{', '.join(options)} needs a task; name it with --task, e.g. --task gsm8k/train")
            return None
        facts = config.domain if self.task.partition("/")[0] == config.domain.kind else None
        task = self.judging.load(self.task, facts, examples)
        task.check()
        return task

    def train(
        self,
        kind: str,
        examples: Path | None = None,
        rollouts: "StoredRollouts | None" = None,
        skip_rehearsal: str | None = None,
    ) -> None:
        """Train one stage by goldpanner itself."""
        config = self.settings.load()
        own = self.load(config, examples)
        chosen = config.for_task(own) if own else config
        _train(kind, chosen, self.out, self.start(), own, rollouts, skip_rehearsal)


@dataclass(frozen=True, kw_only=True)
class RewardedOptions(StageOptions):
    """A stage whose rewards are a verifier's."""

    rehearsal: RehearsalOptions


@cli_command("pretrain", TRAIN, train)
def pretrain_command(out: Out, *, settings: SettingsOptions) -> None:
    """Pretrain a new model of the lab.

    It is trained on documents of the lab's domain.

    Example: goldpanner train pretrain --out runs/base
    """
    _train("pretrain", settings.load(), out)


@cli_command("sft", TRAIN, train)
def sft_command(stage: StageOptions, examples: Examples = None) -> None:
    """Fine-tune a model on worked examples.

    Example: goldpanner train sft --model runs/base/model --out runs/sft --set demonstrations=24
    """
    stage.train("sft", examples)


@cli_command("grpo", TRAIN, train)
def grpo_command(stage: RewardedOptions, trl: TrlOptions) -> None:
    """Train a model with GRPO or a variant.

    The rewards are a verifier's. The setting grpo.variant names the variant.

    Example: goldpanner train grpo --model runs/base/model --out runs/rl --set grpo.variant=dr-grpo
    """
    if trl.engine == "trl":
        _train_by_trl(stage, trl)
        return
    if trl.trl or trl.processes != 1:
        raise InputError("--trl and --processes belong to TRL's trainer; give --engine trl with them")
    stage.train("grpo", skip_rehearsal=stage.rehearsal.skip)


@cli_command("ppo", TRAIN, train)
def ppo_command(stage: RewardedOptions) -> None:
    """Train a model with PPO.

    The rewards are a verifier's; the critic is a value head of the model.

    Example: goldpanner train ppo --model runs/base/model --out runs/ppo --set ppo.gae_lambda=1
    """
    stage.train("ppo", skip_rehearsal=stage.rehearsal.skip)


@cli_command("rft", TRAIN, train)
def rft_command(
    stage: RewardedOptions,
    rollouts: Path | None = option("Store of the rollouts to use, instead of the model's own.", "DIR"),
    run: str | None = option("Run in that store, e.g. base-grpo.", "NAME"),
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
    stage.train("rft", rollouts=stored, skip_rehearsal=stage.rehearsal.skip)


@cli_command("recipe", TRAIN, train)
def recipe_command(
    name: Annotated[str, typer.Argument(help="Recipe: r1-zero, r1, lima, or a YAML file of yours.")],
    stage: RewardedOptions,
    examples: Examples = None,
) -> None:
    """Train the stages of a recipe in turn.

    The folder of the recipe has the models in stages/NAME/model and the rollouts in store/.

    Example: goldpanner train recipe r1 --model runs/world-seed0/stages/base/model --out runs/r1
    """
    settings = stage.settings
    config = settings.load()
    from goldpanner.runs.recipe import run_recipe

    own, start = stage.load(config, examples), stage.start()

    work = partial(
        run_recipe, name, start, stage.out, file=settings.config, overrides=settings.overrides or (),
        seed=settings.seed, task=own, command=command_line(), skip_rehearsal=stage.rehearsal.skip,
    )  # fmt: skip
    _with_bars(stage.out, lambda notify: work(notify=notify))


def _train(
    kind: str,
    config: "RunConfig",
    out: Path,
    start: Path | None = None,
    own: "LoadedTask | None" = None,
    rollouts: "StoredRollouts | None" = None,
    skip: str | None = None,
) -> None:
    from goldpanner.runs.lab_run import train_by_settings
    from goldpanner.store import Store

    store = Store(out / "store")
    _with_bars(
        out,
        lambda notify: train_by_settings(
            kind, config, out, start, store, notify, task=own, rollouts=rollouts, skip_rehearsal=skip
        ),
    )


def _train_by_trl(stage: RewardedOptions, trl: TrlOptions) -> None:
    """Hand GRPO over to TRL; of several processes the first one speaks."""
    config = stage.settings.load()
    from goldpanner.tasks.catalog import build_domain
    from goldpanner.train.trl.launch import hand_over

    own = stage.load(config)
    chosen = config.for_task(own) if own else config
    tasks = {own.id: own} if own else build_domain(chosen.domain).tasks
    start = stage.start()

    work = partial(
        hand_over, start, tasks, chosen.grpo, stage.out, options=trl.trl or [], processes=trl.processes,
        device=chosen.device, probe=trl.probe, every=chosen.measure.every, skip_rehearsal=stage.rehearsal.skip,
    )  # fmt: skip
    _with_bars(stage.out, lambda notify: work(notify=notify), quiet=os.environ.get("RANK", "0") != "0")


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
