"""What GRPOTrainer draws in this process, as samples in a store; and the states of its groups over all processes."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from goldpanner.errors import MissingExtraError
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord
from goldpanner.train.groups import group_states
from goldpanner.types import Cause, Completion, Problem, Sample, SamplingParams, Verdict, content_hash

try:
    from accelerate.utils import gather_object
except ImportError:
    raise MissingExtraError("training by TRL", "trl") from None

NEUTRAL = {"min_p": None, "repetition_penalty": 1.0, "generation_kwargs": None}
"""Settings of GRPOConfig that change what is drawn and have no place in SamplingParams."""


@dataclass(frozen=True)
class GroupStats:
    """The groups of one batch over all processes; field names and meanings are `RolloutStats`'s."""

    reward: float
    mixed: float
    all_wrong: float
    all_correct: float
    unjudged: float
    withheld: float
    unanswered: float
    groups: int
    length: float
    truncated: float
    tokens: int
    unjudged_groups: float
    """Share of groups without a judged member."""


class RolloutLog:
    """Writes the rollouts of one run. `args` is the trainer's GRPOConfig."""

    def __init__(self, store: Store, run: str, problems: Mapping[str, Problem], new: Iterable[Problem]) -> None:
        """Open the log.

        Args:
            store: where the samples go.
            run: name of the run.
            problems: problems by id whose texts the store need not be given.
            new: problems whose texts it is given with the first rollouts.
        """
        self.store, self.run = store, run
        self.writer = store.writer()
        self._problems = dict(problems)
        self._new = {problem.id: problem for problem in new}
        self._saved_at = time.monotonic()
        self._step, self._batches = -1, 0
        self._params: set[str] = set()
        """Hashes of sampling parameters that the store has."""

    def samples(
        self,
        args: Any,
        params: SamplingParams,
        step: int,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        verdicts: Sequence[Verdict],
        rewards: Sequence[float | None],
    ) -> list[Sample]:
        """Return this process's rows of a batch as samples, with their places in the step.

        TRL's groups are `num_generations` consecutive rows over all processes, so one may lie on two of them; gradient
        accumulation may draw several batches within a step.

        Args:
            args: TRL's settings.
            params: how the completions were drawn.
            step: TRL's step.
            problems: problem of each row.
            completions: completion of each row.
            verdicts: verdict of each row.
            rewards: reward of each row; None: none was given.
        """
        if step != self._step:
            self._step, self._batches = step, 0
        first = (self._batches * args.world_size + args.process_index) * len(problems)
        self._batches += 1
        policy, params_id = content_hash(["trl", self.run, step]), _params_id(args, params)
        rows = zip(problems, completions, verdicts, rewards, strict=True)
        return [
            Sample(
                problem=problem.id,
                policy=policy,
                params=params_id,
                seed=int(args.seed),
                index=row,
                completion=completion,
                verdict=verdict,
                task=problem.task,
                run=self.run,
                reward=None if reward is None or reward != reward else float(reward),
                step=step,
                group=row // args.num_generations,
            )
            for row, (problem, completion, verdict, reward) in enumerate(rows, first)
        ]

    def write(
        self,
        args: Any,
        params: SamplingParams,
        samples: Sequence[Sample],
        problems: Sequence[Problem],
        verdicts: Sequence[Sequence[Verdict]],
    ) -> None:
        """Write samples, their problems, how they were drawn, and the verdicts of further verifiers.

        Args:
            args: TRL's settings.
            params: how the samples were drawn.
            samples: samples of this process.
            problems: problem of each sample.
            verdicts: those of each further verifier on all samples, stored beside the first one's.
        """
        self._new |= {problem.id: problem for problem in problems if problem.id not in self._problems}
        self._problems |= self._new
        self.writer.write(samples, [pair for row in verdicts for pair in zip(samples, row, strict=True)])
        if time.monotonic() - self._saved_at > self.writer.block_seconds:
            self._write_problems()
        self.write_params(args, params, _params_id(args, params), _other_settings(args))

    def write_params(self, args: Any, params: SamplingParams, name: str, other: Mapping[str, object]) -> None:
        """Write sampling parameters once, under `name`, from the main process."""
        if args.process_index == 0 and name not in self._params:
            self._params.add(name)
            self.store.put(ParamsRecord.of(params).model_copy(update={"id": name, "other": other}))

    def flush(self) -> None:
        """Make durable what was written."""
        self._write_problems()
        self.writer.flush()

    def _write_problems(self) -> None:
        """Put the problems met since the last time into the store, as one batch."""
        if self._new:
            self.store.put_problems(self._new.values())
        self._new, self._saved_at = {}, time.monotonic()


def group_stats(samples: Sequence[Sample], size: int, threshold: float) -> GroupStats:
    """Return the states of a batch's groups of `size` over all processes, whatever TRL scales rewards by.

    `threshold` is the smallest reward that counts as correct. Call it in every process at the same point.
    """
    rows = gather_object(
        [
            (
                float("nan") if s.reward is None else s.reward,
                len(s.completion.tokens or ()),
                s.completion.finish,
                s.verdict.cause,
            )
            for s in samples
        ]
    )
    reward_PG = torch.tensor([reward for reward, *_ in rows], dtype=torch.float64).view(-1, size)
    states = group_states(reward_PG, threshold)
    tokens = sum(length for _, length, *_ in rows)
    return GroupStats(
        reward=float(reward_PG.nanmean()),
        mixed=float(states.mixed.double().mean()),
        all_wrong=float(states.all_wrong.double().mean()),
        all_correct=float(states.all_correct.double().mean()),
        unjudged=float(reward_PG.isnan().double().mean()),
        withheld=sum(cause is Cause.WITHHELD for *_, cause in rows) / len(rows),
        unanswered=sum(cause is Cause.MODEL for *_, cause in rows) / len(rows),
        groups=len(reward_PG),
        length=tokens / len(rows),
        truncated=sum(finish == "length" for _, _, finish, _ in rows) / len(rows),
        tokens=tokens,
        unjudged_groups=float(states.unjudged.double().mean()),
    )


def _params_id(args: Any, params: SamplingParams) -> str:
    """Return the hash of all that decides how TRL draws."""
    other = _other_settings(args)
    return content_hash([params.hash, other], 12) if other else params.hash


def _other_settings(args: Any) -> dict[str, object]:
    values = {name: getattr(args, name, neutral) for name, neutral in NEUTRAL.items()}
    return {name: value for name, value in values.items() if value != NEUTRAL[name] and value != {}}
