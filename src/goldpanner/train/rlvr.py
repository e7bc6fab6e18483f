"""Reinforcement learning with verifiable rewards: sample groups, judge, advantages, update; a generator of records.

Rollouts take the same path as measurements (`goldpanner.rollout`) and are stored before anything is filtered.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.rollout import Sink, rollout
from goldpanner.train import grpo
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.objective import Objective, Pass, add_gradient, score
from goldpanner.train.rows import Row
from goldpanner.types import Problem, Sample, SamplingParams
from goldpanner.verify import Verifier


class Prompts(Protocol):
    """What RL needs of a domain."""

    def problems(
        self, task: str, n: int, rng: np.random.Generator, split: Literal["train", "test"] = "test"
    ) -> list[Problem]:
        """Return n distinct problems."""

    def verifiers(self) -> Sequence[Verifier]:
        """Return the verifiers, the usual reward first."""


class Writer(Sink, Protocol):
    """An open store writer."""

    def flush(self) -> object:
        """Make what was written durable."""


class RLVRConfig(BaseModel):
    """How to train with verifiable rewards. The defaults are strictly on-policy: one update a step, no KL, no bonus."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: grpo.VariantName = Field(
        default="grpo", description="Named choice of advantages, reduction, clip and filter; see `grpo.VARIANTS`."
    )
    tasks: dict[str, PositiveFloat] = Field(
        default={"world/d1": 1.0, "world/d2": 1.0},
        min_length=1,
        description="Tasks to draw prompts from, with their weights.",
    )
    reward: str | None = Field(
        default=None,
        description="Verifier that gives the reward, e.g. `answer` or `process`; None: the domain's first.",
    )
    steps: int = Field(default=60, ge=1, description="Steps: each draws prompts, samples groups and updates.")
    prompts_per_step: int = Field(default=48, ge=1, description="Prompts (groups) a step.")
    group_size: int = Field(default=16, ge=1, description="Completions a prompt (G).")
    seed: int = Field(default=0, description="Seed of prompts and rollouts.")
    temperature: float = Field(default=1.0, gt=0, description="Of sampling; the policy trained is the softmax at it.")
    max_tokens: int = Field(default=48, ge=1, description="Longest completion.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam, constant.")
    betas: tuple[float, float] = Field(default=(0.9, 0.95), description="Adam's decay rates.")
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled weight decay.")
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm; a longer gradient is scaled down to it.")
    epochs: int = Field(
        default=1, ge=1, description="Times a step's rollouts are gone through; more than 1 is off-policy."
    )
    minibatches: int = Field(default=1, ge=1, description="Updates per epoch; more than 1 is off-policy.")
    clip_low: float | None = Field(default=None, ge=0, le=1, description="Ratio clip below 1; None: the variant's.")
    clip_high: float | None = Field(default=None, ge=0, description="Ratio clip above 1; None: the variant's.")
    reduction: grpo.Reduction | None = Field(
        default=None, description="How token losses are averaged; None: the variant's."
    )
    kl: float = Field(
        default=0.0, ge=0, description="Weight of the KL term to the policy that training starts from (k3)."
    )
    unbiased_kl: bool = Field(
        default=False, description="Weight the KL term by the ratio (DeepSeek-V3.2); off, as in DeepSeekMath."
    )
    entropy: float = Field(default=0.0, ge=0, description="Weight of the entropy bonus.")
    max_rounds: int = Field(
        default=4, ge=1, description="Dynamic sampling draws at most this many times prompts_per_step."
    )
    cells: int = Field(default=2048, ge=1, description="Padded tokens per forward pass; trades padding against calls.")

    @property
    def off_policy(self) -> bool:
        """Whether some update uses rollouts of an older policy."""
        return self.epochs * self.minibatches > 1


@dataclass(frozen=True)
class RolloutRecord:
    """What one RL step saw and did. Shares of groups are over every group drawn, before any filter."""

    step: int
    reward: float
    """Mean over judged completions (NaN if none was)."""
    live: float
    """Share of groups with two different rewards."""
    dead_wrong: float
    dead_right: float
    unjudged: float
    """Share of completions without a verdict."""
    groups: int
    """Groups drawn; more than prompts_per_step under dynamic sampling."""
    loss: float
    grad_norm: float
    """Before clipping; mean over the step's updates."""
    entropy: float
    """Minus the mean log-probability (T = 1) of the tokens drawn, nats per token: at temperature 1 an unbiased sum over
    sampled positions of the policy's entropy there. All rollouts count, whatever the loss uses."""
    kl: float | None
    """Mean k3 estimate per token to the starting policy; None where no KL term is trained with."""
    length: float
    """Mean response tokens of a completion."""
    clipped: float
    """Share of the tokens trained on whose ratio was clipped (0 on-policy)."""
    truncated: float
    """Share of completions cut at max_tokens."""
    tokens: int
    """Response tokens drawn."""
    sampling_seconds: float
    seconds: float
    """Whole step, sampling included."""


@dataclass(frozen=True)
class Rollouts:
    """P groups of G completions, as drawn."""

    samples: list[list[Sample]]
    rows: list[Row]
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
    domain: Prompts,
    config: RLVRConfig,
    *,
    sink: Writer | None = None,
    run: str = "",
    checkpoint: Path | None = None,
    checkpoint_every: int = 10,
    asked: Callable[[Sequence[Problem]], object] | None = None,
) -> Iterator[RolloutRecord]:
    """Train `model` in place; yield a record per step.

    Every rollout goes to `sink` with run, step, group and reward before any filter, and its problem to `asked` before
    it is sampled (to keep its text, say). With `checkpoint`, a run that was
    killed goes on where the file says; the steps it repeats draw the same samples under the same keys. Raises
    InputError for an unknown reward, a group of one, or a checkpoint of another run.
    """
    variant = grpo.VARIANTS[config.variant]
    variant.advantages(torch.zeros(1, config.group_size))  # refuses a group of one before anything is sampled
    verifiers = reward_first(domain.verifiers(), config.reward)
    policy = LocalPolicy(model, tokenizer)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, config.betas, weight_decay=config.weight_decay, fused=True
    )
    reference = copy.deepcopy(model).requires_grad_(False) if config.kl else None
    identity = {
        "stage": "rlvr",
        **{f"config.{name}": value for name, value in config.model_dump(mode="json").items()},
        "reward": verifiers[0].id,
        "first prompts": [problem.id for problem in step_problems(domain, config, 0, config.prompts_per_step)],
        "initial weights": policy.id,
    }
    keeper = Checkpoint(checkpoint, checkpoint_every, identity)
    records = keeper.restore(model, [optimizer])
    yield from (RolloutRecord(**record) for record in records)
    for step in range(len(records), config.steps):
        started = time.perf_counter()
        drawn, kept = draw(policy, domain, verifiers, config, step, sink, run, asked)
        sampled = time.perf_counter()
        shuffle = rng.stream("grpo/minibatches", config.seed, step)
        updated = update(model, optimizer, kept, config, variant, shuffle, reference)
        record = RolloutRecord(
            step=step,
            **describe(drawn),
            **updated,
            sampling_seconds=sampled - started,
            seconds=time.perf_counter() - started,
        )
        records.append(asdict(record))
        if keeper.due(step + 1, config.steps):
            if sink is not None:
                sink.flush()  # what the checkpoint calls done must be in the store
            keeper.save(model, [optimizer], records)
        yield record


def step_problems(domain: Prompts, config: RLVRConfig, step: int, n: int) -> list[Problem]:
    """Return n training prompts of a step, a function of (seed, step): each task its share, largest remainders first.

    The first m of a task do not depend on n.
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
        for problem in domain.problems(task, count, rng.stream("grpo/prompts", config.seed, step, task), split="train")
    ]


def draw(
    policy: LocalPolicy,
    domain: Prompts,
    verifiers: Sequence[Verifier],
    config: RLVRConfig,
    step: int,
    sink: Sink | None = None,
    run: str = "",
    asked: Callable[[Sequence[Problem]], object] | None = None,
) -> tuple[Rollouts, Rollouts]:
    """Sample and judge the groups of a step; return (all that were drawn, those to train on).

    They are the same unless the variant samples dynamically (DAPO, arXiv:2503.14476, section 3.2): then dead groups are
    passed over and further prompts drawn, until there are `prompts_per_step` live groups or `max_rounds` are spent.
    """
    dynamic = grpo.VARIANTS[config.variant].dynamic_sampling
    params = SamplingParams(temperature=config.temperature, max_tokens=config.max_tokens)
    seed = rng.seed_for("grpo/rollouts", config.seed, step)
    rounds = config.max_rounds if dynamic else 1
    candidates = step_problems(domain, config, step, rounds * config.prompts_per_step)
    if rounds > 1:
        candidates = [candidates[i] for i in rng.stream("grpo/rounds", config.seed, step).permutation(len(candidates))]
    samples: list[list[Sample]] = []
    rows: list[Row] = []
    rewards: list[list[float]] = []
    live: list[int] = []
    while candidates[len(samples) :] and len(live) < config.prompts_per_step:
        done = len(samples)
        problems = candidates[: done + config.prompts_per_step]
        if asked is not None:
            asked(problems[done:])
        # the groups already drawn keep their numbers and are not drawn again
        ranges = [range(0)] * done + [range(config.group_size)] * (len(problems) - done)
        drawn = list(rollout(policy, problems, verifiers, params, n=ranges, seed=seed, sink=sink, run=run, step=step))
        for problem, group in zip(problems[done:], drawn[done:]):
            prompt = policy.encode_prompt(problem, params.template)
            samples.append(group)
            rows += [Row(prompt, sample.completion.tokens or ()) for sample in group]
            rewards.append([float("nan") if sample.reward is None else sample.reward for sample in group])
        live = grpo.live_groups(torch.tensor(rewards)).nonzero().flatten().tolist()
    everything = Rollouts(samples, rows, torch.tensor(rewards))
    return everything, everything.choose(live[: config.prompts_per_step]) if dynamic else everything


def describe(drawn: Rollouts) -> dict[str, Any]:
    """Return what a record says of the rollouts themselves."""
    completions = [sample.completion for group in drawn.samples for sample in group]
    states = grpo.group_states(drawn.reward_PG)
    tokens = sum(len(row.response) for row in drawn.rows)
    return {
        "reward": float(drawn.reward_PG.nanmean()),
        "live": float(states.live.double().mean()),
        "dead_wrong": float(states.dead_wrong.double().mean()),
        "dead_right": float(states.dead_right.double().mean()),
        "unjudged": float(drawn.reward_PG.isnan().double().mean()),
        "groups": len(drawn.samples),
        "entropy": -sum(completion.logprob or 0.0 for completion in completions) / max(tokens, 1),
        "length": tokens / len(completions),
        "truncated": sum(completion.finish == "length" for completion in completions) / len(completions),
        "tokens": tokens,
    }


def update(
    model: Any,
    optimizer: torch.optim.Optimizer,
    rollouts: Rollouts,
    config: RLVRConfig,
    variant: grpo.Variant,
    shuffle: np.random.Generator,
    reference: Any = None,
) -> dict[str, Any]:
    """Go through the groups `epochs` times in `minibatches` parts, one optimizer step each; return record fields.

    Advantages are computed once, from whole groups. A step without any gradient is still taken, as the formula says:
    Adam's momentum moves on.
    """
    objective = _objective(config, variant)
    advantage_B = variant.advantages(rollouts.reward_PG).flatten().to(model.device)
    old = score(model, rollouts.rows, objective) if config.off_policy else None
    size, groups = rollouts.reward_PG.shape[1], len(rollouts.samples)
    for parameter in model.parameters():  # so that a step without gradient is the same one after a resume
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    passes: list[Pass] = []
    norms: list[float] = []
    for _ in range(config.epochs):
        order = shuffle.permutation(groups) if config.minibatches > 1 else np.arange(groups)
        for part in np.array_split(order, max(1, min(config.minibatches, groups))):
            index = [int(g) * size + i for g in part for i in range(size)]
            optimizer.zero_grad(set_to_none=False)
            rows = [rollouts.rows[i] for i in index]
            old_logp = None if old is None else [old[i] for i in index]
            passes.append(
                add_gradient(model, rows, advantage_B[index], objective, old_logp=old_logp, reference=reference)
            )
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)))
            optimizer.step()
    return {
        "loss": float(np.mean([p.loss for p in passes])),
        "grad_norm": float(np.mean(norms)),
        "kl": None if reference is None else float(np.mean([p.kl for p in passes])),
        "clipped": float(np.mean([p.clipped for p in passes])),
    }


def reward_first(verifiers: Sequence[Verifier], reward: str | None) -> list[Verifier]:
    """Return the verifiers with the one that gives the reward in front: None means as they stand.

    `reward` is the last part of a verifier's name: `process` for `world-process@1`. Raises InputError for none or two.
    """
    if reward is None:
        return list(verifiers)
    names = [verifier.id.split("@")[0] for verifier in verifiers]
    found = [i for i, name in enumerate(names) if name == reward or name.endswith(f"-{reward}")]
    if len(found) != 1:
        raise InputError(f"reward is {reward!r}, which fits {len(found)} of the verifiers {', '.join(names)}; name one")
    return [verifiers[found[0]], *(v for i, v in enumerate(verifiers) if i != found[0])]


def _objective(config: RLVRConfig, variant: grpo.Variant) -> Objective:
    return Objective(
        reduction=config.reduction or variant.reduction,
        max_tokens=config.max_tokens,
        clip_low=variant.clip_low if config.clip_low is None else config.clip_low,
        clip_high=variant.clip_high if config.clip_high is None else config.clip_high,
        kl=config.kl,
        unbiased_kl=config.unbiased_kl,
        entropy=config.entropy,
        temperature=config.temperature,
        cells=config.cells,
    )
