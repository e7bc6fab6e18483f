"""`run`, `train` and `tasks`: the lab. Needs the `lab` extra (torch, transformers)."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli import app
from goldpanner.cli.options import Columns, Judge, Threshold
from goldpanner.errors import InputError, Interrupted, MissingExtraError
from goldpanner.policies import on_hub

if TYPE_CHECKING:
    from goldpanner.studies.config import RunConfig
    from goldpanner.studies.posed import Posed
    from goldpanner.studies.workers import Notify

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
        from goldpanner.cli.real import run_on_a_model

        record, folder = run_on_a_model(model, task, data, judged, config, out, seed, set_, command_line(), as_json)
    else:
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


train = typer.Typer(help="Train one stage by itself, or the stages of a recipe.", no_args_is_help=True)
app.add_typer(train, name="train")

Out = Annotated[Path, typer.Option(help="Folder of the stage: metrics.jsonl, checkpoint.pt and at the end model/.")]
From = Annotated[
    Path, typer.Option("--model", help="Model folder to start from, in the Hugging Face layout, or a name on the hub.")
]
Task = Annotated[
    str | None,
    typer.Option(help="Train on this task, e.g. arithmetic/add-2d2d or gsm8k/train, or on a data file, not the lab's."),
]
Data = Annotated[Path | None, typer.Option(help="File of the task's problems (.jsonl or .parquet), if it needs one.")]
Examples = Annotated[
    Path | None, typer.Option(help="File of worked examples for SFT, columns prompt and response (.jsonl or .parquet).")
]


class Engine(StrEnum):
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

    def posed(self) -> "Posed | None":
        """Return the task that takes the place of the lab's, None where none was named."""
        from goldpanner.studies.posed import Posed

        own = (self.columns, self.verifier, self.threshold)
        if self.task is None:
            if any(value is not None for value in (self.data, self.examples, *own)):
                raise InputError(
                    "--data, --examples, --columns, --verifier and --threshold belong to a task; name it with --task, "
                    "e.g. --task gsm8k/train"
                )
            return None
        from goldpanner.cli.verify import who_judges

        who_judges(self.task, self.verifier, self.columns)
        return Posed.of(self.task, self.data, self.examples, *own)

    def start(self) -> Path:
        """Return the model folder, which this stage needs."""
        if self.model is None:
            raise InputError("no model was given; name its folder with --model")
        return self.model


def _train(kind: str, given: Given, rollouts: Path | None = None, run: str | None = None) -> None:
    settings = load_config(given.config, given.seed, given.set_)
    from goldpanner.cli.sources import open_store
    from goldpanner.store import Store
    from goldpanner.studies import stages

    posed = given.posed()
    if (rollouts is None) != (run is None):
        raise InputError("--rollouts and --run belong together: the folder of a store, and the name of a run in it")
    stored = None if rollouts is None or run is None else stages.Stored(open_store(rollouts), run)

    def work(notify: "Notify") -> Path:
        config, store = posed.settings(settings) if posed else settings, Store(given.out / "store")
        stages.train(kind, config, given.out, given.model, store, notify, posed=posed, rollouts=stored)
        return given.out / "model"

    _with_bars(given, work)


def _train_by_trl(given: Given, options: list[str], processes: int, probe: int) -> None:
    """Hand GRPO over to TRL; of several processes the first one speaks."""
    settings = load_config(given.config, given.seed, given.set_)
    from goldpanner.studies.workers import Event
    from goldpanner.tasks import build as build_domain
    from goldpanner.train.trl import hand_over

    posed = given.posed()
    config = posed.settings(settings) if posed else settings
    rl = config.grpo

    def work(notify: "Notify") -> Path:
        def tell(record: Mapping[str, Any]) -> None:
            if "probe" not in record:
                note = f"reward {record['reward']:.2f}  live {record['live']:.0%}"
                total = rl.steps * rl.epochs * rl.minibatches
                notify(Event(given.out.name, "grpo", record["step"] + 1, total, note))

        return hand_over(
            given.start(), posed or build_domain(config.domain), rl, given.out, options=options, processes=processes,
            device=config.device, probe=probe, every=config.measure.every, notify=tell,
        )  # fmt: skip

    _with_bars(given, work, quiet=os.environ.get("RANK", "0") != "0")


def _with_bars(given: Given, work: "Callable[[Notify], Path]", *, quiet: bool = False) -> None:
    """Train with progress bars on one thread, and say where the model is."""
    import torch

    from goldpanner.cli import display
    from goldpanner.policies.load import ADAPTER

    marks = ("config.json", ADAPTER)
    if (
        given.model is not None
        and not any((given.model / mark).is_file() for mark in marks)
        and not on_hub(given.model)
    ):
        raise InputError(
            f"--model {str(given.model)!r} has no config.json; give a model folder such as runs/.../base/model"
        )
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


@train.command()
def pretrain(out: Out, config: ConfigFile = None, seed: Seed = None, set_: Set = None) -> None:
    """Train a fresh model on the domain's documents.

    Example: goldpanner train pretrain --out runs/base
    """
    _train("pretrain", Given(out, None, config, seed, set_))


@train.command()
def sft(
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


@train.command()
def grpo(
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
    engine: Annotated[Engine, typer.Option(help="goldpanner: our own loop; trl: TRL's GRPOTrainer.")] = Engine.OWN,
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
    if engine is Engine.TRL:
        _train_by_trl(given, trl or [], processes, probe)
        return
    if trl or processes != 1:
        raise InputError("--trl and --processes belong to TRL's trainer; give --engine trl with them")
    _train("grpo", given)


@train.command()
def ppo(
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


@train.command()
def rft(
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


@train.command()
def recipe(
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
    from goldpanner.studies import recipe as recipes

    posed = given.posed()

    def work(notify: "Notify") -> Path:
        return recipes.run(
            name, model, out, notify, file=config, overrides=set_ or (), seed=seed, posed=posed, command=command_line()
        )

    _with_bars(given, work)


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
