"""`goldpanner run --model --task`: pilot, plan, GRPO, and the boundary before and after, for any Hugging Face model.

What the lab's run does for a model of its own, with the same stages, store and report; P(correct) is sampled here,
since nobody knows it.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from goldpanner import rng
from goldpanner.errors import InputError, Interrupted
from goldpanner.measure.curves import align
from goldpanner.measure.plan import plan as make_plan
from goldpanner.measure.posterior import RateDistribution
from goldpanner.policies.local import LocalPolicy
from goldpanner.policies.resolve import check_model
from goldpanner.progress import Event, Notify
from goldpanner.runs.conclude import conclude_run
from goldpanner.runs.config import fit_to_task
from goldpanner.runs.folder import claim_folder, lock_folder, versions
from goldpanner.runs.stages import rl_stage, train_stage
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.score import score_samples
from goldpanner.store import Store
from goldpanner.store.find import policy_of_run
from goldpanner.store.schema import RunRecord
from goldpanner.store.studies import STUDY, PilotPlan, PlanRecord, StudyRecord
from goldpanner.tasks.catalog import task as load_task
from goldpanner.tasks.splits import TEST_SHARE, Split
from goldpanner.tasks.task import Task
from goldpanner.train.config import RLVRConfig
from goldpanner.train.rlvr import rehearse_reward, step_problems
from goldpanner.types import Counts, Problem, SamplingParams

BASE, RL = "base", "grpo"
"""The stages: the model as it is given, and what GRPO made of it."""

TUNING = RLVRConfig(
    tasks={"(the task)": 1.0}, steps=40, prompts_per_step=8, group_size=8, learning_rate=1e-5, autocast=True
)
"""Full fine-tuning of a model of 135M parameters: measured with SmolLM2 on sums of two-digit numbers."""

LORA_RATE = 2e-4
"""Learning rate of LoRA adapters unless said: they want a larger one than the weights themselves."""


class PilotConfig(BaseModel):
    """What is drawn of the model before training, on problems of the training split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: int = Field(default=48, ge=2, description="Problems of the pilot.")
    samples: int = Field(default=16, ge=2, description="Samples of each.")
    insist: bool = Field(default=False, description="Train although no sample of the pilot was right.")


class HeldOutConfig(BaseModel):
    """How the boundary is measured before and after, on problems never trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: int = Field(default=64, ge=2, description="Held-out problems.")
    samples: int = Field(default=32, ge=2, description="Samples of each, before and after.")


class ModelRunConfig(BaseModel):
    """A model, a task, and how it is trained and measured. One seed sets every seed not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path = Field(description="Model folder in the Hugging Face layout, or a name on the hub; `--model`.")
    task: str = Field(description="Any task, e.g. arithmetic/add-2d2d, or a data file; `--task`.")
    data: Path | None = Field(default=None, description="File of the task's problems, if it needs one; `--data`.")
    columns: str | None = Field(default=None, description="Columns of a data file; `--columns`.")
    verifier: str | None = Field(default=None, description="Who judges, in place of the task's own; `--verifier`.")
    threshold: float | None = Field(default=None, description="Reward from which an answer is right; `--threshold`.")
    set_aside: bool = Field(
        default=False, description="Leave out problems whose right answer the verifier cannot judge; `--set-aside`."
    )
    seed: int = Field(default=0, ge=0, description="Seed of problems, samples and training.")
    device: str = Field(default="auto", description="auto: CUDA or MPS where present, else cpu.")
    pilot: PilotConfig = Field(default_factory=PilotConfig)
    measure: HeldOutConfig = Field(default_factory=HeldOutConfig)
    grpo: RLVRConfig = TUNING

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Take GRPO's settings that are not given from `TUNING`, and hand the one seed down."""
        if not isinstance(given, dict) or not isinstance(given.get("grpo", {}), dict):
            return given
        preset = {name: getattr(TUNING, name) for name in TUNING.model_fields_set} | {"seed": given.get("seed", 0)}
        rl = given.get("grpo", {})
        preset |= {"learning_rate": LORA_RATE} if rl.get("lora") else {}
        return {**given, "grpo": {**preset, **rl}}

    @model_validator(mode="after")
    def _sensible(self) -> "ModelRunConfig":
        self.grpo.resolve_variant()  # refuses a group of one, say
        if self.grpo.variant == "ppo":
            raise ValueError("grpo.variant is 'ppo'; train it by itself, goldpanner train ppo")
        return self

    def check_model(self) -> None:
        """Raise InputError where the model is neither a folder of one, or of adapters, nor a name on the hub."""
        check_model(self.model)

    def load_task(self) -> Task:
        """Return the task, a file's problems split. Raises InputError for an unknown one, or unfitting data."""
        task = load_task(self.task, self.data, self.columns, self.verifier, self.threshold, set_aside=self.set_aside)
        task = replace(task, test_share=TEST_SHARE)
        task.check()
        return task


def run_model(
    config: ModelRunConfig, out: Path, progress: Notify, command: str = "", skip_rehearsal: str | None = None
) -> StudyRecord:
    """Pilot, plan, train and measure a Hugging Face model in a folder, or go on with it.

    Args:
        config: settings of the run.
        out: its folder.
        progress: told of every step.
        command: command line that made it, for the record.
        skip_rehearsal: why the verifier is not rehearsed; None: it is.

    Returns:
        The run's record with its verdict.

    Raises:
        InputError: a task without problems, a folder that holds another run, or a pilot without a right sample.
        Interrupted: on Ctrl-C. What was done is kept, and the same call goes on from there.
    """
    config.check_model()
    task = config.load_task()
    held_out = split_problems(task, config.measure.problems, "test", config.seed)
    rl = fit_to_task(config.grpo, task)
    step_problems({task.id: task}, rl, 0, rl.prompts_per_step)  # too few are refused now
    store = Store(out / "store")
    checks = rehearse_reward({task.id: task}, rl, store, skip=skip_rehearsal, notify=progress)
    claim_folder(out, config)
    with lock_folder(out):
        for check in checks:
            store.put(check)
        try:
            return _carry_out(config, task, rl, held_out, out, progress, command)
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(f"everything done so far is kept in {out}; run the same command again to go on") from None


def _carry_out(
    config: ModelRunConfig,
    task: Task,
    rl: RLVRConfig,
    held_out: Sequence[Problem],
    out: Path,
    progress: Notify,
    command: str,
) -> StudyRecord:
    store, started = Store(out / "store"), time.time()
    params = replace(rl.sampling(), temperature=1.0)
    base = _load(config.model, config, BASE)
    given = store.get(RunRecord, BASE)
    if given is not None and given.policy != base.id:
        raise InputError(f"the model in {config.model} is no longer the one that {out} began with; give another --out")
    store.put(_start(base, config))
    plan = pilot(config, base, task, params, out, progress)
    measure_held_out(base, held_out, config, task, params, store, progress)
    base_id = base.id
    del base  # the next one takes its memory
    folder, lessons = out / "stages" / RL, replace(task, left_out=frozenset(plan.left_out))
    stage = rl_stage(RL, {task.id: lessons}, rl)
    train_stage(stage, folder, store, progress, parent=config.model, device=config.device)
    trained = store.get(RunRecord, RL)
    assert trained is not None
    store.put(trained.model_copy(update={"parent": BASE, "parent_policy": base_id}))
    after = _load(folder / "model", config, RL)
    measure_held_out(after, held_out, config, task, params, store, progress)
    del after
    score_gained(config, params, store, progress)
    store.compact()
    study = StudyRecord(
        id=STUDY,
        title=f"What GRPO did to {config.model.name} on {task.id}",
        stages=(BASE, RL),
        arms=((BASE, RL),),
        tasks_measured=(task.id,),
        tasks_trained=(task.id,),
        tasks_probed=(),
        params=params.hash,
        verifiers={"answer": task.verifiers()[0].id},
        group_size=rl.group_size,
        seed=config.seed,
        plan=plan,
        command=command,
        seconds=round(time.time() - started, 1),
        versions=versions(),
        config=config.model_dump(mode="json"),
    )
    return conclude_run(store, study)


def split_problems(task: Task, n: int, split: Split, seed: int) -> list[Problem]:
    """Return n problems of a split, the same ones for a seed; of a file as many as it has, at least two."""
    if task.read is not None:
        n = min(n, len(task.pool(split)))
        if n < 2:
            raise InputError(
                f"{task.data} has too few problems: {n} of them would be in the {split} split; give a larger file"
            )
    return task.draw(n, rng.stream("real/problems", split, seed), split)


def pilot(
    config: ModelRunConfig, base: LocalPolicy, task: Task, params: SamplingParams, out: Path, progress: Notify
) -> PilotPlan:
    """Sample the base on problems of the training split, plan the run from it, store and return the plan.

    Args:
        config: settings of the run.
        base: the model before RL.
        task: the task.
        params: how completions are drawn.
        out: folder of the run. The samples lie in `out`/pilot, apart from those that the boundary is measured by.
        progress: told of the samples drawn.

    Raises:
        InputError: none of the samples was right: GRPO would have nothing to go by.
    """
    store = Store(out / "pilot")
    problems = split_problems(task, config.pilot.problems, "train", config.seed)
    counts = sample_problems(base, problems, config.pilot.samples, config.seed, task, params, store, progress, "pilot")
    if not counts.c.sum() and not config.pilot.insist:
        raise InputError(
            f"none of the pilot's {counts.n.sum():,} samples of {len(counts)} problems was right: every group would be "
            "all wrong, and GRPO would learn nothing. Fine-tune first (goldpanner train sft), take an easier task, or "
            "insist with --set pilot.insist=true in another --out"
        )
    rl = config.grpo
    rates = RateDistribution.of(counts, config.seed)
    free = make_plan(counts, steps=rl.steps, prompts=rl.prompts_per_step, rates=rates)
    ours = make_plan(counts, steps=rl.steps, prompts=rl.prompts_per_step, group=rl.group_size, rates=rates)
    described = ours.to_json()
    fresh = task.read is None
    left_out = [] if fresh else [*ours.ids("needs SFT first"), *ours.ids("solved")]
    plan = PilotPlan.model_validate(
        {
            "problems": len(counts),
            "samples": config.pilot.samples,
            "right": int(counts.c.sum()),
            "recommended_G": free.recommended,
            "group_size": rl.group_size,
            "groups": described["groups"],
            "assigned": described["assigned"],
            "left_out": left_out if len(left_out) < len(counts) else [],
            "fresh": fresh,
        }
    )
    Store(out / "store").put(PlanRecord.model_validate({"id": "plan", "plan": plan, "problems": described["problems"]}))
    return plan


def measure_held_out(
    policy: LocalPolicy,
    problems: Sequence[Problem],
    config: ModelRunConfig,
    task: Task,
    params: SamplingParams,
    store: Store,
    progress: Notify,
) -> None:
    """Sample a policy on the held-out problems, as often as the settings say.

    Args:
        policy: base or trained model.
        problems: held-out problems.
        config: settings of the run.
        task: the task.
        params: how completions are drawn.
        store: where the samples go.
        progress: told of the samples drawn.
    """
    sample_problems(policy, problems, config.measure.samples, config.seed, task, params, store, progress)


def score_gained(config: ModelRunConfig, params: SamplingParams, store: Store, progress: Notify) -> None:
    """Store log P under the base of what the RL model said to the problems it gained: `compare` tells their origin."""
    ids = {stage: policy_of_run(store, stage) for stage in (BASE, RL)}
    before, after = (store.counts(ids[stage], params=params.hash, rollouts=False) for stage in (BASE, RL))
    gained = [i for i, old, new in zip(before.ids, before.c, align(before, after).c) if new and not old]
    todo = [i for i in gained if i not in store.scored(ids[RL], ids[BASE], gained, params=params.hash)]
    if todo:
        base, texts = _load(config.model, config, BASE), store.problems()
        problems = {i: texts[i] for i in todo}
        score_samples(
            base, ids[RL], store, problems, params.hash, lambda done, n: progress(Event(BASE, "score", done, n))
        )


def sample_problems(
    policy: LocalPolicy,
    problems: Sequence[Problem],
    samples: int,
    seed: int,
    task: Task,
    params: SamplingParams,
    store: Store,
    progress: Notify,
    doing: str = "measure",
) -> Counts:
    """Top a store up to a number of samples of each problem; return the counts, sorted by problem.

    Args:
        policy: what is sampled.
        problems: problems of the task.
        samples: samples of each problem.
        seed: seed of the samples.
        task: the task, whose verifiers judge.
        params: how completions are drawn.
        store: where the samples go.
        progress: told of the samples drawn.
        doing: word of the progress events.
    """
    top_up(policy, problems, task.verifiers, params, store, Goal(most=samples), seed=seed, doing=doing, notify=progress)
    return store.counts(policy.id, params=params.hash, seed=seed, rollouts=False)


def _load(folder: Path, config: ModelRunConfig, name: str) -> LocalPolicy:
    """Return a model as it is trained: in float32, whatever it was saved in."""
    return LocalPolicy.from_pretrained(folder, device=config.device, dtype="float32", name=name)


def _start(base: LocalPolicy, config: ModelRunConfig) -> RunRecord:
    return RunRecord(
        id=BASE, stage="given", label=BASE, policy=base.id, parent=None, parent_policy=None, seed=config.seed,
        config={"model": str(config.model)},
    )  # fmt: skip
