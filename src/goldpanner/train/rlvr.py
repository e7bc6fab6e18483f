"""Reinforcement learning with verifiable rewards: sample groups, judge, advantages, update; a generator of records.

Rollouts take the same path as measurements (`goldpanner.sampling.rollout`) and are stored before anything is filtered.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.sampling.rollout import Sink, rollout
from goldpanner.train import grpo, lora
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.config import PPO as PPO
from goldpanner.train.config import RFTConfig
from goldpanner.train.config import RLVRConfig as RLVRConfig
from goldpanner.train.groups import group_states, mixed_groups
from goldpanner.train.objective import Pass, add_gradient, row_logprobs
from goldpanner.train.ppo import Critic, assess, value_head
from goldpanner.train.rows import TokenRow
from goldpanner.types import Problem, Sample
from goldpanner.verify import Verifier


class Prompts(Protocol):
    """What RL needs of a task."""

    @property
    def verifiers(self) -> Callable[[], Sequence[Verifier]]:
        """Makes the verifiers, the usual reward first."""
        ...

    @property
    def controls(self) -> Callable[[], Sequence[Verifier]]:
        """Makes the verifiers that judge only where one is named as the reward."""
        ...

    def draw(self, n: int, rng: np.random.Generator, split: Literal["train", "test"] = "test") -> list[Problem]:
        """Return n distinct problems."""
        ...


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
    """Share of completions without a verdict."""
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
    checkpoint_every: int = 10,
    on_problems: Callable[[Sequence[Problem]], object] | None = None,
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
        checkpoint_every: steps between two saves.
        on_problems: called with the problems of each round before they are sampled (to keep their texts, say).

    Raises:
        InputError: an unknown reward, a group size that does not suit the variant, a checkpoint of another run.
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
    identity = {
        "stage": "rlvr",
        **{f"config.{name}": value for name, value in config.model_dump(mode="json").items()},
        "reward": verifiers[0].id,
        "first prompts": [problem.id for problem in step_problems(tasks, config, 0, config.prompts_per_step)],
        "initial weights": policy.id,
    }
    keeper = Checkpoint(checkpoint, checkpoint_every, identity)
    records = keeper.restore(trained, [optimizer], RolloutRecord)
    yield from records
    for step in range(len(records), config.steps):
        started = time.perf_counter()
        rollouts, trained_on = draw_groups(policy, tasks, verifiers, config, step, sink, run, on_problems)
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
        if keeper.due(step + 1, config.steps):
            if sink is not None:
                sink.flush()  # what the checkpoint calls done must be in the store
            keeper.save(trained, [optimizer], records)
        yield record


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
    """Sample and judge the groups of a step; return (all of them, those to train on). Arguments as in `rlvr`.

    They are the same unless the variant samples dynamically (DAPO, arXiv:2503.14476, section 3.2): then groups that
    are not mixed are passed over and further prompts drawn, until there are `prompts_per_step` mixed ones or
    `max_rounds` are spent.
    """
    dynamic = grpo.find_variant(config.variant).dynamic_sampling
    params, reward = config.sampling(), random_reward(config)
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
            optimizer.step()
    return UpdateStats(
        loss=float(np.mean([p.loss for p in passes])),
        grad_norm=float(np.mean(norms)),
        kl=None if reference is None else float(np.mean([p.kl for p in passes])),
        clipped=float(np.mean([p.clipped for p in passes])),
        value_loss=None if critic is None else float(np.mean([p.value_loss for p in passes])),
    )


def random_reward(config: RLVRConfig) -> Callable[[Sample], float] | None:
    """Return the random reward, a function of (seed, step, group, member) alone; None where the verdict is the reward.

    It is 1 with probability `random_reward`, else 0, whatever the completion says and whether it was judged or not.
    """
    share = config.random_reward
    if share is None:
        return None

    def reward(sample: Sample) -> float:
        keys = (config.seed, sample.step or 0, sample.group or 0, sample.index)
        return float(rng.stream("grpo/random-reward", *keys).random() < share)

    return reward


def reward_verifiers(tasks: Mapping[str, Prompts], config: RLVRConfig | RFTConfig) -> list[Verifier]:
    """Return the verifiers of the trained tasks, the one that gives the reward in front (`select_reward`).

    Raises InputError where two tasks are judged by different verifiers.
    """
    first, *others = (tasks[name] for name in config.tasks)
    verifiers = first.verifiers()
    for other in others:
        if [v.id for v in other.verifiers()] != [v.id for v in verifiers]:
            raise InputError(f"tasks {', '.join(config.tasks)} are judged by different verifiers; train on one of them")
    return select_reward(verifiers, config.reward, first.controls())


def select_reward(
    verifiers: Sequence[Verifier], reward: str | None, controls: Sequence[Verifier] = ()
) -> list[Verifier]:
    """Return the verifiers with the one that gives the reward in front: None means in their own order.

    `reward` is the last part of a verifier's name: `process` for `world-process@1`. Of `controls` only the one that is
    named judges at all. Raises InputError for none or two.
    """
    if reward is None:
        return list(verifiers)
    names = [verifier.id.split("@")[0] for verifier in (*verifiers, *controls)]
    matches = [i for i, name in enumerate(names) if name == reward or name.endswith(f"-{reward}")]
    if len(matches) != 1:
        raise InputError(
            f"reward is {reward!r}, which fits {len(matches)} of the verifiers {', '.join(names)}; name one"
        )
    return [(*verifiers, *controls)[matches[0]], *(v for i, v in enumerate(verifiers) if i != matches[0])]
