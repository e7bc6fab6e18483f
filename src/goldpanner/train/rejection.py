"""Rejection fine-tuning (RFT): supervised training on those of a policy's own completions that were correct.

`keep_correct` and `to_rows` take any samples, such as the rollouts that an RL run stored; `rft` draws its own, round by
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
from goldpanner.progress import Notify, silent
from goldpanner.sampling.rollout import judge
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.config import RFTConfig
from goldpanner.train.metrics import Metrics
from goldpanner.train.reward import Prompts, UnjudgedBudget, reward_verifiers
from goldpanner.train.rlvr import (
    RolloutRecord,
    RolloutSink,
    UpdateStats,
    describe,
    draw_groups,
)
from goldpanner.train.rows import TokenRow
from goldpanner.train.supervised import epochs, supervised
from goldpanner.types import Problem, Sample
from goldpanner.verify import Verifier


def keep_correct(
    samples: Iterable[Sample],
    *,
    distinct: bool = True,
    per_problem: int | None = None,
    verifier: Verifier | None = None,
    problems: Mapping[str, Problem] | None = None,
    seed: int = 0,
) -> list[Sample]:
    """Return the CORRECT samples, in their order.

    Args:
        samples: of any problems, such as the rollouts of an RL run.
        distinct: keep a problem's equal completions once.
        per_problem: keep at most so many of a problem, drawn at random.
        verifier: judge the samples anew (process instead of answer, say); None: by their stored verdicts.
        problems: by id; only `verifier` needs them.
        seed: of the draw.

    Raises:
        InputError: a problem is missing.
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
    selection: list[tuple[int, Sample]] = []
    for problem, by_content in by_problem.items():
        correct = list(by_content.values())
        if per_problem is not None and len(correct) > per_problem:
            places = rng.stream("rft/per-problem", seed, problem).choice(len(correct), per_problem, replace=False)
            correct = [correct[i] for i in places]
        selection += correct
    return [sample for _, sample in sorted(selection, key=lambda pair: pair[0])]


def to_rows(
    samples: Sequence[Sample], problems: Mapping[str, Problem], policy: LocalPolicy, template: str = "{prompt}"
) -> list[TokenRow]:
    """Return samples as token rows for `supervised`: their own tokens (the text's, where a sample has none) after the
    prompt in `template`. Raises InputError if a problem is missing.
    """
    prompts = {
        sample.problem: policy.encode_prompt(_problem(problems, sample), template)
        for sample in {sample.problem: sample for sample in samples}.values()
    }
    return [
        TokenRow(prompts[sample.problem], policy.encode_response(sample.completion.tokens or sample.completion.text))
        for sample in samples
    ]


def rft(
    model: Any,
    tokenizer: Any,
    tasks: Mapping[str, Prompts],
    config: RFTConfig,
    *,
    sink: RolloutSink | None = None,
    run: str = "",
    checkpoint: Path | None = None,
    on_problems: Callable[[Sequence[Problem]], object] | None = None,
    sampler: LocalPolicy | None = None,
    metrics: Metrics | None = None,
    notify: Notify = silent,
) -> Iterator[RolloutRecord]:
    """Sample from the model, keep the correct completions, fine-tune the model on them in place; yield a record per
    round.

    The record's `loss` and `grad_norm` are those of the round's last step of fine-tuning. A round without a correct
    completion changes nothing.

    Args:
        model, tokenizer, tasks, sink, run, on_problems, metrics, notify: as in `rlvr`.
        config: the rounds of sampling, and the fine-tuning.
        checkpoint: a file from which a run that was killed goes on after its last whole round.
        sampler: draw the rollouts from this policy, which stays as it is (DeepSeek-R1's third stage tunes the base on
            the RL model's correct answers); None: from the model itself.

    Raises:
        InputError: an unknown reward, or a checkpoint of another run.
        NotFiniteError: the fine-tuning's losses or gradients stay non-finite; the last round's checkpoint is kept.
    """
    sampling = config.rollouts()
    verifiers = reward_verifiers(tasks, config)
    policy = LocalPolicy(model, tokenizer)
    identity = {
        "stage": "rft",
        **{f"config.{name}": value for name, value in config.model_dump(mode="json").items()},
        "reward": verifiers[0].id,
        "initial weights": policy.id,
        "sampler": sampler.id if sampler else None,
    }
    keeper = Checkpoint(checkpoint, 1, identity, config.checkpoints, metrics, notify)
    budget = UnjudgedBudget(config.unjudged_budget)
    records = keeper.restore(model, [], RolloutRecord)
    yield from records
    for step in range(len(records), config.rounds):
        started = time.perf_counter()
        texts: dict[str, Problem] = {}

        def remember(problems: Sequence[Problem], texts: dict[str, Problem] = texts) -> None:
            texts.update((problem.id, problem) for problem in problems)
            if on_problems is not None:
                on_problems(problems)

        rollouts, _ = draw_groups(sampler or policy, tasks, verifiers, sampling, step, sink, run, remember)
        sampling_seconds = time.perf_counter() - started
        budget.add(sample for group in rollouts.samples for sample in group)
        correct = keep_correct(
            (sample for group in rollouts.samples for sample in group),
            distinct=config.distinct,
            per_problem=config.per_problem,
            seed=config.seed,
        )
        changes = UpdateStats()
        if correct:
            changes = _fine_tune(policy, to_rows(correct, texts, policy, config.template), config, step)
        record = RolloutRecord(
            **asdict(describe(step, rollouts)),
            **asdict(changes),
            sampling_seconds=sampling_seconds,
            seconds=time.perf_counter() - started,
        )
        records.append(record)
        yield record
        if sink is not None:
            sink.flush()
        keeper.save(model, [], records)


def _fine_tune(policy: LocalPolicy, rows: Sequence[TokenRow], config: RFTConfig, step: int) -> UpdateStats:
    """Train on the rows of a round; return the last step's loss and gradient norm, and the updates skipped."""
    training = config.training.model_copy(update={"seed": rng.seed_for("rft/order", config.seed, step)})
    loss, norm, skipped = 0.0, 0.0, 0
    for update in supervised(policy.model, policy.tokenizer, epochs(rows, training), training):
        loss, norm, skipped = update.loss, update.grad_norm, skipped + update.skipped
    return UpdateStats(loss=loss, grad_norm=norm, skipped=skipped)


def _problem(problems: Mapping[str, Problem], sample: Sample) -> Problem:
    if sample.problem not in problems:
        raise InputError(f"the text of problem {sample.problem} is not known; give it with the others in `problems`")
    return problems[sample.problem]
