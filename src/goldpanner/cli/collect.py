"""Drawing samples of a policy into a store, going on where an earlier call stopped."""

from collections.abc import Sequence
from dataclasses import asdict

from goldpanner.errors import Interrupted
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
    todo = [problem for problem in problems if not set(range(n)) <= have.get(problem.id, set())]
    done = len(problems) - len(todo)
    try:
        with store.writer() as sink:
            for _ in rollout(policy, todo, verifiers_for(problems), params, n=n, seed=seed, sink=sink, run=name):
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
