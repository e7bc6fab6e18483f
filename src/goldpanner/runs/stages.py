"""One stage of a study in one folder: `checkpoint.pt`, `metrics.jsonl`, and at the end `model/` (Hugging Face layout).

A stage whose `model/` is there is finished and is not run again.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError, StoreError
from goldpanner.policies.load import ADAPTER
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Event, Notify
from goldpanner.runs.config import RunConfig
from goldpanner.sampling.collect import stored_counts, top_up
from goldpanner.sampling.goal import Goal
from goldpanner.store import Store
from goldpanner.tasks.catalog import build_domain, load
from goldpanner.tasks.task import Document, Task
from goldpanner.train import lora
from goldpanner.train.config import RFTConfig, RLVRConfig
from goldpanner.train.metrics import Metrics
from goldpanner.train.model import build_model, build_tokenizer, load_model, save_model
from goldpanner.train.rejection import keep_correct, rft, to_rows
from goldpanner.train.rlvr import reward_verifiers, rlvr
from goldpanner.train.rows import TokenRow
from goldpanner.train.supervised import SupervisedConfig, epochs, fresh_text, in_template, supervised
from goldpanner.types import Problem
from goldpanner.verify import Verifier


@dataclass(frozen=True)
class Stored:
    """Rollouts that a run stored: what RFT is given instead of drawing its own."""

    store: Store
    run: str

    def rows(self, config: RFTConfig, verifier: Verifier | None, policy: LocalPolicy) -> list[TokenRow]:
        """Return the right ones as token rows. Raises InputError where there is none."""
        problems = self.store.problems()
        kept = keep_correct(
            self.store.samples(run=self.run),
            distinct=config.distinct,
            per_problem=config.per_problem,
            verifier=verifier,
            problems=problems,
            seed=config.seed,
        )
        if not kept:
            runs = ", ".join(self.store.records("runs")) or "none"
            raise InputError(f"run {self.run!r} of {self.store.root} has no right rollout; runs there: {runs}")
        return to_rows(kept, problems, policy, config.template)


def train(
    kind: str,
    config: RunConfig,
    folder: Path,
    parent: Path | None,
    store: Store,
    notify: Notify,
    *,
    task: Task | None = None,
    rollouts: Path | Stored | None = None,
) -> None:
    """Run a stage (`pretrain`, `sft`, `grpo`, `ppo`, `rft`) in `folder`, from the model in `parent`, unless its model
    is there.

    `task` takes the place of the domain's tasks. RFT draws its rollouts from the model it trains, or takes them from
    `rollouts`: those of another model (its folder), or stored ones.
    """
    started, name = time.perf_counter(), folder.name
    settings: SupervisedConfig | RLVRConfig | RFTConfig = getattr(config, kind)
    if (folder / "model").is_dir():
        earlier = (store.get("runs", name) or {}).get("config")
        if earlier is not None and type(settings).model_validate(earlier) != settings:
            raise InputError(f"{folder} holds a finished stage with other settings; give another --out, or delete it")
        return
    domain = build_domain(config.domain)
    if parent is None:
        tokenizer = build_tokenizer(domain.vocabulary())
        model = build_model(config.model, len(tokenizer), config.seed)
    else:
        model, tokenizer = load_model(parent, dtype="float32")  # in half precision, small updates would be lost
    policy = LocalPolicy(model, tokenizer, device=config.device, name=name)
    before = policy.id
    heldout = {} if task else {t: held_out(config, t)[: config.measure.sampled] for t in config.tasks.measured}
    metrics = Metrics(folder / "metrics.jsonl")
    with store.writer() as sink:
        for step in _steps(kind, config, policy, task, folder, store, sink, rollouts):
            record = asdict(step)
            looks = heldout and kind in ("grpo", "ppo") and step.step not in metrics.steps
            if looks and (step.step + 1) % config.measure.every == 0:
                record["heldout"] = {task: exact_pass_at_1(policy, problems) for task, problems in heldout.items()}
            metrics.add(record)
            notify(Event(name, kind, step.step + 1, _total(settings, rollouts), progress_note(record)))
    if getattr(settings, "lora", 0) and parent is not None:
        if not (parent / ADAPTER).is_file():  # peft adapters name one whole model as their base
            lora.save_adapter(model, tokenizer, folder / "adapter", parent)
        lora.merge(model)
    record = {
        "stage": kind,
        "parent": parent.parent.name if parent else None,
        "policy": policy.id,
        "parent_policy": before if parent else None,
        "label": name,
        "seed": settings.seed,
        "seconds": round(time.perf_counter() - started, 2),
        "config": settings.model_dump(mode="json"),
    }
    store.put("policies", policy.id, {**policy.describe(), "run": name})
    store.put("runs", name, record)
    save_model(model.cpu(), tokenizer, folder / "model")  # last: a stage with a model is finished


def _steps(
    kind: str,
    config: RunConfig,
    policy: LocalPolicy,
    task: Task | None,
    folder: Path,
    store: Store,
    sink: Any,
    rollouts: Path | Stored | None,
) -> Iterable[Any]:
    """Return the stage's generator of step records; it goes on from its checkpoint if there is one."""
    model, tokenizer, checkpoint = policy.model, policy.tokenizer, folder / "checkpoint.pt"
    domain = build_domain(config.domain)
    tasks = domain.tasks if task is None else {task.id: task}
    if kind == "pretrain":
        source = fresh_text(domain, config.pretrain)
        return supervised(model, tokenizer, source, config.pretrain, checkpoint=checkpoint, checkpoint_every=25)
    if kind == "sft":
        stream, n = rng.stream("sft/demonstrations", config.seed), config.demonstrations
        examples: Sequence[Document] | Sequence[TokenRow] = (
            domain.demonstrations(config.tasks.demonstrated, n, stream)
            if task is None
            else in_template(policy, task.demonstrations(n, stream), config.grpo.template)
        )
        return supervised(model, tokenizer, epochs(examples, config.sft), config.sft, checkpoint=checkpoint)
    if isinstance(rollouts, Stored):
        verifier = None
        if config.rft.reward is not None:
            verifier = reward_verifiers(tasks, config.rft)[0]
        rows, training = rollouts.rows(config.rft, verifier, policy), config.rft.training
        return supervised(model, tokenizer, epochs(rows, training), training, checkpoint=checkpoint)
    keep: dict[str, Any] = {"sink": sink, "run": folder.name, "checkpoint": checkpoint}
    keep["on_problems"] = store.put_problems  # the store knows every question that was asked
    if kind == "rft":
        sampler = None if rollouts is None else LocalPolicy.from_pretrained(rollouts, device=config.device)
        return rft(model, tokenizer, tasks, config.rft, sampler=sampler, **keep)
    return rlvr(model, tokenizer, tasks, config.grpo if kind == "grpo" else config.ppo, **keep)


def _total(settings: SupervisedConfig | RLVRConfig | RFTConfig, rollouts: Path | Stored | None) -> int:
    if isinstance(settings, RFTConfig):
        return settings.training.steps if isinstance(rollouts, Stored) else settings.rounds
    return settings.steps


def held_out(config: RunConfig, task: str) -> list[Problem]:
    """Return the held-out problems of a task, the same ones for every stage."""
    return load(task, config.measure.problems, config.measure.seed, config=config.domain)


def exact_pass_at_1(policy: LocalPolicy, problems: list[Problem]) -> float:
    """Return the mean exact probability of the worked answer."""
    logp = policy.logprobs(problems, [problem.meta["chain"] for problem in problems])
    return float(np.exp(logp).mean())


def progress_note(record: Mapping[str, Any]) -> str:
    """Return what to watch in a step: the loss, or the reward and the groups."""
    if "reward" in record:
        return f"reward {record['reward']:.2f}  mixed {record['mixed']:.0%}"
    return f"loss {record['loss']:.3f}"


def measure(config: RunConfig, folder: Path, store: Store, notify: Notify) -> None:
    """Measure the boundary of a finished stage: exact P of every problem, and samples of the first of each task.

    What the store already holds is not drawn again.
    """
    policy = LocalPolicy.from_pretrained(folder / "model", device=config.device, name=folder.name)
    problems, sampled = problems_to_measure(config)
    unknown = without_truth(problems, policy.id, store)
    store.put_problems(unknown)
    if unknown:
        logp = policy.logprobs(unknown, [problem.meta["chain"] for problem in unknown])
        store.append_truth(policy.id, {p.id: float(x) for p, x in zip(unknown, logp)})
    top_up(
        policy, sampled, build_domain(config.domain).verifiers, config.measure.params(), store,
        Goal(most=config.measure.samples), seed=config.measure.seed, doing="measure", notify=notify,
    )  # fmt: skip


def problems_to_measure(config: RunConfig) -> tuple[list[Problem], list[Problem]]:
    """Return the held-out problems, of which exact P is computed, and those of them that are sampled."""
    problems: list[Problem] = []
    sampled: list[Problem] = []
    for task in (*config.tasks.measured, *config.probes()):
        of_task = held_out(config, task)
        problems += of_task
        sampled += of_task[: config.measure.sampled] if task in config.tasks.measured else []
    return problems, sampled


def without_truth(problems: Sequence[Problem], policy: str, store: Store) -> list[Problem]:
    """Return the problems whose exact P under a policy is not stored."""
    try:
        known = store.truth(policy)
    except (InputError, StoreError):  # none yet
        known = {}
    return [problem for problem in problems if problem.id not in known]


def finished(config: RunConfig, folder: Path, store: Store) -> bool:
    """Whether a stage has its model and the store holds everything that measuring it takes."""
    record = store.get("runs", folder.name)
    if record is None or not (folder / "model").is_dir():
        return False
    problems, sampled = problems_to_measure(config)
    if without_truth(problems, record["policy"], store):
        return False
    params, verifier = config.measure.params(), build_domain(config.domain).verifiers()[0].id
    counts = stored_counts(record["policy"], sampled, params, config.measure.seed, store, verifier)
    return not Goal(most=config.measure.samples).next(counts).any()
