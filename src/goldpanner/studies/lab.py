"""The laboratory: the models of one world, each trained once and kept under the hash of all that determines it.

Studies ask for stages (`lab.grpo(base, ...)`); two studies that ask for the same one share it, in whichever process it
was trained first. A stage that was interrupted begins again; a finished one is never trained twice.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from goldpanner import rng
from goldpanner.measure.origin import Origin, origin
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Notify
from goldpanner.runs.stages import Stage, StageLook, pretrain_stage, rl_stage, sft_stage, train_stage
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.rollout import count
from goldpanner.store import Store
from goldpanner.store.findings import ForecastRecord
from goldpanner.store.schema import ParamsRecord
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.task import Document
from goldpanner.train.model import ModelConfig
from goldpanner.train.rlvr import RLVRConfig
from goldpanner.train.supervised import SFT, SupervisedConfig
from goldpanner.types import Counts, FloatArray, Problem, Sample, SamplingParams, StepMetrics, content_hash
from goldpanner.verify import Verifier

PARAMS = SamplingParams(max_tokens=48)
"""T = 1 over the full softmax; the deepest worked answer has 33 tokens."""


class RLChanges(TypedDict, total=False):
    """Settings of RL (`RLVRConfig`) in which the arms of a study differ."""

    variant: str
    reward: str
    random_reward: float
    group_size: int
    prompts_per_step: int
    epochs: int
    minibatches: int
    clip_low: float
    clip_high: float
    reduction: str


class StudyScale(BaseModel):
    """How large the studies are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    worlds: tuple[int, ...] = Field(default=(0, 1, 2), exclude=True)
    """Seeds of the worlds, in order from 0: they are not chosen. A folder may be given more of them later."""
    share: float = 1.0
    """Share of the full number of steps."""
    problems: float = 1.0
    """Share of the full number of problems and samples."""
    world: dict[str, JsonValue] = {}
    """What differs from the default world."""
    model: dict[str, JsonValue] = {}
    """What differs from the default model."""


FULL = StudyScale()
QUICK = StudyScale(
    worlds=(0, 1),
    share=0.06,
    problems=0.1,
    world={"letters": 12, "word_length": 2},
    model={"hidden_size": 48, "intermediate_size": 96},
)
"""A smoke run: it shows that everything works and says nothing about the claims."""

ProblemSets = Mapping[str, Sequence[Problem]]
"""Sets of problems by name, whose exact P is followed during training."""


@dataclass(frozen=True)
class Trained:
    """A finished stage."""

    folder: Path
    world: WorldConfig

    @property
    def key(self) -> str:
        """Name of its folder, a hash of all that determines it."""
        return self.folder.name

    @cached_property
    def policy(self) -> LocalPolicy:
        """The trained model on the CPU, ready to be sampled."""
        return LocalPolicy.from_pretrained(self.folder / "model", device="cpu", name=self.key)

    @property
    def records(self) -> list[StepMetrics]:
        """What was measured at each step of its training."""
        return [line for line in self._lines if "loss" in line]

    def watched(self, name: str) -> tuple[list[int], list[list[float]]]:
        """Return (steps done, log P by problem) of one watched set, from 0 (before training) on."""
        rows = [(line["step"] + 1, line["watched"][name]) for line in self._lines if "watched" in line]
        return [step for step, _ in rows], [logp for _, logp in rows]

    @cached_property
    def _lines(self) -> list[StepMetrics]:
        text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


class Lab:
    """One world's laboratory; `study` names who asks, for the progress display."""

    def __init__(
        self, out: Path, seed: int, scale: StudyScale = FULL, notify: Notify = lambda event: None, study: str = ""
    ) -> None:
        self.out, self.seed, self.scale, self.notify, self.study = out, seed, scale, notify, study
        self.store = Store(out / "store")
        self.store.put(ParamsRecord.of(PARAMS))

    # -- sizes

    def steps(self, full: int) -> int:
        """Return how many steps stand for `full` at this scale."""
        return max(2, round(full * self.scale.share))

    def size(self, full: int) -> int:
        """Return how many problems, samples or demonstrations stand for `full` at this scale."""
        return max(min(full, 8), round(full * self.scale.problems))

    # -- the world

    def world(self, **changes: Any) -> WorldConfig:
        """Return this world's config; `gap=False` for the one whose rare facts can be found."""
        return WorldConfig(**{"seed": self.seed, **self.scale.world, **changes})

    def problems(
        self, world: WorldConfig, task: str, n: int = 256, split: str = "test", seed: int | None = None
    ) -> list[Problem]:
        """Return the held-out problems of a task, the same ones for every study.

        Args:
            world: settings of the world.
            task: id of the task.
            n: number of problems at full scale; a quick study takes fewer.
            split: `test` or `train`.
            seed: seed of the choice; None: the lab's own.
        """
        key = self.seed if seed is None else seed
        stream = rng.stream("studies/problems", key, task, split)
        problems = World(world).problems(task, self.size(n), stream, split)  # type: ignore[arg-type]
        self.store.put_problems(problems)
        return problems

    def demonstrations(self, world: WorldConfig, tasks: Sequence[str], n: int) -> list[Document]:
        """Return n worked examples (not scaled) over `tasks`; `world.demonstrations` says what they state."""
        return World(world).demonstrations(tasks, n, rng.stream("studies/demonstrations", self.seed, world.seed))

    # -- stages

    def base(self, world: WorldConfig, steps: int = 500) -> Trained:
        """Return the model pretrained on the world's documents for `steps` (at full scale)."""
        config = SupervisedConfig(steps=self.steps(steps), warmup_steps=self.steps(50), seed=self.seed)
        shape = ModelConfig.model_validate(self.scale.model)
        return self.train(pretrain_stage(World(world), config, shape, self.seed), world, None, [shape])

    def sft(self, parent: Trained, texts: Sequence[Document], steps: int = 30, **changes: Any) -> Trained:
        """Return `parent` fine-tuned on texts for `steps` (at full scale); `changes` are SupervisedConfig's."""
        config = SFT.model_copy(update={"steps": self.steps(steps), "batch": 64, "seed": self.seed, **changes})
        return self.train(sft_stage(texts, config), parent.world, parent, [[text.text for text in texts]])

    def grpo(
        self,
        parent: Trained,
        tasks: Sequence[str] | Mapping[str, float],
        steps: int = 60,
        *,
        watch: ProblemSets | None = None,
        every: int = 5,
        verifiers: Sequence[Verifier] | None = None,
        **changes: Any,
    ) -> Trained:
        """Return `parent` after RL on `tasks` for `steps` (at full scale).

        `changes` are RLVRConfig's (variant, group_size, reward, learning_rate ...). `watch`: sets of problems whose
        exact log P is kept before training, every `every` steps and at the end. `verifiers` replace the world's.
        """
        weights = dict(tasks) if isinstance(tasks, Mapping) else dict.fromkeys(tasks, 1.0)
        preset = {"tasks": weights, "steps": self.steps(steps), "seed": self.seed, "max_tokens": PARAMS.max_tokens}
        config = RLVRConfig(**{**preset, **changes})
        domain = World(parent.world)
        judges = domain.verifiers() if verifiers is None else verifiers
        stage = rl_stage("grpo", {t: replace(domain.tasks[t], verifiers=lambda: judges) for t in weights}, config)
        return self.train(stage, parent.world, parent, [[v.id for v in judges]], watch=watch, every=every)

    def train(
        self,
        stage: Stage,
        world: WorldConfig,
        parent: Trained | None,
        identity: Sequence[Any] = (),
        *,
        watch: ProblemSets | None = None,
        every: int = 5,
        stop: Callable[[LocalPolicy], bool] | None = None,
    ) -> Trained:
        """Return what a stage makes of `parent`; train it unless it is there.

        Args:
            stage: what is done.
            world: what its problems are about.
            parent: the stage that it starts from; None: a fresh model.
            identity: what determines it beside its kind, settings, world and parent: texts, other configs, numbers.
            watch: sets of problems whose exact log P is kept before training, every `every` steps and at the end.
            every: steps between two looks.
            stop: asked every `every` steps; ends the training (name what it depends on in `identity`).
        """
        sets = watch or {}

        def measure(policy: LocalPolicy) -> dict[str, list[float]]:
            return {name: self.logp(policy, problems).tolist() for name, problems in sets.items()}

        folder = self._folder(stage, world, parent, identity, sets, every)
        look = StageLook("watched", measure, every, ends=bool(sets), stop=stop) if sets or stop else None
        name = f"{self.study} w{self.seed}"
        train_stage(
            stage,
            folder,
            self.store,
            lambda event: self.notify(replace(event, stage=name)),
            parent=parent.folder / "model" if parent else None,
            device="cpu",
            look=look,
            resume=False,
        )
        return Trained(folder, world)

    def _folder(
        self,
        stage: Stage,
        world: WorldConfig,
        parent: Trained | None,
        identity: Sequence[Any],
        sets: ProblemSets,
        every: int,
    ) -> Path:
        ids = {name: [p.id for p in problems] for name, problems in sets.items()}
        parts = [part.model_dump(mode="json") if hasattr(part, "model_dump") else part for part in identity]
        whole = [
            stage.kind,
            world.model_dump(mode="json"),
            parent.key if parent else None,
            [stage.settings.model_dump(mode="json"), *parts],
            ids,
            every if ids else 0,
        ]
        return self.out / "stages" / f"{stage.kind}-{content_hash(whole, 12)}"

    # -- measuring

    def logp(self, model: Trained | LocalPolicy, problems: Sequence[Problem]) -> FloatArray:
        """Return the exact log P (nats) of each problem's worked answer, shape (problems,)."""
        policy = model.policy if isinstance(model, Trained) else model
        return policy.logprobs(problems, [problem.meta["chain"] for problem in problems])

    def samples(self, model: Trained, problems: Sequence[Problem], n: int = 256) -> list[list[Sample]]:
        """Return n samples (at full scale) of each problem, judged by the world's verifiers; the store is topped up."""
        size, verifiers = self.size(n), World(model.world).verifiers
        top_up(model.policy, problems, verifiers, PARAMS, self.store, Goal(most=size), seed=self.seed, name=model.key)
        samples: dict[str, list[Sample]] = {problem.id: [] for problem in problems}
        ids = list(samples)
        for sample in self.store.samples(policy=model.policy.id, problems=ids, params=PARAMS.hash, seed=self.seed):
            if sample.index < size:
                samples[sample.problem].append(sample)
        return [samples[problem.id] for problem in problems]

    def counts(self, model: Trained, problems: Sequence[Problem], n: int = 256) -> Counts:
        """Return n and c of each problem from `samples`, in the order of `problems`, by the answer verifier."""
        return count(self.samples(model, problems, n))

    def origins(self, base: Trained, rl: Trained, problems: Sequence[Problem], n: int = 256) -> list[Origin]:
        """Return where each problem's solutions came from: importance sampling from n samples of `rl` (at full
        scale), and the base's own n samples.
        """
        if not problems:
            return []
        origins = []
        counts = self.counts(base, problems, n)
        for i, (problem, samples) in enumerate(zip(problems, self.samples(rl, problems, n))):
            tokens = [sample.completion.tokens or () for sample in samples]
            logp_base = base.policy.logprobs([problem] * len(samples), tokens)
            logp_rl = np.array([sample.completion.logprob for sample in samples], np.float64)
            correct = np.array([sample.verdict.correct for sample in samples])
            own_n, own_c = int(counts.n[i]), int(counts.c[i])
            origins.append(origin(correct, logp_base, np.minimum(logp_rl, 0.0), base_n=own_n, base_c=own_c))
        return origins

    def forecast(
        self, name: str, base: str, aggregate: Mapping[str, float], scores: Mapping[str, Sequence[float]]
    ) -> ForecastRecord:
        """Store a forecast of a run before it is made, and return it; one that is there already is never replaced.

        Args:
            name: its id.
            base: name of the base that RL starts from.
            aggregate: method -> forecast of the mean P after RL.
            scores: method -> score of each problem.
        """
        earlier = self.store.get(ForecastRecord, name)
        if earlier is not None:
            return earlier
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        each = {method: tuple(values) for method, values in scores.items()}
        record = ForecastRecord(id=name, made=made, base=base, aggregate=aggregate, scores=each)
        self.store.put(record)
        return record
