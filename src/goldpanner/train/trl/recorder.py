"""Every rollout of TRL's GRPOTrainer into a store, the states of its groups, and a fixed probe set every N steps.

Only what TRL documents is used: a reward function that wraps yours, and a TrainerCallback. Three lines in your script:

    from goldpanner.train.trl.launch import Recorder
    recorder = Recorder("runs/mine", "first-try", probe=list(heldout), every=50)
    trainer = GRPOTrainer(..., reward_funcs=recorder.reward(my_reward), callbacks=[recorder])
"""

import asyncio
import atexit
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.integrations import is_deepspeed_zero3_enabled

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.policies.local import LocalPolicy
from goldpanner.sampling.rollout import judge as judge_one
from goldpanner.sampling.rollout import rollout
from goldpanner.store import Store
from goldpanner.train.groups import group_states
from goldpanner.train.trl.rows import AsTrained, Rows, completion
from goldpanner.types import Completion, Outcome, Problem, Sample, SamplingParams, Verdict, content_hash
from goldpanner.verify import Verifier
from goldpanner.verify.answer_part import apart
from goldpanner.verify.reward import Reward, RewardFunction

try:
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType, gather_object
except ImportError:
    raise MissingExtraError("training by TRL", "trl") from None

NEUTRAL = {"min_p": None, "repetition_penalty": 1.0, "generation_kwargs": None}
"""Settings of GRPOConfig that change what is drawn and have no place in SamplingParams."""


@dataclass(frozen=True)
class Looked:
    """What one look at the probe set saw, all processes together."""

    step: int
    """Optimizer steps done."""
    policy: str
    """Id under which the samples are stored."""
    n: int
    c: int
    unjudged: int


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Records what a GRPOTrainer draws. Pass `reward(...)` as a reward function and the recorder as a callback.

    Each process writes parts of its own. A sample's step is the trainer's `global_step` when it was drawn, its group
    the number of `num_generations` consecutive rows of that step over all processes, its policy a name for (run, step).
    What a killed run drew again after resuming keeps its first row, since it has the same key.
    """

    def __init__(
        self,
        store: Store | Path | str,
        run: str,
        *,
        task: str = "trl",
        answer: str | None = None,
        problems: Mapping[str, Problem] | None = None,
        probe: Sequence[Problem | Mapping[str, Any]] = (),
        every: int = 50,
        samples: int = 16,
        template: str | None = None,
        stop: tuple[str, ...] = (),
        processes: int | None = None,
        notify: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Say where rollouts go and what is measured on the way.

        Args:
            store: the store, or its folder; it is made by the first thing written.
            run: name of the run in it; a finished run of that name is refused.
            task: task id of problems that are made from the data set's rows.
            answer: the column with a problem's answer; by default the first of `ANSWERS` that there is.
            problems: known problems by id, for rows with a column `goldpanner_id`; by default those of the store.
            probe: a fixed set, as problems or rows like the data set's; sampled before the first step, every `every`
                steps and after the last, each process its share, from the model as it stands.
            every: optimizer steps between two looks.
            samples: samples of each probe problem a look.
            template: how prompts were rendered (`chat`, or text around `{prompt}`); by default the rows' form says it,
                so give it with a probe of problems that the model's chat template is to wrap.
            stop: texts at which a completion ends; it is judged up to there.
            processes: processes that must take part; anything else is an error before training starts.
            notify: called in the main process with each logged step's numbers, and with each look.

        Raises InputError on `every` or `samples` below 1.
        """
        if every < 1 or samples < 1:
            raise InputError(f"recorder: every is {every} and samples {samples}; give numbers >= 1")
        self.store = store if isinstance(store, Store) else Store(store)
        self.run = run
        self.every, self.samples, self.stop, self.template = every, samples, stop, template
        self.processes, self.notify = processes, notify
        self.looks: list[Looked] = []
        known = problems if problems is not None else self.store.problems() if self.store.root.is_dir() else {}
        self._rows = Rows(task, answer, dict(known))
        self._probe = [row if isinstance(row, Problem) else self._rows.of_row(row) for row in probe]
        self._judge: Verifier | None = None
        self._writer = self.store.writer()
        self._new: dict[str, Problem] = {problem.id: problem for problem in self._probe}
        self._told = time.monotonic()
        self._args: Any = None
        self._model: Any = None
        self._tokenizer: Any = None
        self._step, self._batches = -1, 0
        self._drawn: dict[str, Any] = {}
        self._stated: set[str] = set()
        """Hashes of sampling parameters that the store has been told."""
        self._probe_params: SamplingParams | None = None

    # --- the reward function

    def reward(
        self,
        judge: Verifier | RewardFunction,
        *others: Verifier,
        threshold: float | None = None,
        pay: Callable[[Sample], float | None] | None = None,
    ) -> RewardFunction:
        """Return a reward function for TRL that pays what `judge` says and records each completion.

        `judge` is a verifier (it pays `Verdict.reward`), or a function with TRL's signature, which is called
        exactly as TRL calls it and whose numbers are passed on; as a verdict a number is CORRECT if it is 1, or at
        least `threshold`, and None or any other number without a threshold is UNJUDGED. What `others` say is stored
        beside it. `pay` gives another reward than the verdict's.

        Raises InputError where it is asked for twice: one reward decides which groups are mixed.
        """
        if self._judge is not None:
            raise InputError("recorder: reward() was asked for twice; wrap the one function that says right or wrong")
        own: RewardFunction | None = None
        if isinstance(judge, Verifier):
            name, verifier = judge.id.split("@")[0], judge
        else:
            scale = Reward(judge, threshold, conversational=self._rows.chat, whole=True)
            own, name = judge, getattr(judge, "__name__", type(judge).__name__)
            verifier = AsTrained(scale, self._rows.columns)
        self._judge = verifier

        def recorded(prompts: Any, completions: Any, completion_ids: Any = None, **columns: Any) -> list[float | None]:
            self._check_attached()
            asked = [self._rows.asked(i, prompt, columns) for i, prompt in enumerate(prompts)]
            ids = [None] * len(completions) if completion_ids is None else completion_ids
            ends, limit = self._ends(), self._args.max_completion_length
            opening = self._opening()
            drawn = [
                said
                for prompt, text, own_ids in zip(prompts, completions, ids)
                for said in apart(
                    [completion(text, own_ids, ends, limit, self.stop)], prompt if isinstance(prompt, str) else opening
                )
            ]
            if own is None:
                verdicts = [judge_one(verifier, problem, said) for problem, said in zip(asked, drawn)]
                paid = [verdict.reward for verdict in verdicts]
            else:
                paid = _called(own, prompts=prompts, completions=completions, completion_ids=completion_ids, **columns)
                verdicts = [scale.verdict(value) for value in paid]
            if not self._model.training:  # evaluation: nothing is trained on it
                return paid
            samples = list(self._samples(asked, drawn, verdicts, paid, columns["trainer_state"].global_step))
            if pay is not None:
                samples = [replace(sample, reward=pay(sample)) for sample in samples]
            self._keep(samples, asked, others)
            self._report(samples, columns.get("log_metric"), 1.0 if threshold is None else threshold)
            return [sample.reward for sample in samples] if own is None or pay is not None else paid

        recorded.__name__ = name
        return recorded

    def _opening(self) -> str:
        """Return a chat as the template renders it up to the answer: it may begin a thought."""
        if not self._rows.chat or not getattr(self._tokenizer, "chat_template", None):
            return ""
        options = getattr(self._args, "chat_template_kwargs", None) or {}
        turn = [{"role": "user", "content": "?"}]
        return str(self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **options))

    def _ends(self) -> set[int]:
        tokenizer = getattr(self._tokenizer, "tokenizer", self._tokenizer)  # a processor carries one
        generation = getattr(self._model, "generation_config", None)
        ends = [tokenizer.eos_token_id, tokenizer.pad_token_id, getattr(generation, "eos_token_id", None)]
        return {i for end in ends if end is not None for i in (end if isinstance(end, list) else [end])}

    def _samples(
        self,
        asked: Sequence[Problem],
        drawn: Sequence[Completion],
        verdicts: Sequence[Verdict],
        paid: Sequence[float | None],
        step: int,
    ) -> Iterator[Sample]:
        """Yield this process's rows. TRL's groups are `num_generations` consecutive rows over all processes, so one may
        lie on two of them; gradient accumulation may draw several batches within a step.
        """
        if step != self._step:
            self._step, self._batches = step, 0
        first = (self._batches * self._args.world_size + self._args.process_index) * len(asked)
        self._batches += 1
        policy, params = content_hash(["trl", self.run, step]), self._params_id()
        for row, (problem, said, verdict, reward) in enumerate(zip(asked, drawn, verdicts, paid, strict=True), first):
            yield Sample(
                problem=problem.id,
                policy=policy,
                params=params,
                seed=int(self._args.seed),
                index=row,
                completion=said,
                verdict=verdict,
                task=problem.task,
                run=self.run,
                reward=None if reward is None or reward != reward else float(reward),
                step=step,
                group=row // self._args.num_generations,
            )

    def _keep(self, samples: Sequence[Sample], asked: Sequence[Problem], others: Sequence[Verifier]) -> None:
        self._new |= {problem.id: problem for problem in asked if problem.id not in self._rows.known}
        self._rows.known |= self._new
        self._writer.write(samples)
        if time.monotonic() - self._told > self._writer.block_seconds:
            self._tell_problems()
        self._state_params(self._params_id(), {"other": self._other()} if self._other() else {})
        for other in others:
            self._writer.write_verdicts(
                [(sample, judge_one(other, problem, sample.completion)) for sample, problem in zip(samples, asked)]
            )

    def _report(self, samples: Sequence[Sample], log_metric: Any, right: float) -> None:
        """Report the groups of the batch to TRL's log, over all processes, whatever TRL scales rewards by."""
        nan = float("nan")
        mine = [
            (nan if s.reward is None else s.reward, len(s.completion.tokens or ()), s.completion.finish)
            for s in samples
        ]
        rows = gather_object(mine)  # on every process at the same point: TRL itself gathers the rewards next
        reward_PG = torch.tensor([row[0] for row in rows], dtype=torch.float64).view(-1, self._args.num_generations)
        states = group_states(reward_PG, right)
        shares = {name: float(part.double().mean()) for name, part in vars(states).items()}
        self._drawn = {
            "step": self._step,
            "reward": float(reward_PG.nanmean()),
            "mixed": shares["mixed"],
            "all_wrong": shares["all_wrong"],
            "all_correct": shares["all_correct"],
            "unjudged": float(reward_PG.isnan().double().mean()),
            "groups": len(reward_PG),
            "length": sum(row[1] for row in rows) / len(rows),
            "truncated": sum(row[2] == "length" for row in rows) / len(rows),
            "tokens": sum(row[1] for row in rows),
        }
        if log_metric is not None:
            for name, share in shares.items():
                log_metric(f"groups/{name}", share)
            if self.looks and self.looks[-1].step == self._step:
                log_metric("probe/pass@1", self.looks[-1].c / self.looks[-1].n)
                log_metric("probe/unjudged", self.looks[-1].unjudged / self.looks[-1].n)

    # --- the callback

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the trainer's settings; refuse another number of processes than was asked for."""
        self._take(args, kwargs)
        if self.processes is not None and args.world_size != self.processes:
            raise InputError(
                f"{args.world_size} process(es) take part, {self.processes} were asked for. `accelerate launch --cpu` "
                "silently starts one; torchrun --nproc-per-node N starts N"
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the run in the store, and look at the probe set for the first time."""
        self._take(args, kwargs)
        if self._judge is None:
            raise InputError(
                "recorder: no reward function is recorded; give GRPOTrainer recorder.reward(your_function)"
            )
        if self._probe and self._sharded():
            raise InputError(
                "recorder: the probe needs the whole model on every process, and FSDP or ZeRO-3 shards it; leave the "
                "probe out and sample the checkpoints (goldpanner sample)"
            )
        there, record = self.store.get("runs", self.run), self._record()
        if there is not None and there.get("finished", True):
            raise InputError(f"{self.store.root} holds a finished run {self.run!r}; give this one another name")
        if there is not None and there.get("trl", record["trl"]) != record["trl"]:
            raise InputError(f"{self.store.root} holds a run {self.run!r} with other settings; give another name")
        gather_object([0])  # nobody writes the record before all have read it
        if args.process_index == 0:
            self.store.put("runs", self.run, {**(there or {}), **record, "finished": False})
        atexit.register(self._flush)
        if state.global_step == 0:
            self._look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the probe set every `every` steps."""
        if state.global_step % self.every == 0:
            self._look(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Hand the numbers of a step on to `notify`."""
        if self.notify is not None and args.process_index == 0 and self._drawn and "loss" in (logs or {}):
            self.notify({**self._drawn, "step": state.global_step - 1, "logs": dict(logs or {})})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Make durable what was drawn before a checkpoint."""
        self._flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the probe set for the last time and close the run."""
        if not self.looks or self.looks[-1].step != state.global_step:
            self._look(state.global_step)
        self._flush()
        atexit.unregister(self._flush)
        gather_object([0])
        if args.process_index == 0:
            self.store.put("runs", self.run, {**(self.store.get("runs", self.run) or {}), "finished": True})

    def _take(self, args: Any, given: Mapping[str, Any]) -> None:
        self._args = args
        self._model = given.get("model") or self._model
        self._tokenizer = given.get("processing_class") or self._tokenizer

    def _check_attached(self) -> None:
        if self._args is None:
            raise InputError("recorder: the trainer does not know it; pass it on, GRPOTrainer(callbacks=[recorder])")

    def _look(self, step: int) -> None:
        """Sample the probe problems that fall to this process from the model as it is; nothing of torch's own
        randomness is used, so training goes on as it would have.
        """
        if not self._probe or self._judge is None:
            return
        rank, world = self._args.process_index, self._args.world_size
        policy = LocalPolicy(self._model, self._tokenizer, name=f"{self.run}@{step}")
        problems, seed, seen = self._probe[rank::world], int(self._args.seed), []
        params = self._probe_params = self._probe_params or self._params()  # fixed, whatever rows are met later
        self._state_params(params.hash, {})
        for group in rollout(
            policy, problems, [self._judge], params, n=self.samples, seed=seed, sink=self._writer, run=self.run
        ):
            outcomes = [sample.verdict.outcome for sample in group]
            seen.append((len(group), outcomes.count(Outcome.CORRECT), outcomes.count(Outcome.UNJUDGED)))
        n, c, unjudged = map(sum, zip(*gather_object(seen)))
        look = Looked(step, policy.id, n, c, unjudged)
        self.looks.append(look)
        if rank == 0:
            self.store.put("policies", policy.id, {**policy.describe(), "run": self.run, "step": step})
            if self.notify is not None:
                self.notify({"probe": asdict(look)})

    def _params(self) -> SamplingParams:
        """Return how TRL draws, and the probe with it."""
        a = self._args
        template = self.template or ("chat" if self._rows.chat else "{prompt}")
        top_p = 1.0 if a.top_p is None else a.top_p
        return SamplingParams(a.temperature, top_p, a.top_k or 0, a.max_completion_length, self.stop, template)

    def _state_params(self, name: str, more: Mapping[str, Any]) -> None:
        if self._args.process_index == 0 and name not in self._stated:
            self._stated.add(name)
            self.store.put("params", name, {**asdict(self._params()), **more})

    def _params_id(self) -> str:
        base, other = self._params(), self._other()
        return content_hash([base.hash, other], 12) if other else base.hash

    def _other(self) -> dict[str, Any]:
        values = {name: getattr(self._args, name, neutral) for name, neutral in NEUTRAL.items()}
        return {name: value for name, value in values.items() if value != NEUTRAL[name] and value != {}}

    def _record(self) -> dict[str, Any]:
        names = ("learning_rate", "beta", "loss_type", "scale_rewards", "num_generations", "num_iterations")
        settings = {name: getattr(self._args, name, None) for name in names}
        return {"stage": "grpo", "engine": "trl", "label": self.run, "seed": self._args.seed,
                "processes": self._args.world_size, "trl": settings}  # fmt: skip

    def _sharded(self) -> bool:
        return bool(AcceleratorState().distributed_type == DistributedType.FSDP or is_deepspeed_zero3_enabled())

    def _flush(self) -> None:
        self._tell_problems()
        self._writer.flush()

    def _tell_problems(self) -> None:
        """Put the problems met since the last time into the store, as one batch."""
        if self._new:
            self.store.put_problems(self._new.values())
        self._new, self._told = {}, time.monotonic()


def _called(function: RewardFunction, **arguments: Any) -> list[float | None]:
    """Return what a reward function, async or not, says."""
    result = function(**arguments)
    if inspect.isawaitable(result):

        async def wait() -> Any:
            return await result

        result = asyncio.run(wait())
    return list(result)
