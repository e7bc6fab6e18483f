"""Rejection fine-tuning (RFT): supervised training on those of a policy's own completions that were right.

`keep_right` and `to_rows` take any samples, such as the rollouts that an RL run stored; `rft` draws its own, round by
round. (Yuan et al. 2023, arXiv:2308.01825; in several rounds RAFT, arXiv:2304.06767.)
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.sampling.rollout import judge
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.config import RFTConfig
from goldpanner.train.rlvr import Prompts, RolloutRecord, Writer, describe, draw, reward_verifiers
from goldpanner.train.rows import Row
from goldpanner.train.supervised import epochs, supervised
from goldpanner.types import Problem, Sample
from goldpanner.verify import Verifier


def keep_right(
    samples: Iterable[Sample],
    *,
    distinct: bool = True,
    per_problem: int | None = None,
    verifier: Verifier | None = None,
    problems: Mapping[str, Problem] | None = None,
    seed: int = 0,
) -> list[Sample]:
    """Return the CORRECT samples, in the order given.

    `distinct` keeps a problem's equal completions once. `per_problem` keeps that many of a problem at most, chosen at
    random by `seed`. With `verifier` the samples are judged anew (`problems` by id are needed): process instead of
    answer, say, without sampling again. Raises InputError if a problem is missing.
    """
    if verifier is not None:
        texts = problems or {}
        samples = [
            replace(sample, verdict=judge(verifier, _problem(texts, sample), sample.completion)) for sample in samples
        ]
    by_problem: dict[str, dict[Any, tuple[int, Sample]]] = {}
    for place, sample in enumerate(samples):
        if sample.verdict.correct:
            content = (sample.completion.tokens or sample.completion.text) if distinct else place
            by_problem.setdefault(sample.problem, {}).setdefault(content, (place, sample))
    kept: list[tuple[int, Sample]] = []
    for problem, found in by_problem.items():
        right = list(found.values())
        if per_problem is not None and len(right) > per_problem:
            chosen = rng.stream("rft/per-problem", seed, problem).choice(len(right), per_problem, replace=False)
            right = [right[i] for i in chosen]
        kept += right
    return [sample for _, sample in sorted(kept, key=lambda pair: pair[0])]


def to_rows(
    samples: Sequence[Sample], problems: Mapping[str, Problem], policy: LocalPolicy, template: str = "{prompt}"
) -> list[Row]:
    """Return samples as token rows for `supervised`: the very tokens that were drawn (the text's, where a sample has
    none), after the prompt in `template`. Raises InputError if a problem is missing.
    """
    prompts = {
        sample.problem: policy.encode_prompt(_problem(problems, sample), template)
        for sample in {sample.problem: sample for sample in samples}.values()
    }
    return [
        Row(prompts[sample.problem], policy.encode_response(sample.completion.tokens or sample.completion.text))
        for sample in samples
    ]


def rft(
    model: Any,
    tokenizer: Any,
    tasks: Mapping[str, Prompts],
    config: RFTConfig,
    *,
    sink: Writer | None = None,
    run: str = "",
    checkpoint: Path | None = None,
    asked: Callable[[Sequence[Problem]], object] | None = None,
    sampler: LocalPolicy | None = None,
) -> Iterator[RolloutRecord]:
    """Sample from the model, keep what is right, fine-tune the model on it in place; yield a record per round.

    With `sampler` the rollouts are drawn from another policy, which stays as it is (DeepSeek-R1's third stage tunes the
    base on what the RL model got right).

    The record's `loss` and `grad_norm` are those of the round's last step of fine-tuning. A round in which nothing was
    right changes nothing. Rollouts are stored as `rlvr` stores them. With `checkpoint`, a run that was killed goes on
    after its last whole round.
    """
    rollouts = config.rollouts()
    verifiers = reward_verifiers(tasks, config)
    policy = LocalPolicy(model, tokenizer)
    identity = {
        "stage": "rft",
        **{f"config.{name}": value for name, value in config.model_dump(mode="json").items()},
        "reward": verifiers[0].id,
        "initial weights": policy.id,
        "sampler": sampler.id if sampler else None,
    }
    keeper = Checkpoint(checkpoint, 1, identity)
    records = keeper.restore(model, [])
    yield from (RolloutRecord(**record) for record in records)
    for step in range(len(records), config.rounds):
        started = time.perf_counter()
        texts: dict[str, Problem] = {}

        def hear(problems: Sequence[Problem], texts: dict[str, Problem] = texts) -> None:
            texts.update((problem.id, problem) for problem in problems)
            if asked is not None:
                asked(problems)

        drawn, _ = draw(sampler or policy, tasks, verifiers, rollouts, step, sink, run, hear)
        sampled = time.perf_counter()
        kept = keep_right(
            (sample for group in drawn.samples for sample in group),
            distinct=config.distinct,
            per_problem=config.per_problem,
            seed=config.seed,
        )
        loss = norm = 0.0
        if kept:
            training = config.training.model_copy(update={"seed": rng.seed_for("rft/order", config.seed, step)})
            rows = to_rows(kept, texts, policy, config.template)
            for done in supervised(model, tokenizer, epochs(rows, training), training):
                loss, norm = done.loss, done.grad_norm
        record = RolloutRecord(
            step=step,
            **describe(drawn),
            loss=loss,
            grad_norm=norm,
            kl=None,
            clipped=0.0,
            sampling_seconds=sampled - started,
            seconds=time.perf_counter() - started,
        )
        records.append(asdict(record))
        if sink is not None:
            sink.flush()
        keeper.save(model, [], records)
        yield record


def _problem(problems: Mapping[str, Problem], sample: Sample) -> Problem:
    if sample.problem not in problems:
        raise InputError(f"the text of problem {sample.problem} is not known; give it with the others in `problems`")
    return problems[sample.problem]
