"""Settings of the trainers that sample: RL with verifiable rewards, and rejection fine-tuning."""

from dataclasses import replace
from functools import partial
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator

from goldpanner.train import grpo
from goldpanner.train.supervised import SFT, SupervisedConfig
from goldpanner.types import SamplingParams


class RLVRConfig(BaseModel):
    """How to train with verifiable rewards. The defaults are strictly on-policy: one update a step, no KL, no bonus."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: str = Field(default="grpo", description=f"Objective: {', '.join(grpo.VARIANTS)}; see docs/objectives.md.")
    tasks: dict[str, PositiveFloat] = Field(
        default={"world/d1": 1.0, "world/d2": 1.0},
        min_length=1,
        description="Tasks to draw prompts from, with their weights.",
    )
    reward: str | None = Field(
        default=None,
        description="Verifier that gives the reward, e.g. `answer`, `process` or `format`; None: the domain's first.",
    )
    reward_weights: dict[str, float] = Field(
        default={},
        description="Several rewards: verifiers with the weights of their sum, e.g. `{answer: 1, format: 0.2}`; the "
        "first one's verdict is the sample's. Empty: `reward` alone.",
    )
    overlong_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens before max_tokens over which a completion is penalised more and more (DAPO); 0: none.",
    )
    overlong_penalty: float = Field(default=1.0, ge=0, description="Penalty of a completion of max_tokens.")
    unjudged_budget: float = Field(
        default=0.05,
        ge=0,
        le=1,
        exclude=True,  # it stops a run, and changes none
        description="Share of completions that may be unjudged through no doing of the model's; more stop the run.",
    )
    random_reward: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Control: reward each completion with this probability, whatever it says. Verdicts stay the true "
        "ones; what was trained on is the stored reward.",
    )
    frozen: bool = Field(
        default=False, description="Control: draw the same number of rollouts from the unchanged policy, no update."
    )
    steps: int = Field(default=60, ge=1, description="Steps: each draws prompts, samples groups and updates.")
    prompts_per_step: int = Field(default=48, ge=1, description="Prompts (groups) a step.")
    group_size: int = Field(default=16, ge=1, description="Completions a prompt (G).")
    seed: int = Field(default=0, description="Seed of prompts and rollouts.")
    temperature: float = Field(default=1.0, gt=0, description="Of sampling; the policy trained is the softmax at it.")
    max_tokens: int = Field(default=48, ge=1, description="Longest completion.")
    stop: tuple[str, ...] = Field(default=(), description="Texts at which a completion ends.")
    template: str = Field(
        default="{prompt}",
        description="How the prompt is wrapped; `chat`: the model's own; the task's where --task names one.",
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam, constant.")
    betas: tuple[float, float] = Field(default=(0.9, 0.95), description="Adam's decay rates.")
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled weight decay.")
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm; a longer gradient is scaled down to it.")
    epochs: int = Field(
        default=1, ge=1, description="Times a step's rollouts are gone through; more than 1 is off-policy."
    )
    minibatches: int = Field(default=1, ge=1, description="Updates per epoch; more than 1 is off-policy.")
    clip_low: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How far a ratio may fall below 1 unclipped; None: the variant's.",
    )
    clip_high: float | None = Field(
        default=None, ge=0, description="How far a ratio may rise above 1 unclipped; None: the variant's."
    )
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
    k: int = Field(default=4, ge=1, description="pkpo: the k whose pass@k is trained for; at most group_size.")
    discount: float = Field(default=1.0, gt=0, le=1, description="ppo: discount of a reward one token later.")
    gae_lambda: float = Field(
        default=0.95, ge=0, le=1, description="ppo: lambda of the advantages; 1 is reward minus value."
    )
    whiten: bool = Field(default=True, description="ppo: scale a step's advantages to mean 0 and standard deviation 1.")
    value_weight: float = Field(default=0.5, ge=0, description="ppo: weight of the value loss.")
    value_clip: float = Field(default=0.2, gt=0, description="ppo: how far a value may move in one step.")
    max_rounds: int = Field(
        default=4, ge=1, description="Dynamic sampling draws at most this many times prompts_per_step."
    )
    tokens_per_batch: int = Field(
        default=2048, ge=1, description="Padded tokens per forward pass; trades padding against calls."
    )
    autocast: bool = Field(
        default=False, description="Compute updates in bfloat16; weights, optimizer and sampling stay as they are."
    )
    lora: int = Field(
        default=0, ge=0, description="Rank of LoRA adapters on every linear layer, then all that is trained; 0: none."
    )
    checkpoint_every: int = Field(default=10, ge=1, exclude=True, description="Steps between two checkpoints.")
    checkpoints: int = Field(
        default=2, ge=1, exclude=True, description="Checkpoints to keep; a damaged one falls back to the one before."
    )

    @property
    def off_policy(self) -> bool:
        """Whether some update uses rollouts of an older policy."""
        return self.epochs * self.minibatches > 1

    @model_validator(mode="after")
    def _one_way_to_pay(self) -> Self:
        if self.reward_weights and self.reward is not None:
            raise ValueError("reward and reward_weights both say what pays; give one of them")
        if any(weight != weight or abs(weight) == float("inf") for weight in self.reward_weights.values()):
            raise ValueError(f"reward_weights are {self.reward_weights}; give finite numbers")
        if self.random_reward is not None and (self.reward_weights or self.overlong_tokens):
            raise ValueError("random_reward replaces every other reward; leave reward_weights and overlong_tokens out")
        if self.overlong_tokens > self.max_tokens:
            raise ValueError(f"overlong_tokens is {self.overlong_tokens}, more than max_tokens = {self.max_tokens}")
        return self

    @field_validator("variant")
    @classmethod
    def _is_there(cls, name: str) -> str:
        grpo.find_variant(name)
        return name

    def resolve_variant(self) -> grpo.Variant:
        """Return the variant with these settings in it: clip, reduction, and those that its advantages take.

        Raises InputError where the group size does not suit it, or its loss breaks what `Variant.loss` promises.
        """
        variant = grpo.find_variant(self.variant)
        numbers = {name: getattr(self, name) for name in variant.settings}
        variant = replace(
            variant,
            advantages=partial(variant.advantages, **numbers),
            reduction=self.reduction or variant.reduction,
            clip_low=variant.clip_low if self.clip_low is None else self.clip_low,
            clip_high=variant.clip_high if self.clip_high is None else self.clip_high,
        )
        variant.check(self.group_size)
        return variant

    def sampling(self) -> SamplingParams:
        """Return how completions are drawn."""
        return SamplingParams(
            temperature=self.temperature, max_tokens=self.max_tokens, stop=self.stop, template=self.template
        )


PPO = RLVRConfig(variant="ppo", prompts_per_step=768, group_size=1, epochs=2, minibatches=2)
"""PPO with as many rollouts as GRPO's defaults, one for each prompt."""


class RFTConfig(BaseModel):
    """How to fine-tune on a policy's own correct answers (RFT, arXiv:2308.01825; several rounds: RAFT, 2304.06767).

    A round samples, keeps the correct completions and fine-tunes on them. The default draws as many rollouts as GRPO's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: dict[str, PositiveFloat] = Field(
        default={"world/d1": 1.0, "world/d2": 1.0},
        min_length=1,
        description="Tasks to draw prompts from, with their weights.",
    )
    reward: str | None = Field(default=None, description="Verifier of the answers; None: the domain's first.")
    unjudged_budget: float = Field(
        default=0.05,
        ge=0,
        le=1,
        exclude=True,
        description="Share of completions that may be unjudged through no doing of the model's; more stop the run.",
    )
    rounds: int = Field(default=1, ge=1, description="Rounds of sampling and fine-tuning.")
    prompts: int = Field(default=2880, ge=1, description="Prompts a round.")
    group_size: int = Field(default=16, ge=1, description="Completions a prompt.")
    seed: int = Field(default=0, description="Seed of prompts and rollouts.")
    temperature: float = Field(default=1.0, gt=0, description="Of sampling.")
    max_tokens: int = Field(default=48, ge=1, description="Longest completion.")
    stop: tuple[str, ...] = Field(default=(), description="Texts at which a completion ends.")
    template: str = Field(
        default="{prompt}",
        description="How the prompt is wrapped; `chat`: the model's own; the task's where --task names one.",
    )
    distinct: bool = Field(default=True, description="Keep a problem's equal completions once.")
    per_problem: int | None = Field(default=None, ge=1, description="Correct completions kept of a problem at most.")
    checkpoints: int = Field(
        default=2, ge=1, exclude=True, description="Checkpoints to keep; a damaged one falls back to the one before."
    )
    training: SupervisedConfig = SFT.model_copy(update={"steps": 150})

    @field_validator("training", mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """Take missing values from the default above, not from that of pretraining."""
        preset = cls.model_fields["training"].default
        return {**preset.model_dump(), **values} if isinstance(values, dict) else values

    def rollouts(self) -> "RLVRConfig":
        """Return the sampling of the rounds as RL settings: a round is a step without an update."""
        shared = RLVRConfig.model_fields.keys() & type(self).model_fields.keys()
        values = {name: getattr(self, name) for name in shared}
        return RLVRConfig(**values, steps=self.rounds, prompts_per_step=self.prompts, frozen=True)
