"""Reinforcement learning with verifiable rewards: sample groups, judge, advantages, update; a generator of records.

Rollouts take the same path as measurements (`goldpanner.sampling.rollout`) and are stored before anything is filtered.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Notify, silent
from goldpanner.sampling.rehearsal import rehearse_first
from goldpanner.sampling.rollout import Sink, rollout
from goldpanner.store import Store
from goldpanner.store.schema import CheckRecord
from goldpanner.train import grpo, lora
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.config import PPO as PPO
from goldpanner.train.config import RFTConfig
from goldpanner.train.config import RLVRConfig as RLVRConfig
from goldpanner.train.finite import check_skips, step_if_finite
from goldpanner.train.groups import group_states, mixed_groups
from goldpanner.train.metrics import Metrics
from goldpanner.train.objective import Pass, add_gradient, row_logprobs
from goldpanner.train.ppo import Critic, assess, value_head
from goldpanner.train.reward import (
    BudgetSpentError,
    Prompts,
    UnjudgedBudget,
    cause_shares,
    payment,
    reward_verifiers,
)
from goldpanner.train.rows import TokenRow
from goldpanner.types import Problem, Sample
from goldpanner.verify import Verifier
from goldpanner.verify.rehearsal import PROBLEMS


class RolloutSink(Sink, Protocol):
    """An open store writer."""

    def flush(self) -> object:
        """Make what was written durable."""


@dataclass(frozen=True, kw_only=True)
class RolloutStats:
    """What was drawn in one RL step. Shares of groups are over every group drawn, before any filter."""

    step: int
    reward: float
    """Mean over judged completions (NaN if none was)."""
    mixed: float
    """Share of groups with two different rewards."""
    all_wrong: float
    """Share of groups whose rewards are all equal and below 1."""
    all_correct: float
    """Share of groups whose rewards are all equal and at least 1."""
    unjudged: float
    """Share of completions without a reward: unjudged, and not by the model's own doing."""
    withheld: float = 0.0
    """Share of completions that were withheld, a part of `unjudged`."""
    unanswered: float = 0.0
    """Share of completions unjudged by the model's own doing; they are paid 0."""
    groups: int
    """Groups drawn; more than prompts_per_step under dynamic sampling."""
    entropy: float
    """Minus the mean log-probability (T = 1) of the tokens drawn, nats per token: at temperature 1 an unbiased sum over
    sampled positions of the policy's entropy there. All rollouts count, whatever the loss uses."""
    length: float
    """Mean response tokens of a completion."""
    truncated: float
    """Share of completions cut at max_tokens."""
    tokens: int
    """Response tokens drawn."""


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """What the updates of one step did; the defaults are those of a step without one."""

    loss: float = 0.0
    """Mean over the step's updates."""
    grad_norm: float = 0.0
    """Before clipping; mean over the step's updates."""
    kl: float | None = None
    """Mean k3 estimate per token to the starting policy, nats; None where no KL term is trained with."""
    clipped: float = 0.0
    """Share of the tokens with an advantage on which the variant's clip was active (0 on-policy)."""
    value_loss: float | None = None
    """Mean value loss per token; None without a critic."""
    skipped: int = 0
    """Updates left out because their loss or gradient was not finite."""


@dataclass(frozen=True, kw_only=True)
class RolloutRecord(UpdateStats, RolloutStats):
    """What one RL step drew and did."""

    sampling_seconds: float
    seconds: float
    """Whole step, sampling included."""


@dataclass(frozen=True)
class Rollouts:
    """P groups of G completions."""

    samples: list[list[Sample]]
    rows: list[TokenRow]
    """P G rows, group by group."""
    reward_PG: Tensor
    """NaN where unjudged."""

    def choose(self, groups: Sequence[int]) -> "Rollouts":
        """Return some of the groups."""
        size = self.reward_PG.shape[1]
        rows = [self.rows[g * size + i] for g in groups for i in range(size)]
        return Rollouts([self.samples[g] for g in groups], rows, self.reward_PG[list(groups)])


def rlvr(
    model: Any,
    tokenizer: Any,
    tasks: Mapping[str, Prompts],
    config: RLVRConfig,
    *,
    sink: RolloutSink | None = None,
    run: str = "",
    checkpoint: Path | None = None,
    on_problems: Callable[[Sequence[Problem]], object] | None = None,
    metrics: Metrics | None = None,
    notify: Notify = silent,
) -> Iterator[RolloutRecord]:
    """Train `model` in place; yield a record per step.

    Args:
        model: a causal language model of transformers; with `config.lora` its adapters are in it at the end.
        tokenizer: its tokenizer.
        tasks: what `config.tasks` names.
        config: the variant and all other settings.
        sink: gets every rollout with run, step, group and reward, before any filter.
        run: name of the run, stored with the rollouts.
        checkpoint: a file from which a run that was killed goes on; the steps it repeats draw the same samples under
            the same keys. None keeps nothing.
        on_problems: called with the problems of each round before they are sampled (to keep their texts, say).
        metrics: those of the run; a checkpoint keeps the rows of its steps.
        notify: told of a damaged checkpoint.

    Raises:
        InputError: an unknown reward, a group size that does not suit the variant, a checkpoint of another run; or too
            many completions are unjudged through no doing of the model's (`UnjudgedBudget`): a checkpoint is kept.
        NotFiniteError: losses or gradients stay non-finite; the last good checkpoint is kept.
    """
    variant = config.resolve_variant()
    verifiers = reward_verifiers(tasks, config)
    if config.lora:
        lora.adapt(model, config.lora, config.seed)
    policy = LocalPolicy(model, tokenizer)
    head = value_head(model) if variant.critic else None
    trained = model if head is None else torch.nn.ModuleList([model, head])
    weights = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, config.learning_rate, config.betas, weight_decay=config.weight_decay, fused=True
    )
    reference = copy.deepcopy(model).requires_grad_(False) if config.kl else None
    identity = _identity(tasks, config, verifiers[0], policy)
    keeper = Checkpoint(checkpoint, config.checkpoint_every, identity, config.checkpoints, metrics, notify)
    records = keeper.restore(trained, [optimizer], RolloutRecord)
    budget = UnjudgedBudget(config.unjudged_budget)
    yield from records
    for step in range(len(records), config.steps):
        started = time.perf_counter()
        try:
            rollouts, trained_on = draw_groups(policy, tasks, verifiers, config, step, sink, run, on_problems)
            budget.add(sample for group in rollouts.samples for sample in group)
        except (BudgetSpentError, KeyboardInterrupt):  # the weights are those after the last step
            if sink is not None:
                sink.flush()
            keeper.save(trained, [optimizer], records)
            raise
        except InputError as error:
            raise InputError(f"step {step}, {_before(records)}: {error}") from error
        sampling_seconds = time.perf_counter() - started
        changes = UpdateStats()
        if not config.frozen:
            shuffle = rng.stream("grpo/minibatches", config.seed, step)
            changes = update(model, optimizer, trained_on, config, shuffle, reference, head)
        record = RolloutRecord(
            **asdict(describe(step, rollouts)),
            **asdict(changes),
            sampling_seconds=sampling_seconds,
            seconds=time.perf_counter() - started,
        )
        records.append(record)
        check_skips(records)
        yield record
        if keeper.due(step + 1, config.steps):  # by now the step has its row in the metrics
            if sink is not None:
                sink.flush()  # what the checkpoint calls done must be in the store
            keeper.save(trained, [optimizer], records)


def _identity(
    tasks: Mapping[str, Prompts], config: RLVRConfig, verifier: Verifier, policy: LocalPolicy
) -> dict[str, object]:
    """Return what a checkpoint belongs to."""
    return {
        "stage": "rlvr",
        **{f"config.{name}": value for name, value in config.model_dump(mode="json").items()},
        "reward": verifier.id,
        "first prompts": [problem.id for problem in step_problems(tasks, config, 0, config.prompts_per_step)],
        "initial weights": policy.id,
    }


def _before(records: Sequence[RolloutRecord]) -> str:
    """Return in words what the last update was."""
    return f"after an update with gradient norm {records[-1].grad_norm:g}" if records else "before any update"


def step_problems(tasks: Mapping[str, Prompts], config: RLVRConfig, step: int, n: int) -> list[Problem]:
    """Return n training prompts of a step, a function of (seed, step): each task its share, largest remainders first.

    The first m of a task do not depend on n. `tasks` holds what `config.tasks` names.
    """
    total = sum(config.tasks.values())
    exact = {task: n * weight / total for task, weight in config.tasks.items()}
    counts = {task: int(share) for task, share in exact.items()}
    by_remainder = sorted(exact, key=lambda task: counts[task] - exact[task])
    for task in by_remainder[: n - sum(counts.values())]:
        counts[task] += 1
    return [
        problem
        for task, count in counts.items()
        if count
        for problem in tasks[task].draw(count, rng.stream("grpo/prompts", config.seed, step, task), split="train")
    ]


def rehearse_reward(
    tasks: Mapping[str, Prompts],
    config: RLVRConfig | RFTConfig,
    store: Store,
    *,
    skip: str | None = None,
    notify: Notify = silent,
) -> list[CheckRecord]:
    """Rehearse what gives the reward on problems of the first step, before anything is trained, unless it is a control.

    Args:
        tasks: what `config.tasks` names.
        config: the settings.
        store: where earlier checks are kept.
        skip: why nothing is rehearsed; None: it is.
        notify: told of what a person should know.

    Returns:
        What the caller keeps in the store, once it may write there.

    Raises:
        InputError: the reward does not tell right from wrong answers.
    """
    verifier = reward_verifiers(tasks, config)[0]
    controls = {control.id for name in config.tasks for control in tasks[name].controls()}
    if verifier.id in controls or (isinstance(config, RLVRConfig) and config.random_reward is not None):
        skip = "the reward is a control"
    rollouts = config.rollouts() if isinstance(config, RFTConfig) else config
    problems = step_problems(tasks, rollouts, 0, min(rollouts.prompts_per_step, PROBLEMS * len(config.tasks)))
    records = []
    for name in config.tasks:
        if own := [problem for problem in problems if problem.task == name]:
            records += rehearse_first(tasks[name], verifier, own, store, skip=skip, notify=notify)
    return records


def draw_groups(
    policy: LocalPolicy,
    tasks: Mapping[str, Prompts],
    verifiers: Sequence[Verifier],
    config: RLVRConfig,
    step: int,
    sink: Sink | None = None,
    run: str = "",
    on_problems: Callable[[Sequence[Problem]], object] | None = None,
) -> tuple[Rollouts, Rollouts]:
    """Sample and judge the groups of an RL step.

    Variants that sample dynamically (DAPO, arXiv:2503.14476, section 3.2) pass over groups that are not mixed and draw
    further prompts, until there are `prompts_per_step` mixed ones or `max_rounds` are spent.

    Args:
        policy: model that is trained.
        tasks: task id -> its prompts.
        verifiers: what judges; the first one gives the reward.
        config: settings of the RL stage.
        step: number of the step, from which prompts and samples are drawn.
        sink: takes the samples before any is passed over.
        run: name of the run.
        on_problems: called with the problems of each round before they are sampled.

    Returns:
        All groups, and those to train on; the same unless the variant samples dynamically.
    """
    dynamic = grpo.find_variant(config.variant).dynamic_sampling
    params, reward = config.sampling(), payment(config)
    seed = rng.seed_for("grpo/rollouts", config.seed, step)
    rounds = config.max_rounds if dynamic else 1
    candidates = step_problems(tasks, config, step, rounds * config.prompts_per_step)
    if rounds > 1:
        candidates = [candidates[i] for i in rng.stream("grpo/rounds", config.seed, step).permutation(len(candidates))]
    samples: list[list[Sample]] = []
    rows: list[TokenRow] = []
    rewards: list[list[float]] = []
    mixed: list[int] = []
    while candidates[len(samples) :] and len(mixed) < config.prompts_per_step:
        done = len(samples)
        problems = candidates[: done + config.prompts_per_step]
        if on_problems is not None:
            on_problems(problems[done:])
        # the groups of earlier rounds keep their numbers and are not drawn again
        ranges = [range(0)] * done + [range(config.group_size)] * (len(problems) - done)
        groups = list(
            rollout(
                policy, problems, verifiers, params, n=ranges, seed=seed, sink=sink, run=run, step=step, reward=reward
            )
        )
        for problem, group in zip(problems[done:], groups[done:]):
            prompt = policy.encode_prompt(problem, params.template)
            samples.append(group)
            rows += [TokenRow(prompt, sample.completion.tokens or ()) for sample in group]
            rewards.append([float("nan") if sample.reward is None else sample.reward for sample in group])
        mixed = mixed_groups(torch.tensor(rewards)).nonzero().flatten().tolist()
    everything = Rollouts(samples, rows, torch.tensor(rewards))
    return everything, everything.choose(mixed[: config.prompts_per_step]) if dynamic else everything


def describe(step: int, rollouts: Rollouts) -> RolloutStats:
    """Return what a step's record says of its rollouts."""
    completions = [sample.completion for group in rollouts.samples for sample in group]
    states = group_states(rollouts.reward_PG)
    tokens = sum(len(row.response) for row in rollouts.rows)
    return RolloutStats(
        step=step,
        reward=float(rollouts.reward_PG.nanmean()),
        mixed=float(states.mixed.double().mean()),
        all_wrong=float(states.all_wrong.double().mean()),
        all_correct=float(states.all_correct.double().mean()),
        unjudged=float(rollouts.reward_PG.isnan().double().mean()),
        **cause_shares(sample.verdict for group in rollouts.samples for sample in group),
        groups=len(rollouts.samples),
        entropy=-sum(completion.logprob or 0.0 for completion in completions) / max(tokens, 1),
        length=tokens / len(completions),
        truncated=sum(completion.finish == "length" for completion in completions) / len(completions),
        tokens=tokens,
    )


def update(
    model: Any,
    optimizer: torch.optim.Optimizer,
    rollouts: Rollouts,
    config: RLVRConfig,
    shuffle: np.random.Generator,
    reference: Any = None,
    head: torch.nn.Linear | None = None,
) -> UpdateStats:
    """Go through the groups `epochs` times in `minibatches` parts, one optimizer step each; return what it did.

    Advantages are computed once, from whole groups, or with a value `head` from its values before the update. A step
    without any gradient is still taken, as the formula says: Adam's momentum moves on.

    Args:
        model: changed in place.
        optimizer: of the parameters that are trained.
        rollouts: P groups of G completions.
        config: the variant and its settings.
        shuffle: orders the groups where there are several minibatches.
        reference: the model to which the KL term is measured; None: no KL term.
        head: the value head (PPO); None: no critic.

    Raises:
        InputError: the group size does not suit the variant.
    """
    variant = config.resolve_variant()
    advantage_B = variant.advantages(rollouts.reward_PG).flatten().to(model.device)
    old: list[Tensor] | None = None
    critic: Critic | None = None
    if head is not None:
        reward = [None if r != r else r for r in rollouts.reward_PG.flatten().tolist()]
        old, critic = assess(model, head, rollouts.rows, reward, config)
    elif config.off_policy:
        old = row_logprobs(model, rollouts.rows, config)
    size, groups = rollouts.reward_PG.shape[1], len(rollouts.samples)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:  # so that a step without gradient is the same one after a resume
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    passes: list[Pass] = []
    norms: list[float] = []
    skipped = 0
    for _ in range(config.epochs):
        order = shuffle.permutation(groups) if config.minibatches > 1 else np.arange(groups)
        for part in np.array_split(order, max(1, min(config.minibatches, groups))):
            index = [int(g) * size + i for g in part for i in range(size)]
            optimizer.zero_grad(set_to_none=False)
            passes.append(
                add_gradient(
                    model,
                    [rollouts.rows[i] for i in index],
                    advantage_B[index],
                    config,
                    old_logp=None if old is None else [old[i] for i in index],
                    reference=reference,
                    critic=None if critic is None else critic.choose(index),
                )
            )
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, config.clip)))
            skipped += not step_if_finite([optimizer], passes[-1].loss, norms[-1])
    return UpdateStats(
        loss=float(np.mean([p.loss for p in passes])),
        grad_norm=float(np.mean(norms)),
        kl=None if reference is None else float(np.mean([p.kl for p in passes])),
        clipped=float(np.mean([p.clipped for p in passes])),
        value_loss=None if critic is None else float(np.mean([p.value_loss for p in passes])),
        skipped=skipped,
    )
