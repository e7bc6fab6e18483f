"""The one sampling path, for training and for measuring: policy + problems + SamplingParams -> verified Samples."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from goldpanner.errors import InputError
from goldpanner.policies import Policy, Request
from goldpanner.types import Completion, Counts, Outcome, Problem, Sample, SamplingParams, Verdict
from goldpanner.verify import Verifier


class Sink(Protocol):
    """Where samples go: what this module needs of the store's writer."""

    def write(self, samples: Sequence[Sample]) -> object:
        """Keep samples."""

    def write_verdicts(self, rows: Sequence[tuple[Sample, Verdict]]) -> object:
        """Keep further verdicts of the same samples."""


def rollout(
    policy: Policy,
    problems: Sequence[Problem],
    verifiers: Sequence[Verifier],
    params: SamplingParams,
    *,
    n: int | Sequence[range | tuple[int, ...]],
    seed: int = 0,
    sink: Sink | None = None,
    run: str = "",
    step: int | None = None,
    reward: Callable[[Sample], float | None] | None = None,
) -> Iterator[list[Sample]]:
    """Draw samples and judge them; yield one list per problem, in the order of `problems`, as each is finished.

    Args:
        policy: what is sampled.
        problems: P problems.
        verifiers: the first one's verdict is the sample's (and, in training, its reward); the others' are kept too.
        params: T = 1 over the full softmax unless said.
        n: samples per problem, or one range of indices per problem (to top up what is already stored).
        seed: sample `index` of a problem depends on (problem, seed, index) alone.
        sink: an open store writer; every sample is written before it is yielded.
        run: id of the run, stored with the samples.
        step: RL step of a training rollout; the sample then carries its step, its group (the problem's position) and
            its reward (1 correct, 0 wrong, None unjudged).
        reward: gives training rollouts another reward than their verdict's.

    Raises:
        InputError: no verifier, n < 1, or as many ranges as problems are not given.
    """
    if not verifiers:
        raise InputError("rollout: no verifier was given; name at least one")
    if isinstance(n, int):
        if n < 1:
            raise InputError(f"rollout: n is {n}; draw at least one sample per problem")
        ranges: Sequence[range | tuple[int, ...]] = [range(n)] * len(problems)
    elif len(n) != len(problems):
        raise InputError(f"rollout: {len(n)} index ranges for {len(problems)} problems; give one for each")
    else:
        ranges = n
    requests = [Request(problem, indices, seed) for problem, indices in zip(problems, ranges)]
    policy_id, verifier = policy.id, verifiers[0]
    for group, (request, completions) in enumerate(zip(requests, policy.sample(requests, params))):
        problem = request.problem
        samples = [
            Sample(
                problem=problem.id,
                policy=policy_id,
                params=params.hash,
                seed=seed,
                index=int(index),
                completion=completion,
                verdict=(verdict := judge(verifier, problem, completion)),
                task=problem.task,
                run=run,
                reward=None if step is None or verdict.outcome is Outcome.UNJUDGED else float(verdict.correct),
                step=step,
                group=None if step is None else group,
            )
            for index, completion in zip(request.indices, completions, strict=True)
        ]
        if reward is not None:
            samples = [replace(sample, reward=reward(sample)) for sample in samples]
        if sink is not None:
            sink.write(samples)
            for other in verifiers[1:]:
                sink.write_verdicts([(sample, judge(other, problem, sample.completion)) for sample in samples])
        yield samples


def judge(verifier: Verifier, problem: Problem, completion: Completion) -> Verdict:
    """Return the verifier's verdict; one that raises has not judged, and its reason is kept."""
    if completion.finish == "error":
        return Verdict(Outcome.UNJUDGED, verifier.id, reason=f"the policy failed: {completion.text[:200]}")
    try:
        return verifier(problem, completion)
    except Exception as error:  # a broken verifier must never turn into a wrong answer
        return Verdict(Outcome.UNJUDGED, verifier.id, reason=f"verifier raised {type(error).__name__}: {error}"[:300])


def count(samples: Iterable[Sequence[Sample]]) -> Counts:
    """Return n, c, unjudged and truncated per problem of what `rollout` yields (or of any lists of samples).

    A key that comes twice is counted once. Raises InputError when there is no sample.
    """
    rows = list({sample.key: sample for group in samples for sample in group}.values())
    if not rows:
        raise InputError("count: there is no sample; draw some first")
    ids = list(dict.fromkeys(sample.problem for sample in rows))
    place = {problem: i for i, problem in enumerate(ids)}
    table = np.zeros((4, len(ids)), np.int64)
    for sample in rows:
        outcome = sample.verdict.outcome
        table[:, place[sample.problem]] += (
            1,
            outcome is Outcome.CORRECT,
            outcome is Outcome.UNJUDGED,
            sample.completion.finish == "length",
        )
    return Counts.of(table[0], table[1], ids, table[2], table[3])
