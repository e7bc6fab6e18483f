"""Every rollout of TRL's GRPOTrainer into a store, the states of its groups, and a fixed probe set every N steps.

Only what TRL documents is used: a reward function that wraps yours, and a TrainerCallback. Three lines in your script:

    from goldpanner import Recorder
    recorder = Recorder("runs/mine", "first-try", probe=list(heldout), every=50)
    trainer = GRPOTrainer(..., reward_funcs=recorder.reward(my_reward), callbacks=[recorder])
"""

import atexit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import is_deepspeed_zero3_enabled

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.policies.local import LocalPolicy
from goldpanner.sampling.rollout import judge, rollout
from goldpanner.store import Store
from goldpanner.store.schema import PolicyRecord, RunRecord
from goldpanner.train.finite import check_gradients
from goldpanner.train.reward import Payment, UnjudgedBudget
from goldpanner.train.trl.paid import paid, rehearse_batch
from goldpanner.train.trl.rollout_log import GroupStats, RolloutLog, group_stats
from goldpanner.train.trl.rows import AsTrained, Rows, completion
from goldpanner.types import Completion, Outcome, Problem, SamplingParams
from goldpanner.verify import Verifier
from goldpanner.verify.answer_part import apart
from goldpanner.verify.reward import Reward, RewardFunction

try:
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType, gather_object
except ImportError:
    raise MissingExtraError("training by TRL", "trl") from None


@dataclass(frozen=True)
class ProbeLook:
    """One measurement of the probe set, all processes together."""

    step: int
    """Optimizer steps done."""
    policy: str
    """Id under which the samples are stored."""
    n: int
    c: int
    unjudged: int


@dataclass(frozen=True)
class StepLog:
    """One optimizer step as the trainer logged it."""

    step: int
    """From 0."""
    groups: GroupStats
    logs: Mapping[str, float]
    """TRL's own numbers, by its names."""


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
        probe: Sequence[Problem | Mapping[str, object]] = (),
        every: int = 50,
        samples: int = 16,
        template: str | None = None,
        stop: tuple[str, ...] = (),
        processes: int | None = None,
        notify: Callable[[StepLog | ProbeLook], None] | None = None,
        budget: float = 0.05,
        rehearsal: bool = True,
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
            notify: called in the main process with each logged step, and with each look.
            budget: share of completions that may be without a reward through no doing of the model's; more stop the run
                (`UnjudgedBudget`).
            rehearsal: try a reward function that pays the whole first batch alike on known answers; one that pays these
                alike, too, is an error. False for a constant reward that is a control.

        Raises InputError on `every` or `samples` below 1.
        """
        if every < 1 or samples < 1:
            raise InputError(f"recorder: every is {every} and samples {samples}; give numbers >= 1")
        self.store = store if isinstance(store, Store) else Store(store)
        self.run = run
        self.every, self.samples, self.stop, self.template = every, samples, stop, template
        self.processes, self.notify, self.rehearsal = processes, notify, rehearsal
        self.looks: list[ProbeLook] = []
        texts = problems if problems is not None else self.store.problems() if self.store.root.is_dir() else {}
        self._rows = Rows(task, answer, dict(texts))
        self._probe = [row if isinstance(row, Problem) else self._rows.probe_problem(row) for row in probe]
        self._log = RolloutLog(self.store, run, texts, self._probe)
        self._budget = UnjudgedBudget(budget)
        self._verifier: Verifier | None = None
        self._args: Any = None
        self._model: Any = None
        self._tokenizer: Any = None
        self._groups: GroupStats | None = None
        self._probe_params: SamplingParams | None = None

    # --- the reward function

    def reward(
        self,
        source: Verifier | RewardFunction,
        *others: Verifier,
        threshold: float | None = None,
        pay: Payment | None = None,
    ) -> RewardFunction:
        """Return a reward function for TRL that pays what `source` says and records each completion.

        Args:
            source: a verifier (it pays `Verdict.reward`), or a function with TRL's signature, which is called exactly
                as TRL calls it and whose numbers are passed on. As a verdict a number is CORRECT if it is 1, or at
                least `threshold`; None, or any other number without a threshold, is UNJUDGED.
            others: verifiers whose verdicts are stored beside it.
            threshold: the smallest number that counts as correct.
            pay: gives another reward than the verdict's, told the verdicts of `source` and of all `others`.

        Raises:
            InputError: a second call: one reward decides which groups are mixed. The function that is returned raises
                it where `source` fails, or gives anything but a finite number or None for each completion, and where
                more completions than the budget allows are without a reward.
        """
        if self._verifier is not None:
            raise InputError(
                "recorder: reward() was called twice; wrap the one function that says correct or wrong, and give the "
                "others to GRPOTrainer as they are"
            )
        function: RewardFunction | None = None
        if isinstance(source, Verifier):
            name, verifier = source.id.split("@")[0], source
        else:
            scale = Reward(source, threshold, conversational=self._rows.chat, whole=True)
            function, name = source, getattr(source, "__name__", type(source).__name__)
            verifier = AsTrained(scale, self._rows.columns)
        self._verifier = verifier

        def recorded(prompts: Any, completions: Any, completion_ids: Any = None, **columns: Any) -> list[float | None]:
            self._check_attached()
            problems = [self._rows.problem(i, prompt, columns) for i, prompt in enumerate(prompts)]
            answers = self._completions(prompts, completions, completion_ids)
            if function is None:
                verdicts = [judge(verifier, problem, answer) for problem, answer in zip(problems, answers)]
                rewards = [verdict.reward for verdict in verdicts]
            else:
                rewards = paid(
                    function, prompts=prompts, completions=completions, completion_ids=completion_ids, **columns
                )
                verdicts = [scale.verdict(value) for value in rewards]
            if not self._model.training:  # evaluation: nothing is trained on it
                return rewards
            args, params, step = self._args, self._params(), columns["trainer_state"].global_step
            samples = self._log.samples(args, params, step, problems, answers, verdicts, rewards)
            beside = [[judge(other, problem, answer) for problem, answer in zip(problems, answers)] for other in others]
            if pay is not None:
                rows = zip(samples, zip(verdicts, *beside, strict=True), strict=True)
                samples = [replace(sample, reward=pay(sample, row)) for sample, row in rows]
            elif function is not None and self._groups is None and self.rehearsal:
                rehearse_batch(function, rewards, problems, prompts, completions, completion_ids, columns)
            self._log.write(args, params, samples, problems, beside)
            self._budget.add(samples)
            self._groups = group_stats(samples, args.num_generations, 1.0 if threshold is None else threshold)
            self._report(step, columns.get("log_metric"))
            return [sample.reward for sample in samples] if function is None or pay is not None else rewards

        recorded.__name__ = name
        return recorded

    def _completions(self, prompts: Any, completions: Any, completion_ids: Any) -> list[Completion]:
        """Return what TRL drew up to a stop, with the part that counts as the answer."""
        ids = [None] * len(completions) if completion_ids is None else completion_ids
        ends, limit, opening = self._ends(), self._args.max_completion_length, self._opening()
        return [
            answer
            for prompt, content, own_ids in zip(prompts, completions, ids)
            for answer in apart(
                [completion(content, own_ids, ends, limit, self.stop)], prompt if isinstance(prompt, str) else opening
            )
        ]

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

    def _report(self, step: int, log_metric: Callable[[str, float], None] | None) -> None:
        """Put the states of the groups, and the last look, into TRL's log."""
        if log_metric is None or self._groups is None:
            return
        for name in ("mixed", "all_wrong", "all_correct"):
            log_metric(f"groups/{name}", getattr(self._groups, name))
        log_metric("groups/unjudged", self._groups.unjudged_groups)
        if self.looks and self.looks[-1].step == step:
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
        if self._verifier is None:
            raise InputError(
                "recorder: no reward function is recorded; give GRPOTrainer recorder.reward(your_function)"
            )
        if self._probe and self._sharded():
            raise InputError(
                "recorder: the probe needs the whole model on every process, and FSDP or ZeRO-3 shards it; leave the "
                "probe out and sample the checkpoints (goldpanner sample)"
            )
        there, record = self.store.get(RunRecord, self.run), self._record()
        if there is not None and there.finished:
            raise InputError(f"{self.store.root} holds a finished run {self.run!r}; give this one another name")
        if there is not None and there.trl not in (None, record.trl):
            raise InputError(f"{self.store.root} holds a run {self.run!r} with other settings; give another name")
        gather_object([0])  # nobody writes the record before all have read it
        if args.process_index == 0:
            changes = {"seed": record.seed, "processes": record.processes, "trl": record.trl, "finished": False}
            self.store.put((there or record).model_copy(update=changes))
        atexit.register(self._log.flush)
        if state.global_step == 0:
            self._look(0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop before a step whose gradient is not finite; in fp16 the gradient's scaler skips such a step itself."""
        if not args.fp16:
            check_gradients(self._model, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """ProbeLook at the probe set every `every` steps."""
        if state.global_step % self.every == 0:
            self._look(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Hand the numbers of a step on to `notify`."""
        if self.notify is not None and args.process_index == 0 and self._groups and logs and "loss" in logs:
            self.notify(StepLog(state.global_step - 1, self._groups, dict(logs)))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Make durable what was drawn before a checkpoint."""
        self._log.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """ProbeLook at the probe set for the last time and close the run."""
        if not self.looks or self.looks[-1].step != state.global_step:
            self._look(state.global_step)
        self._log.flush()
        atexit.unregister(self._log.flush)
        gather_object([0])
        if args.process_index == 0:
            record = self.store.get(RunRecord, self.run) or self._record()
            self.store.put(record.model_copy(update={"finished": True}))

    def _take(self, args: Any, values: Mapping[str, object]) -> None:
        self._args = args
        self._model = values.get("model") or self._model
        self._tokenizer = values.get("processing_class") or self._tokenizer

    def _check_attached(self) -> None:
        if self._args is None:
            raise InputError("recorder: the trainer does not know it; pass it on, GRPOTrainer(callbacks=[recorder])")

    def _look(self, step: int) -> None:
        """Sample the probe problems that fall to this process from the model as it is; nothing of torch's own
        randomness is used, so training goes on as it would have.
        """
        if not self._probe or self._verifier is None:
            return
        rank, world = self._args.process_index, self._args.world_size
        policy = LocalPolicy(self._model, self._tokenizer, name=f"{self.run}@{step}")
        params = self._probe_params = self._probe_params or self._params()  # fixed, whatever rows are met later
        self._log.write_params(self._args, params, params.hash, {})
        counts = []
        for group in rollout(
            policy, self._probe[rank::world], [self._verifier], params, n=self.samples, seed=int(self._args.seed),
            sink=self._log.writer, run=self.run,
        ):  # fmt: skip
            outcomes = [sample.verdict.outcome for sample in group]
            counts.append((len(group), outcomes.count(Outcome.CORRECT), outcomes.count(Outcome.UNJUDGED)))
        look = ProbeLook(step, policy.id, *map(sum, zip(*gather_object(counts))))
        self.looks.append(look)
        if rank == 0:
            self.store.put(PolicyRecord.of(policy.describe(), run=self.run, step=step))
            if self.notify is not None:
                self.notify(look)

    def _params(self) -> SamplingParams:
        """Return how TRL draws, and the probe with it."""
        a = self._args
        template = self.template or ("chat" if self._rows.chat else "{prompt}")
        top_p = 1.0 if a.top_p is None else a.top_p
        return SamplingParams(a.temperature, top_p, a.top_k or 0, a.max_completion_length, self.stop, template)

    def _record(self) -> RunRecord:
        """Return the record of the run while it is under way."""
        names = ("learning_rate", "beta", "loss_type", "importance_sampling_level", "scale_rewards", "num_generations",
                 "num_iterations")  # fmt: skip
        settings = {name: getattr(self._args, name, None) for name in names}
        return RunRecord(
            id=self.run, stage="grpo", engine="trl", label=self.run, seed=self._args.seed, policy=None, parent=None,
            parent_policy=None, config={}, processes=self._args.world_size, trl=settings, finished=False,
        )  # fmt: skip

    def _sharded(self) -> bool:
        return bool(AcceleratorState().distributed_type == DistributedType.FSDP or is_deepspeed_zero3_enabled())
