"""One stage of training in one folder: `config.yaml`, `metrics.jsonl`, `checkpoint.pt`, and at the end `model/`.

A stage whose `model/` is there is finished and is not trained again. The lab's run, a model's run, recipes, studies and
`goldpanner train` all call `train_stage`; what differs between kinds of stages stands in a `Stage`.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from goldpanner.errors import InputError
from goldpanner.policies.load import ADAPTER
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Event, Notify
from goldpanner.runs.folder import claim_folder, lock_folder
from goldpanner.store import Store
from goldpanner.store.schema import PolicyRecord, RunRecord
from goldpanner.tasks.domain import Domain
from goldpanner.tasks.task import Document, Task
from goldpanner.train import lora
from goldpanner.train.config import RFTConfig, RLVRConfig
from goldpanner.train.finite import check_finite
from goldpanner.train.metrics import Metrics
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, load_model, save_model
from goldpanner.train.rejection import keep_correct, rft, to_rows
from goldpanner.train.reward import OneSidedWatch, reward_note, reward_verifiers
from goldpanner.train.rlvr import RolloutSink, rlvr
from goldpanner.train.supervised import SupervisedConfig, epochs, fresh_text, in_template, supervised
from goldpanner.types import Problem

StageSettings = SupervisedConfig | RLVRConfig | RFTConfig


class Keeping(TypedDict):
    """Keywords of a trainer: the file of its checkpoint, the metrics kept in it, and who is told of damage."""

    checkpoint: Path | None
    metrics: Metrics
    notify: Notify


@dataclass(frozen=True)
class Workplace:
    """Where a stage keeps what it makes while it is trained."""

    run: str
    """Name under which its rollouts are stored."""
    sink: RolloutSink
    """Takes the rollouts."""
    on_problems: Callable[[Sequence[Problem]], object]
    """Takes the problems that are sampled."""
    checkpoint: Path | None
    """File from which it goes on after a kill; None: it begins again."""
    metrics: Metrics
    """What a checkpoint keeps beside the weights."""
    notify: Notify
    """Told of a damaged checkpoint."""

    def keeping(self) -> Keeping:
        """Return the keywords of a trainer that say what is kept, and where."""
        return {"checkpoint": self.checkpoint, "metrics": self.metrics, "notify": self.notify}


@dataclass(frozen=True)
class Stage:
    """What a stage does to a model. The functions below make one of each kind; studies make their own."""

    kind: str
    """`pretrain`, `sft`, `grpo`, `ppo`, `rft`, or a study's own word."""
    settings: StageSettings
    """What determines it, its examples and tasks aside."""
    steps: Callable[[LocalPolicy, Workplace], Iterable[Any]]
    """Trains the policy in place; gives the record of each step, a dataclass with a field `step`."""
    total: int
    """Steps, or rounds, at most."""
    fresh: Callable[[], tuple[Any, Any]] | None = None
    """Makes the model and the tokenizer of a stage without a parent."""


@dataclass(frozen=True)
class StageLook:
    """What is measured of a policy while it is trained."""

    name: str
    """Field of the step's record in `metrics.jsonl`."""
    measure: Callable[[LocalPolicy], Mapping[str, object]]
    every: int
    """Steps between two looks."""
    ends: bool = False
    """Whether to look before the first step (then the record's step is -1) and after the last one, too."""
    stop: Callable[[LocalPolicy], bool] | None = None
    """Asked after each look: whether the training ends here."""

    def due(self, done: int, total: int) -> bool:
        """Whether to look after `done` of `total` steps."""
        return done % self.every == 0 or (self.ends and done == total)


@dataclass(frozen=True)
class StoredRollouts:
    """Rollouts that a run stored, for rejection fine-tuning."""

    store: Store
    run: str


def pretrain_stage(domain: Domain, config: SupervisedConfig, shape: ModelConfig, seed: int) -> Stage:
    """Return the training of a fresh model on the documents of a domain; `seed` is that of its first weights."""

    def fresh() -> tuple[Any, Any]:
        tokenizer = build_tokenizer(domain.vocabulary())
        return build_model(shape, len(tokenizer), seed), tokenizer

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[Any]:
        text = fresh_text(domain, config)
        return supervised(policy.model, policy.tokenizer, text, config, **place.keeping())

    return Stage("pretrain", config, steps, config.steps, fresh)


def sft_stage(examples: Sequence[Document], config: SupervisedConfig, template: str | None = None) -> Stage:
    """Return fine-tuning on worked examples; with a template their prompts are put in it."""

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[Any]:
        rows = examples if template is None else in_template(policy, examples, template)
        return supervised(policy.model, policy.tokenizer, epochs(rows, config), config, **place.keeping())

    return Stage("sft", config, steps, config.steps)


def rl_stage(kind: str, tasks: Mapping[str, Task], config: RLVRConfig) -> Stage:
    """Return training with verifiable rewards (`grpo`, `ppo`) on the tasks that the settings name."""

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[Any]:
        return rlvr(
            policy.model, policy.tokenizer, tasks, config, sink=place.sink, run=place.run,
            on_problems=place.on_problems, **place.keeping(),
        )  # fmt: skip

    return Stage(kind, config, steps, config.steps)


def rft_stage(
    tasks: Mapping[str, Task], config: RFTConfig, rollouts: Path | StoredRollouts | None = None, device: str = "auto"
) -> Stage:
    """Return rejection fine-tuning: training on correct completions.

    Args:
        tasks: what the settings name.
        config: its settings.
        rollouts: None: the model that is trained draws them; a model's folder: that one does; or those of a run.
        device: of the model in that folder.
    """
    if isinstance(rollouts, StoredRollouts):
        return Stage("rft", config, _on_stored(tasks, config, rollouts), config.training.steps)

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[Any]:
        sampler = None if rollouts is None else LocalPolicy.from_pretrained(rollouts, device=device)
        return rft(
            policy.model, policy.tokenizer, tasks, config, sink=place.sink, run=place.run,
            on_problems=place.on_problems, sampler=sampler, **place.keeping(),
        )  # fmt: skip

    return Stage("rft", config, steps, config.rounds)


def _on_stored(
    tasks: Mapping[str, Task], config: RFTConfig, rollouts: StoredRollouts
) -> Callable[[LocalPolicy, Workplace], Iterable[Any]]:
    """Return the steps of fine-tuning on the correct completions that a run stored."""

    def steps(policy: LocalPolicy, place: Workplace) -> Iterable[Any]:
        store, training = rollouts.store, config.training
        verifier = None if config.reward is None else reward_verifiers(tasks, config)[0]
        problems = store.problems()
        samples = keep_correct(
            store.samples(run=rollouts.run),
            distinct=config.distinct,
            per_problem=config.per_problem,
            verifier=verifier,
            problems=problems,
            seed=config.seed,
        )
        if not samples:
            runs = ", ".join(store.records(RunRecord)) or "none"
            raise InputError(f"run {rollouts.run!r} of {store.root} has no correct rollout; runs there: {runs}")
        rows = to_rows(samples, problems, policy, config.template)
        return supervised(policy.model, policy.tokenizer, epochs(rows, training), training, **place.keeping())

    return steps


def train_stage(
    stage: Stage,
    folder: Path,
    store: Store,
    notify: Notify,
    *,
    parent: Path | None = None,
    device: str = "auto",
    look: StageLook | None = None,
    resume: bool = True,
) -> None:
    """Train a stage in a folder unless its model is there; keep the model, the metrics and the record of the run.

    Args:
        stage: what is done.
        folder: the stage's own; its name is the run's.
        store: where its rollouts and records are kept.
        notify: told of every step.
        parent: folder of the model that it starts from; None: a fresh one.
        device: where it is trained; `auto`: CUDA or MPS where present, else the CPU.
        look: what is measured meanwhile.
        resume: go on from a checkpoint after a kill; False: write none and begin again.

    Raises:
        InputError: the folder holds a stage with other settings, or there is neither a parent nor a fresh model.
    """
    claim_folder(folder, stage.settings)
    with lock_folder(folder, wait=True):
        if (folder / "model").is_dir():
            return
        if parent is None and stage.fresh is None:
            raise InputError(f"stage {stage.kind} has neither a parent nor a fresh model; give one")
        start = time.perf_counter()
        if parent is None:
            assert stage.fresh is not None
            model, tokenizer = stage.fresh()
        else:
            model, tokenizer = load_model(parent, dtype="float32")  # in half precision, small updates would be lost
        policy = LocalPolicy(model, tokenizer, device=device, name=folder.name)
        parent_policy = None if parent is None else policy.id
        _train(stage, policy, folder, store, notify, look, resume)
        check_finite(model)
        if getattr(stage.settings, "lora", 0) and parent is not None:
            if not (parent / ADAPTER).is_file():  # peft adapters name one whole model as their base
                lora.save_adapter(model, tokenizer, folder / "adapter", parent)
            lora.merge_adapters(model)
        store.put(PolicyRecord.of(policy.describe(), run=folder.name))
        record = RunRecord(
            id=folder.name,
            stage=stage.kind,
            parent=parent.parent.name if parent else None,
            policy=policy.id,
            parent_policy=parent_policy,
            label=folder.name,
            seed=stage.settings.seed,
            seconds=round(time.perf_counter() - start, 2),
            config=stage.settings.model_dump(mode="json"),
        )
        store.put(record)
        save_model(model.cpu(), tokenizer, folder / "model")  # last: a stage with a model is finished
        for checkpoint in folder.glob("checkpoint*.pt"):
            checkpoint.unlink()  # three times the model's size, and no longer needed


def _train(
    stage: Stage,
    policy: LocalPolicy,
    folder: Path,
    store: Store,
    notify: Notify,
    look: StageLook | None,
    resume: bool,
) -> None:
    """Go through the steps: records into the metrics, rollouts and problems into the store."""
    checkpoint, problems = folder / "checkpoint.pt", list[Problem]()
    if not resume:
        (folder / "metrics.jsonl").unlink(missing_ok=True)
    metrics = Metrics(folder / "metrics.jsonl")
    if look is not None and look.ends and -1 not in metrics.steps:
        metrics.add({"step": -1, look.name: look.measure(policy)})
    skipped, one_sided = 0, OneSidedWatch()
    notify(Event(folder.name, stage.kind, len(metrics.steps - {-1}), stage.total))
    try:
        with store.writer() as sink:
            # one batch of problems where nothing is resumed: a batch a step would be thousands of files in a study
            keep = store.put_problems if resume else problems.extend
            place = Workplace(folder.name, sink, keep, checkpoint if resume else None, metrics, notify)
            for step in stage.steps(policy, place):
                record, done = asdict(step), step.step + 1
                skipped += record.get("skipped", 0)
                if record.get("skipped") and step.step not in metrics.steps:
                    notify(Event(folder.name, stage.kind, message=_skip_message(folder.name, record)))
                # a step that a checkpoint brought back has its row; the weights are no longer those after it
                due = look is not None and look.due(done, stage.total) and step.step not in metrics.steps
                if look is not None and due:
                    record[look.name] = look.measure(policy)
                metrics.add(_metrics_row(record))
                if text := one_sided.message(folder.name, record):
                    notify(Event(folder.name, stage.kind, message=text))
                notify(Event(folder.name, stage.kind, done, stage.total, progress_note(record, skipped)))
                if look is not None and due and look.stop is not None and look.stop(policy):
                    break
    finally:  # whoever stops early has asked, too
        store.put_problems(problems)


def progress_note(record: Mapping[str, object], skipped: int = 0) -> str:
    """Return what to watch in a step: the loss, or the reward and the groups; and the updates skipped until now."""
    note = reward_note(record) if "reward" in record else f"loss {record['loss']:.3f}"
    return f"{note}, {skipped} updates skipped" if skipped else note


def _skip_message(run: str, record: Mapping[str, object]) -> str:
    return (
        f"{run}, step {record['step']}: updates skipped: {record['skipped']}, because a loss or gradient was not "
        f"finite (loss {record['loss']:g}, gradient norm {record['grad_norm']:g}); they left the weights as they were"
    )


def _metrics_row(record: Mapping[str, object]) -> dict[str, object]:
    """Return the line of a step; what a skipped update left without a finite value is null in it."""
    unknown = [name for name in ("loss", "grad_norm", "kl", "value_loss") if _is_infinite(record.get(name))]
    return {**record, **dict.fromkeys(unknown)}


def _is_infinite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
