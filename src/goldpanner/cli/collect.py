"""Drawing samples of a policy into a store, going on where an earlier call stopped."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from goldpanner.errors import InputError, Interrupted
from goldpanner.policies import Policy
from goldpanner.rollout import rollout
from goldpanner.store import Store
from goldpanner.studies.workers import Event, Notify
from goldpanner.types import Counts, Problem, SamplingParams
from goldpanner.verify import Verifier


def collect(
    policy: Policy,
    name: str,
    problems: Sequence[Problem],
    params: SamplingParams,
    n: int,
    seed: int,
    store: Store,
    notify: Notify,
) -> tuple[Counts, str]:
    """Draw those of samples 0..n-1 that the store lacks; return the counts of every problem, and the policy's id."""
    store.put("policies", policy.id, {**policy.describe(), "name": name})
    store.put("params", params.hash, asdict(params))
    store.put_problems(problems)
    have = store.drawn(policy.id, params.hash, seed)
    missing = [tuple(i for i in range(n) if i not in have.get(problem.id, ())) for problem in problems]
    todo = [problem for problem, indices in zip(problems, missing) if indices]
    done = len(problems) - len(todo)
    try:
        with store.writer() as sink:
            for _ in rollout(
                policy,
                todo,
                verifiers_for(problems),
                params,
                n=[m for m in missing if m],
                seed=seed,
                sink=sink,
                run=name,
            ):
                done += 1
                notify(Event(name, "sample", done, len(problems)))
    except KeyboardInterrupt:
        raise Interrupted(
            f"{done} of {len(problems)} problems are in {store.root}; run the same command to go on"
        ) from None
    ids = [problem.id for problem in problems]
    return store.counts(policy.id, params=params.hash, problems=ids, seed=seed), policy.id


def verifiers_for(problems: Sequence[Problem]) -> Sequence[Verifier]:
    """Return the verifiers of the problems' task: a domain's own, else exact match with the answer."""
    from goldpanner import tasks
    from goldpanner.verify import Exact

    for config in tasks.CONFIGS:
        domain = tasks.build(config())
        if problems and problems[0].task.startswith(f"{domain.name}/"):
            return domain.verifiers()
    return (Exact(),)


class Scorer(Protocol):
    """A policy that gives log-probabilities."""

    @property
    def id(self) -> str:
        """Hash of its content."""

    def logprobs(self, problems: Sequence[Problem], responses: Sequence[Any]) -> Any:
        """Return log P(response | prompt) in nats, one per pair."""


def score_samples(
    scorer: Scorer, policy: str, store: Store, params: str | None, tasks: Sequence[str] | None, notify: Notify
) -> tuple[int, str]:
    """Store log P of a policy's completions under `scorer`, problem by problem; return how many, and the scorer's id.

    Samples are scored by their tokens, so that what is scored is exactly what was drawn; without tokens, by their text.
    Raises InputError for completions without either (cut ones without tokens have no end to score).
    """
    problems = store.problems(tasks)
    table = store.sql(
        "SELECT DISTINCT problem FROM samples WHERE policy = $policy AND step IS NULL ORDER BY problem",
        {"policy": policy},
    )
    wanted = [i for i in table.column(0).to_pylist() if i in problems]
    total = 0
    for done, problem in enumerate(wanted, 1):
        samples = store.samples(policy=policy, problem=problem, params=params)
        kept = [s for s in samples if s.step is None and s.completion.finish != "error"]
        if any(s.completion.tokens is None and s.completion.finish == "length" for s in kept):
            raise InputError(f"problem {problem}: a cut completion has no tokens, so its probability is not defined")
        responses = [s.completion.tokens or s.completion.text for s in kept]
        logp = scorer.logprobs([problems[problem]] * len(kept), responses)
        total += store.append_scores(scorer.id, [(s, min(float(x), 0.0)) for s, x in zip(kept, logp)])
        notify(Event(policy, "score", done, len(wanted)))
    return total, scorer.id
