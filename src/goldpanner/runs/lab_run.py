"""The lab's run: pretrain -> (GRPO | SFT -> GRPO), the boundary measured after every stage, and a verdict.

The settings of a run are taken apart here (`train_by_settings`): a stage is given its own settings and its tasks.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError, Interrupted, StoreError
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Notify
from goldpanner.runs.conclude import conclude_run
from goldpanner.runs.config import RunConfig
from goldpanner.runs.folder import claim_folder, lock_folder, versions
from goldpanner.runs.stages import (
    Stage,
    StageLook,
    StoredRollouts,
    pretrain_stage,
    rft_stage,
    rl_stage,
    sft_stage,
    train_stage,
)
from goldpanner.runs.workers import side_by_side
from goldpanner.sampling.collect import stored_counts, top_up
from goldpanner.sampling.goal import Goal
from goldpanner.store import Store
from goldpanner.store.schema import RunRecord
from goldpanner.store.studies import STUDY, StudyRecord
from goldpanner.tasks.catalog import build_domain, load
from goldpanner.tasks.task import Task
from goldpanner.train.config import RFTConfig, RLVRConfig
from goldpanner.train.rlvr import rehearse_reward
from goldpanner.types import Problem


class LabStage(NamedTuple):
    """A stage of the lab's run, and the stage whose model it starts from."""

    name: str
    kind: str
    parent: str | None


STAGES = (
    LabStage("base", "pretrain", None),
    LabStage("base-grpo", "grpo", "base"),
    LabStage("sft", "sft", "base"),
    LabStage("sft-grpo", "grpo", "sft"),
)
ARMS = (("base", "base-grpo"), ("sft", "sft-grpo"))
"""(before RL, after RL): from the base as DeepSeek-R1-Zero, after a cold start as DeepSeek-R1 (arXiv 2501.12948)."""

WAVES = ((("base",),), (("base", "base-grpo"), ("sft", "sft-grpo")))
"""What runs one after the other, and within it side by side: the base is trained, then both arms, each in a worker."""


def run_lab(
    config: RunConfig, out: Path, progress: Notify, command: str = "", skip_rehearsal: str | None = None
) -> StudyRecord:
    """Run the lab's stages in a folder, or go on with them.

    Args:
        config: settings of the run.
        out: its folder.
        progress: told of every step.
        command: command line that made it, for the record.
        skip_rehearsal: why the verifier is not rehearsed; None: it is.

    Returns:
        The run's record with its verdict.

    Raises:
        InputError: `out` holds a run with other settings.
        Interrupted: on Ctrl-C. What was done is kept, and the same call goes on from there to the same result.
    """
    for task in (*config.tasks.measured, *config.probes()):
        check_held_out(config, task)  # what cannot work is refused now, not after the pretraining
    store, tasks = Store(out / "store"), build_domain(config.domain).tasks
    checks = rehearse_reward(tasks, config.grpo, store, skip=skip_rehearsal, notify=progress)
    claim_folder(out, config)
    started = time.time()
    with lock_folder(out):
        for check in checks:
            store.put(check)
        try:
            if not all(is_measured(config, out / "stages" / stage.name, store) for stage in STAGES):
                for wave in WAVES:
                    side_by_side([(work_on, (config, out, names)) for names in wave], progress)
        except KeyboardInterrupt:
            raise Interrupted(f"everything done so far is kept in {out}; run the same command again to go on") from None
    study = StudyRecord(
        id=STUDY,
        title=f"What RL did to a small model of the {config.domain.kind}",
        stages=tuple(stage.name for stage in STAGES),
        arms=ARMS,
        tasks_measured=tuple(config.tasks.measured),
        tasks_trained=tuple(config.grpo.tasks),
        tasks_probed=tuple(config.probes()),
        params=config.measure.params().hash,
        verifiers={v.id.split("@")[0].rsplit("-", 1)[-1]: v.id for v in build_domain(config.domain).verifiers()},
        group_size=config.grpo.group_size,
        seed=config.seed,
        command=command,
        seconds=round(time.time() - started, 1),
        versions=versions(),
        config=config.model_dump(mode="json"),
    )
    return conclude_run(store, study)


def work_on(notify: Notify, config: RunConfig, out: Path, names: tuple[str, ...]) -> None:
    """Train and measure some stages in their order, in one process; what is done already is not done again.

    The base is measured by the second wave's first worker, while the other trains.
    """
    store = Store(out / "store")
    for name, kind, parent in STAGES:
        if name in names:
            folder, start = out / "stages" / name, out / "stages" / parent / "model" if parent else None
            train_by_settings(kind, config, folder, start, store, notify, skip_rehearsal="rehearsed before the stages")
            if len(names) > 1:
                measure_stage(config, folder, store, notify)


def train_by_settings(
    kind: str,
    config: RunConfig,
    folder: Path,
    parent: Path | None,
    store: Store,
    notify: Notify,
    *,
    task: Task | None = None,
    rollouts: Path | StoredRollouts | None = None,
    skip_rehearsal: str | None = None,
) -> Path:
    """Train one stage as the settings of a run say, unless its model is there; return the model's folder.

    RL on the domain's tasks looks at the held-out ones every `measure.every` steps.

    Args:
        kind: `pretrain`, `sft`, `grpo`, `ppo` or `rft`.
        config: the settings.
        folder: the stage's own.
        parent: folder of the model that it starts from; None: a fresh one.
        store: where its rollouts and records are kept.
        notify: told of every step.
        task: takes the place of the domain's tasks.
        rollouts: for `rft`, as in `rft_stage`.
        skip_rehearsal: why the verifier that gives the reward is not rehearsed; None: it is.

    Raises:
        InputError: as `train_stage` does, and where `sft` is to be taught a task without worked examples.
    """
    look = None
    if task is None and kind in ("grpo", "ppo"):
        problems = {name: held_out(config, name)[: config.measure.sampled] for name in config.tasks.measured}

        def measure(policy: LocalPolicy) -> dict[str, float]:
            return {name: exact_pass_at_1(policy, of_task) for name, of_task in problems.items()}

        look = StageLook("heldout", measure, config.measure.every)
    stage = KINDS[kind](kind, config, task, rollouts)
    if isinstance(stage.settings, RLVRConfig | RFTConfig) and not (folder / "model").is_dir():
        tasks = trained_tasks(config, task)
        checks = rehearse_reward(tasks, stage.settings, store, skip=skip_rehearsal, notify=notify)
        claim_folder(folder, stage.settings)
        for check in checks:
            store.put(check)
    train_stage(stage, folder, store, notify, parent=parent, device=config.device, look=look)
    return folder / "model"


def _pretrain(kind: str, config: RunConfig, task: Task | None, rollouts: Path | StoredRollouts | None) -> Stage:
    return pretrain_stage(build_domain(config.domain), config.pretrain, config.model, config.seed)


def _sft(kind: str, config: RunConfig, task: Task | None, rollouts: Path | StoredRollouts | None) -> Stage:
    stream, n = rng.stream("sft/demonstrations", config.seed), config.demonstrations
    if task is not None:
        return sft_stage(task.demonstrations(n, stream), config.sft, config.grpo.template)
    return sft_stage(build_domain(config.domain).demonstrations(config.tasks.demonstrated, n, stream), config.sft)


def _rl(kind: str, config: RunConfig, task: Task | None, rollouts: Path | StoredRollouts | None) -> Stage:
    return rl_stage(kind, trained_tasks(config, task), config.grpo if kind == "grpo" else config.ppo)


def _rft(kind: str, config: RunConfig, task: Task | None, rollouts: Path | StoredRollouts | None) -> Stage:
    return rft_stage(trained_tasks(config, task), config.rft, rollouts, config.device)


KINDS: dict[str, Callable[[str, RunConfig, Task | None, Path | StoredRollouts | None], Stage]] = {
    "pretrain": _pretrain, "sft": _sft, "grpo": _rl, "ppo": _rl, "rft": _rft,
}  # fmt: skip
"""Kind of a stage -> what takes the settings of a run apart for it."""


def trained_tasks(config: RunConfig, task: Task | None = None) -> Mapping[str, Task]:
    """Return the tasks to train on by their ids: `task`, else the domain's."""
    return build_domain(config.domain).tasks if task is None else {task.id: task}


def held_out(config: RunConfig, task: str) -> list[Problem]:
    """Return the held-out problems of a task, the same ones for every stage."""
    return load(task, config.measure.problems, config.measure.seed, config=config.domain)


def check_held_out(config: RunConfig, task: str) -> None:
    """Raise InputError when a task has too few problems, or worked answers longer than the token limit."""
    longest = max(len(str(problem.meta["chain"]).split()) + 1 for problem in held_out(config, task))
    if longest > config.measure.max_tokens:
        raise InputError(
            f"a worked answer of {task} has {longest} tokens, and measure.max_tokens is {config.measure.max_tokens}; "
            "raise it, or measure shallower tasks"
        )


def exact_pass_at_1(policy: LocalPolicy, problems: list[Problem]) -> float:
    """Return the mean exact probability of the worked answer."""
    logp = policy.logprobs(problems, [problem.meta["chain"] for problem in problems])
    return float(np.exp(logp).mean())


def measure_stage(config: RunConfig, folder: Path, store: Store, notify: Notify) -> None:
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
        truth = store.truth(policy)
    except (InputError, StoreError):  # none yet
        truth = {}
    return [problem for problem in problems if problem.id not in truth]


def is_measured(config: RunConfig, folder: Path, store: Store) -> bool:
    """Whether a stage has its model and the store holds everything that measuring it takes."""
    record = store.get(RunRecord, folder.name)
    if record is None or record.policy is None or not (folder / "model").is_dir():
        return False
    problems, sampled = problems_to_measure(config)
    if without_truth(problems, record.policy, store):
        return False
    params, verifier = config.measure.params(), build_domain(config.domain).verifiers()[0].id
    counts = stored_counts(record.policy, sampled, params, config.measure.seed, store, verifier)
    return not Goal(most=config.measure.samples).next(counts).any()
