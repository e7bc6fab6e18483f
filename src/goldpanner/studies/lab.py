"""The laboratory: the models of one world, each trained once and kept under the hash of all that determines it.

Studies ask for stages (`lab.grpo(base, ...)`); two studies that ask for the same one share it, in whichever process it
was trained first. A stage that was interrupted begins again; a finished one is never trained twice.
"""

import fcntl
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure.origin import Origin, origin
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Event, Notify
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.rollout import count
from goldpanner.store import Store
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.task import Document, Task
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, load_model, save_model
from goldpanner.train.rlvr import RLVRConfig, RolloutRecord, rlvr
from goldpanner.train.supervised import SFT, SupervisedConfig, epochs, fresh_text, supervised
from goldpanner.types import Counts, FloatArray, Problem, Sample, SamplingParams, content_hash
from goldpanner.verify import Verifier

PARAMS = SamplingParams(max_tokens=48)
"""T = 1 over the full softmax; the deepest worked answer has 33 tokens."""


@dataclass(frozen=True)
class Scale:
    """How large the studies are."""

    worlds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the worlds, in order from 0: they are not chosen."""
    share: float = 1.0
    """Share of the full number of steps."""
    problems: float = 1.0
    """Share of the full number of problems and samples."""
    world: Mapping[str, Any] | None = None
    """What differs from the default world."""
    model: Mapping[str, Any] | None = None
    """What differs from the default model."""


FULL = Scale()
QUICK = Scale(
    worlds=(0, 1),
    share=0.06,
    problems=0.1,
    world={"letters": 12, "word_length": 2},
    model={"hidden_size": 48, "intermediate_size": 96},
)
"""A smoke run: it shows that everything works and says nothing about the claims."""

Watch = Mapping[str, Sequence[Problem]]
"""Sets of problems whose exact P is followed during training."""


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
    def records(self) -> list[dict[str, Any]]:
        """The record of each step of its training (`RolloutRecord` or `StepRecord` as a dict)."""
        return [line for line in self._lines if "loss" in line]

    def watched(self, name: str) -> tuple[list[int], list[list[float]]]:
        """Return (steps done, log P by problem) of one watched set, from 0 (before training) on."""
        rows = [(line["step"] + 1, line["watched"][name]) for line in self._lines if "watched" in line]
        return [step for step, _ in rows], [logp for _, logp in rows]

    @cached_property
    def _lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


Train = Callable[[Any, Any], Iterable[Any]]
"""(model, tokenizer) -> step records; trains the model in place."""


class Lab:
    """One world's laboratory; `study` names who asks, for the progress display."""

    def __init__(
        self, out: Path, seed: int, scale: Scale = FULL, notify: Notify = lambda event: None, study: str = ""
    ) -> None:
        self.out, self.seed, self.scale, self.notify, self.study = out, seed, scale, notify, study
        self.store = Store(out / "store")
        self.store.put("params", PARAMS.hash, asdict(PARAMS))

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
        return WorldConfig(**{"seed": self.seed, **(self.scale.world or {}), **changes})

    def problems(
        self, world: WorldConfig, task: str, n: int = 256, split: str = "test", seed: int | None = None
    ) -> list[Problem]:
        """Return the held-out problems of a task (n at full scale), the same ones for every study."""
        key = self.seed if seed is None else seed
        found = World(world).problems(task, self.size(n), rng.stream("studies/problems", key, task, split), split)  # type: ignore[arg-type]
        self.store.put_problems(found)
        return found

    def demonstrations(self, world: WorldConfig, tasks: Sequence[str], n: int) -> list[Document]:
        """Return n worked examples (not scaled) over `tasks`; `world.demonstrations` says what they state."""
        return World(world).demonstrations(tasks, n, rng.stream("studies/demonstrations", self.seed, world.seed))

    # -- stages

    def base(self, world: WorldConfig, steps: int = 500) -> Trained:
        """Return the model pretrained on the world's documents for `steps` (at full scale)."""
        config = SupervisedConfig(steps=self.steps(steps), warmup_steps=self.steps(50), seed=self.seed)
        shape = ModelConfig(**(self.scale.model or {}))
        domain = World(world)

        def train(model: Any, tokenizer: Any) -> Iterable[Any]:
            return supervised(model, tokenizer, fresh_text(domain, config), config)

        def fresh() -> tuple[Any, Any]:
            tokenizer = build_tokenizer(domain.vocabulary())
            return build_model(shape, len(tokenizer), self.seed), tokenizer

        return self.stage("pretrain", world, None, [config, shape], train, steps=config.steps, start=fresh)

    def sft(self, parent: Trained, texts: Sequence[Document], steps: int = 30, **changes: Any) -> Trained:
        """Return `parent` fine-tuned on texts for `steps` (at full scale); `changes` are SupervisedConfig's."""
        given = {"steps": self.steps(steps), "batch": 64, "seed": self.seed, **changes}
        config = SFT.model_copy(update=given)

        def train(model: Any, tokenizer: Any) -> Iterable[Any]:
            return supervised(model, tokenizer, epochs(texts, config), config)

        return self.stage(
            "sft", parent.world, parent, [config, [text.text for text in texts]], train, steps=config.steps
        )

    def grpo(
        self,
        parent: Trained,
        tasks: Sequence[str] | Mapping[str, float],
        steps: int = 60,
        *,
        watch: Watch | None = None,
        every: int = 5,
        verifiers: Sequence[Verifier] | None = None,
        **changes: Any,
    ) -> Trained:
        """Return `parent` after RL on `tasks` for `steps` (at full scale).

        `changes` are RLVRConfig's (variant, group_size, reward, learning_rate ...). `watch`: sets of problems whose
        exact log P is kept before training, every `every` steps and at the end. `verifiers` replace the world's.
        """
        weights = dict(tasks) if isinstance(tasks, Mapping) else dict.fromkeys(tasks, 1.0)
        given = {"tasks": weights, "steps": self.steps(steps), "seed": self.seed, "max_tokens": PARAMS.max_tokens}
        config = RLVRConfig(**{**given, **changes})
        domain = World(parent.world)
        judges = domain.verifiers() if verifiers is None else verifiers
        trained = {name: replace(domain.tasks[name], verifiers=lambda: judges) for name in weights}
        identity = [config, [verifier.id for verifier in judges]]

        def train(model: Any, tokenizer: Any) -> Iterable[Any]:
            run = self._folder("grpo", parent.world, parent, identity, watch, every).name
            return self.rollouts(model, tokenizer, trained, config, run)

        return self.stage("grpo", parent.world, parent, identity, train, steps=config.steps, watch=watch, every=every)

    def rollouts(
        self, model: Any, tokenizer: Any, tasks: Mapping[str, Task], config: RLVRConfig, run: str
    ) -> Generator[RolloutRecord, None, None]:
        """Train with `rlvr`; yield its records. Every rollout is stored under `run`, and every problem asked."""
        problems: list[Problem] = []
        try:
            with self.store.writer() as sink:
                yield from rlvr(model, tokenizer, tasks, config, sink=sink, run=run, on_problems=problems.extend)
        finally:  # whoever stops early has asked, too
            self.store.put_problems(problems)  # one batch a run: a batch a step would be thousands of files

    def stage(
        self,
        kind: str,
        world: WorldConfig,
        parent: Trained | None,
        identity: Sequence[Any],
        train: Train,
        *,
        steps: int,
        watch: Watch | None = None,
        every: int = 5,
        start: Callable[[], tuple[Any, Any]] | None = None,
        stop: Callable[[LocalPolicy], bool] | None = None,
    ) -> Trained:
        """Return the stage that `identity` (configs, texts: all that determines it, its parent and world aside)
        describes; train it unless it is there.

        `train` yields a record per step; `start` makes the model where there is no parent. `stop` is asked every
        `every` steps and ends the training early (name what it depends on in `identity`).
        """
        folder = self._folder(kind, world, parent, identity, watch, every)
        with _locked(folder.with_suffix(".lock")):
            if not (folder / "model").is_dir():
                if start is None and parent is None:
                    raise InputError(f"stage {kind} has neither a parent nor a start; give one")
                model, tokenizer = start() if start else load_model(parent.folder / "model")  # type: ignore[union-attr]
                self._train(kind, folder, model, tokenizer, train, steps, watch or {}, every, stop)
                self.store.put("runs", folder.name, {"stage": kind, "parent": parent.key if parent else None,
                    "policy": LocalPolicy(model, tokenizer).id, "seed": self.seed, "label": folder.name})  # fmt: skip
                save_model(model, tokenizer, folder / "model")  # last: a stage with a model is finished
        return Trained(folder, world)

    def _train(
        self, kind: str, folder: Path, model: Any, tokenizer: Any, train: Train, steps: int, watch: Watch, every: int,
        stop: Callable[[LocalPolicy], bool] | None,
    ) -> None:  # fmt: skip
        policy = LocalPolicy(model, tokenizer, name=folder.name)

        def look() -> dict[str, list[float]]:
            return {name: self.logp(policy, problems).tolist() for name, problems in watch.items()}

        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
            if watch:
                file.write(json.dumps({"step": -1, "watched": look()}) + "\n")
            for i, step in enumerate(train(model, tokenizer), 1):
                record = asdict(step)
                due = i % every == 0 or i == steps
                if watch and due:
                    record["watched"] = look()
                file.write(json.dumps(record) + "\n")
                note = f"reward {record['reward']:.2f}" if "reward" in record else f"loss {record['loss']:.3f}"
                self.notify(Event(f"{self.study} w{self.seed}", kind, i, steps, note))
                if stop is not None and due and stop(policy):
                    break

    def _folder(
        self, kind: str, world: WorldConfig, parent: Trained | None, identity: Sequence[Any], watch: Watch | None,
        every: int,
    ) -> Path:  # fmt: skip
        seen = {name: [p.id for p in problems] for name, problems in (watch or {}).items()}
        parts = [part.model_dump(mode="json") if hasattr(part, "model_dump") else part for part in identity]
        whole = [kind, world.model_dump(mode="json"), parent.key if parent else None, parts, seen, every if seen else 0]
        return self.out / "stages" / f"{kind}-{content_hash(whole, 12)}"

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
        found = []
        counts = self.counts(base, problems, n)
        for i, (problem, drawn) in enumerate(zip(problems, self.samples(rl, problems, n))):
            tokens = [sample.completion.tokens or () for sample in drawn]
            logp_base = base.policy.logprobs([problem] * len(drawn), tokens)
            logp_rl = np.array([sample.completion.logprob for sample in drawn], np.float64)
            correct = np.array([sample.verdict.correct for sample in drawn])
            own_n, own_c = int(counts.n[i]), int(counts.c[i])
            found.append(origin(correct, logp_base, np.minimum(logp_rl, 0.0), base_n=own_n, base_c=own_c))
        return found

    def forecast(self, name: str, record: Mapping[str, Any]) -> None:
        """Store a prediction about a run before it is made; one that is there already is never replaced."""
        if self.store.get("forecasts", name) is None:
            self.store.put("forecasts", name, {**record, "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `path` for this process; another one waits for it (and then finds the stage finished)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
