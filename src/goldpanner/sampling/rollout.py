"""The one sampling path, for training and for measuring: policy + problems + SamplingParams -> verified Samples."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from goldpanner.errors import InputError
from goldpanner.policies.base import Policy, Request
from goldpanner.types import Cause, Completion, Counts, Outcome, Problem, Sample, SamplingParams, Verdict
from goldpanner.verify import Verifier
from goldpanner.verify.base import not_drawn, unjudged


class Sink(Protocol):
    """Where samples go: what this module needs of the store's writer."""

    def write(self, samples: Sequence[Sample], verdicts: Sequence[tuple[Sample, Verdict]] = ()) -> object:
        """Keep samples, and further verdicts on them, together."""


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
    reward: Callable[[Sample, Sequence[Verdict]], float | None] | None = None,
) -> Iterator[list[Sample]]:
    """Draw samples and judge them; yield one list per problem, in the order of `problems`, as each is finished.

        >>> import goldpanner as gp
        >>> policy, task = gp.load_policy("scripted:1"), gp.task("arithmetic/add-2d2d")
        >>> groups = gp.sample(policy, task.problems(1), task.verifiers(), task.sampling(), n=2)
        >>> [sample.verdict.correct for sample in next(groups)]
        [True, True]

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
            its reward (`Verdict.reward`).
        reward: gives training rollouts another reward than their verdict's; it is told the verdicts of all verifiers.

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
        verdicts = judge_all(verifier, problem, completions)
        samples = [
            Sample(
                problem=problem.id,
                policy=policy_id,
                params=params.hash,
                seed=seed,
                index=int(index),
                completion=completion,
                verdict=verdict,
                task=problem.task,
                run=run,
                reward=None if step is None else verdict.reward,
                step=step,
                group=None if step is None else group,
            )
            for index, completion, verdict in zip(request.indices, completions, verdicts, strict=True)
        ]
        others = [judge_all(other, problem, completions) for other in verifiers[1:] if sink is not None or reward]
        if reward is not None:
            rows = zip(samples, zip(verdicts, *others, strict=True), strict=True)
            samples = [replace(sample, reward=reward(sample, row)) for sample, row in rows]
        if sink is not None:
            sink.write(samples, [pair for other in others for pair in zip(samples, other, strict=True)])
        yield samples


def judge(verifier: Verifier, problem: Problem, completion: Completion) -> Verdict:
    """Return the verifier's verdict; one that raises has not judged, and its reason is kept."""
    if (nothing := not_drawn(verifier.id, completion)) is not None:
        return nothing
    try:
        return verifier(problem, completion)
    except Exception as error:  # a broken verifier must never turn into a wrong answer
        return unjudged(verifier.id, f"verifier raised {type(error).__name__}: {error}"[:300])


def judge_all(verifier: Verifier, problem: Problem, completions: Sequence[Completion]) -> list[Verdict]:
    """Return `judge` of each completion: in one call where the verifier offers `judge_many`, else one by one.

    A batch that raises, or that does not give one verdict for each, is judged one by one: only its cause is UNJUDGED.
    """
    many = getattr(verifier, "judge_many", None)
    if many is None or len(completions) < 2:
        return [judge(verifier, problem, completion) for completion in completions]
    finished = [completion for completion in completions if not_drawn(verifier.id, completion) is None]
    try:
        verdicts = list(many([(problem, completion) for completion in finished]))
    except Exception:  # whatever it was, `judge` meets it again and keeps its reason
        verdicts = []
    if len(verdicts) != len(finished) or not all(isinstance(verdict, Verdict) for verdict in verdicts):
        return [judge(verifier, problem, completion) for completion in completions]
    judged = iter(verdicts)
    return [not_drawn(verifier.id, completion) or next(judged) for completion in completions]


def count(samples: Iterable[Sequence[Sample]]) -> Counts:
    """Return n, c, unjudged and truncated per problem.

        >>> import goldpanner as gp
        >>> policy, task = gp.load_policy("scripted:1"), gp.task("arithmetic/add-2d2d")
        >>> count(gp.sample(policy, task.problems(2), task.verifiers(), task.sampling(), n=4)).c.tolist()
        [4, 4]

    Args:
        samples: lists of samples, such as `rollout` yields. A key that comes twice is counted once.

    Raises:
        InputError: there is no sample.
    """
    rows = list({sample.key: sample for group in samples for sample in group}.values())
    if not rows:
        raise InputError("count: there is no sample; draw some first")
    ids = list(dict.fromkeys(sample.problem for sample in rows))
    place = {problem: i for i, problem in enumerate(ids)}
    table = np.zeros((len(Counts.COLUMNS), len(ids)), np.int64)
    for sample in rows:
        table[:, place[sample.problem]] += (
            1,
            sample.verdict.correct,
            sample.verdict.outcome is Outcome.UNJUDGED,
            sample.completion.finish == "length",
            0,
            sample.verdict.cause is Cause.MODEL,
        )
    return Counts(tuple(ids), *table)
