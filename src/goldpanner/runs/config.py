"""The settings of the lab and its trainers in one tree: `goldpanner run --set KEY=VALUE` reaches each field."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from goldpanner.tasks.catalog import DomainConfig, build_domain
from goldpanner.tasks.task import Task
from goldpanner.tasks.world import WorldConfig
from goldpanner.train.config import PPO, RFTConfig, RLVRConfig
from goldpanner.train.model import ModelConfig
from goldpanner.train.reward import select_reward
from goldpanner.train.supervised import SFT, SupervisedConfig
from goldpanner.types import SamplingParams

CURRICULUM: dict[str, dict[str, list[str]]] = {
    "world": {
        "trained": ["world/d1", "world/d2"],
        "demonstrated": ["world/d1", "world/d2", "world/d3"],
        "measured": ["world/d1", "world/d2", "world/d3", "world/d4", "world/d6"],
    },
    "column-addition": {
        "trained": ["column-addition/1d", "column-addition/2d"],
        "demonstrated": ["column-addition/1d", "column-addition/2d"],
        "measured": [
            "column-addition/2d",
            "column-addition/2d-carry0",
            "column-addition/2d-carry2",
            "column-addition/3d",
        ],
    },
}
"""Which tasks the run of a domain uses unless others are named."""


class TasksConfig(BaseModel):
    """Which tasks are demonstrated and measured; GRPO's own are `grpo.tasks`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    demonstrated: tuple[str, ...] = Field(min_length=1, description="Tasks of the SFT's worked examples.")
    measured: tuple[str, ...] = Field(min_length=1, description="Held-out tasks, sampled and exact, after every stage.")
    probed: tuple[str, ...] = Field(
        default=(), description="Tasks whose exact P is measured and which are not sampled: by default every exposure."
    )


class MeasureConfig(BaseModel):
    """How the boundary is measured after each stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: int = Field(default=256, ge=2, description="Problems a task whose exact P(correct) is computed.")
    sampled: int = Field(default=64, ge=2, description="The first of them, which are sampled as well.")
    samples: int = Field(default=256, ge=2, description="Samples of each sampled problem.")
    max_tokens: int = Field(default=48, ge=1, description="Token limit of a completion.")
    seed: int = Field(default=0, description="Seed of the problems and of their samples.")
    every: int = Field(default=5, ge=1, description="RL steps between two looks at the held-out tasks (exact, cheap).")

    def params(self) -> SamplingParams:
        """Return T = 1 over the full softmax, cut at `max_tokens`."""
        return SamplingParams(max_tokens=self.max_tokens)


RolloutSettings = TypeVar("RolloutSettings", RLVRConfig, RFTConfig)


def fit_to_task(config: RolloutSettings, task: Task) -> RolloutSettings:
    """Return settings that train on a task alone; its template, stops, limit and verifier are used unless given."""
    own: dict[str, object] = {name: getattr(task.params, name) for name in ("template", "stop", "max_tokens")}
    own["reward"] = task.verifiers()[0].id.split("@")[0]
    changes = {name: value for name, value in own.items() if name not in config.model_fields_set}
    return config.model_copy(update={**changes, "tasks": {task.id: 1.0}})


class RunConfig(BaseModel):
    """A domain, a model, the trainers, and how it is measured. One seed sets every seed not given.

    The lab's run uses `pretrain`, `sft` and `grpo`; `ppo` and `rft` are for `goldpanner train` and for recipes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="Sets the seed of world, model, trainers and measurement.")
    device: str = Field(
        default="auto", description="auto: CUDA or MPS where present, else cpu. Bit-for-bit repeatable on the cpu only."
    )
    domain: DomainConfig = Field(default_factory=WorldConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    pretrain: SupervisedConfig = Field(default_factory=SupervisedConfig)
    sft: SupervisedConfig = SFT
    demonstrations: int = Field(default=64, ge=1, description="Worked examples of the SFT.")
    grpo: RLVRConfig = Field(default_factory=RLVRConfig)
    ppo: RLVRConfig = PPO
    rft: RFTConfig = Field(default_factory=RFTConfig)
    tasks: TasksConfig
    measure: MeasureConfig = Field(default_factory=MeasureConfig)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Hand the one seed down, and give each domain its curriculum."""
        if not isinstance(given, dict) or any(not isinstance(v, dict) for k, v in given.items() if k in _PARTS):
            return given
        tree = {**given, **{part: {**given.get(part, {})} for part in _PARTS}}
        for part in ("domain", "pretrain", "sft", "grpo", "ppo", "rft", "measure"):
            tree[part].setdefault("seed", tree.get("seed", 0))
        kind = tree["domain"].setdefault("kind", "world")
        for part, preset in (("sft", SFT), ("ppo", PPO)):
            for name in preset.model_fields_set:
                tree[part].setdefault(name, getattr(preset, name))
        if kind in CURRICULUM:
            tasks = CURRICULUM[kind]
            for part in ("grpo", "ppo", "rft"):
                tree[part].setdefault("tasks", dict.fromkeys(tasks["trained"], 1.0))
            tree["tasks"] = {"demonstrated": tasks["demonstrated"], "measured": tasks["measured"], **tree["tasks"]}
        return tree

    @model_validator(mode="after")
    def _tasks_exist(self) -> "RunConfig":
        domain = build_domain(self.domain)
        for name, tasks in (
            ("grpo.tasks", tuple(self.grpo.tasks)),
            ("ppo.tasks", tuple(self.ppo.tasks)),
            ("rft.tasks", tuple(self.rft.tasks)),
            ("tasks.demonstrated", self.tasks.demonstrated),
            ("tasks.measured", self.tasks.measured),
            ("tasks.probed", self.tasks.probed),
        ):
            for task in tasks:
                if task not in domain.tasks:
                    raise ValueError(f"{name} names {task!r}; {self.domain.kind} offers {', '.join(domain.tasks)}")
        if self.ppo.variant != "ppo":
            raise ValueError(f"ppo.variant is {self.ppo.variant!r}; the other variants are settings of grpo")
        for rl in (self.grpo, self.ppo):
            rl.resolve_variant()  # refuses a group of one, say
        for reward in (
            self.grpo.reward,
            self.ppo.reward,
            self.rft.reward,
            *self.grpo.reward_weights,
            *self.ppo.reward_weights,
        ):
            select_reward(domain.verifiers(), reward, domain.controls())
        if self.measure.sampled > self.measure.problems:
            raise ValueError(
                f"measure.sampled is {self.measure.sampled}, more than measure.problems = {self.measure.problems}"
            )
        return self

    def for_task(self, task: Task) -> "RunConfig":
        """Return the settings with this task in every stage."""
        return self.model_copy(update={name: fit_to_task(getattr(self, name), task) for name in ("grpo", "ppo", "rft")})

    def probes(self) -> tuple[str, ...]:
        """Return the tasks measured exactly and not sampled: those named, else every task with an exposure."""
        if self.tasks.probed:
            return self.tasks.probed
        return tuple(t for t in build_domain(self.domain).tasks if "exposure" in t or t.endswith("klingon"))


_PARTS = ("domain", "model", "pretrain", "sft", "grpo", "ppo", "rft", "tasks", "measure")
