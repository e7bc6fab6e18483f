"""Drawing samples of a policy into a store, going on where an earlier call stopped."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import typer

from goldpanner.errors import InputError, Interrupted
from goldpanner.policies.base import Policy
from goldpanner.progress import Event, Notify
from goldpanner.sampling.goal import CarryOut, Goal, draw, here
from goldpanner.sampling.ray_workers import Held, Job, Workers
from goldpanner.sampling.rollout import judge_all
from goldpanner.store import Store
from goldpanner.store.read import columns
from goldpanner.store.rows import KEY
from goldpanner.tasks.catalog import find_task
from goldpanner.types import Counts, Problem, SamplingParams
from goldpanner.verify import Exact, Verifier

MOST = 4096
"""Samples a problem gets at most where a goal decides: one beside a threshold would never settle."""


def goal_of(
    n: int | None,
    until: str | None,
    group: int | None,
    budget: int | None,
    base: Counts | None = None,
    margin: float | None = None,
) -> Goal:
    """Return the goal that the options stand for; a budget alone is spent on settling the strata.

    `base`: counts of the policy that this one is compared with, up to a difference of `margin`.
    """
    if until is None and group is None and budget is None and base is None:
        return Goal(most=64 if n is None else n)
    found = Goal.read(until or "settled", MOST if n is None else n, group, budget)
    return found if base is None else replace(found, base=base, margin=found.margin if margin is None else margin)


@dataclass(frozen=True)
class Spent:
    """What a call of `collect` drew, and what it took."""

    samples: int
    seconds: float
    tokens: int | None
    """None where the policy does not give its tokens."""
    failed: int = 0
    """Samples of the counts whose request failed; the next call draws them again."""

    def line(self, price: float | None = None) -> str:
        """Return samples per second and cost in words; `price` is that of a million tokens."""
        rate = f", {self.samples / self.seconds:,.0f}/s" if self.samples and self.seconds > 0 else ""
        tokens = "" if self.tokens is None else f", {self.tokens:,} tokens"
        money = "" if price is None or self.tokens is None else f", {self.tokens * price / 1e6:,.2f} at {price:g}/1M"
        failed = f"; {self.failed:,} requests failed, run the same command to ask again" if self.failed else ""
        return f"{self.samples:,} drawn in {self.seconds:.1f} s{rate}{tokens}{money}{failed}"


def collect(
    policy: Policy | Held,
    name: str,
    problems: Sequence[Problem],
    params: SamplingParams,
    goal: Goal,
    seed: int,
    store: Store,
    notify: Notify,
    price: float | None = None,
    workers: Workers | None = None,
    judges: Callable[[], Sequence[Verifier]] | None = None,
) -> tuple[Counts, str, Spent]:
    """Draw what the store lacks to meet a goal; return the counts of every problem with samples, and the policy's id.

    It is drawn in this process, or by `workers` (which alone can draw from a policy that is `Held`). `judges` makes the
    verifiers, by default the task's own; stored samples that the first one has not judged are judged by it, and its
    verdicts are those that are counted. A policy that has
    to be probed is probed first; the record is stored, and shown with what was noted in sampling. Only what is
    stored counts: killed at any point, the same call goes on, and no sample is counted twice. Samples whose request
    failed for good are unjudged, and drawn again by the next call.
    """
    store.put("policies", policy.id, {**policy.describe(), "name": name})
    store.put("params", params.hash, asdict(params))
    store.put_problems(problems)
    known = find_task(problems[0].task) if problems else None
    judges = judges or (_exact if known is None else known.verifiers)
    judge = judges()[0]
    judge_stored(judge, policy.id, problems, params, store)
    have = store.drawn(policy.id, params.hash, seed)
    counts = _stored(policy.id, problems, params, seed, store, judge.id)
    todo = [problem for problem, share in zip(problems, goal.next(counts)) if share]
    answered = [problem for problem in problems if have.get(problem.id)]  # the others may be what a server refuses
    probe = probed(policy, (answered or todo) if todo else [], params, store)
    job = Job(judges, params, seed, store, name)
    began, spent = time.monotonic(), Spent(0, 0.0, 0)
    if todo:
        notify(Event(name, "sample", int(counts.n.sum()), goal.forecast(counts), ""))
    try:
        with _engine(policy, job, workers) as carry_out:
            for at in draw(problems, goal, carry_out, counts=counts, have=have):
                spent = Spent(at.drawn, time.monotonic() - began, at.tokens)
                note = "" if goal.kind == "fixed" else f"{at.met}/{len(problems)} met "
                notify(Event(name, "sample", at.samples, at.expected, note + _cost(at.tokens, price)))
    except KeyboardInterrupt:
        raise Interrupted(f"{spent.line(price)}, kept in {store.root}; run the same command to go on") from None
    finally:
        keep_notes(policy, probe, store)
    counts = _stored(policy.id, problems, params, seed, store, judge.id, failed=True)
    failed = int(counts.n.sum() - _stored(policy.id, problems, params, seed, store, judge.id).n.sum())
    return counts.select(counts.n > 0), policy.id, replace(spent, failed=failed)


def command_to_measure(place: Store, store: Path, policy: str, task: str, params: str, verifier: str) -> str:
    """Return the command that measures what was drawn, with what tells it from the policy's other samples there."""
    words = ["goldpanner", "measure", policy, "--store", str(store)]
    query = "SELECT DISTINCT task, params, verifier FROM samples WHERE policy = $policy AND step IS NULL"
    others = place.sql(query, {"policy": policy}).to_pylist()
    for name, value in (("task", task), ("params", params), ("verifier", verifier)):
        if any(row[name] != value for row in others):
            words += [f"--{name}", value]
        others = [row for row in others if row[name] == value]
    return shlex.join(words)


def why_unjudged(place: Store, policy: str, params: str, verifier: str) -> str:
    """Return the commonest reason why a verifier did not judge a policy's samples."""
    chosen = "policy = $policy AND params = $params AND verifier = $verifier AND outcome = 'unjudged'"
    query = f"""
        SELECT reason, count(*) AS times
        FROM (SELECT reason FROM samples WHERE {chosen} UNION ALL SELECT reason FROM verdicts WHERE {chosen})
        GROUP BY reason ORDER BY times DESC, reason LIMIT 1
    """
    rows = place.sql(query, {"policy": policy, "params": params, "verifier": verifier}).to_pylist()
    return str(rows[0]["reason"]) if rows else "no reason was given"


def _exact() -> tuple[Verifier]:
    return (Exact(),)


@contextmanager
def _engine(policy: Policy | Held, job: Job, workers: Workers | None) -> Iterator[CarryOut]:
    """Give what carries out the rounds of a drawing: this process, or workers that write to the store themselves."""
    if workers is not None:
        yield workers.rounds(job, policy)
    elif isinstance(policy, Held):
        raise InputError(f"policy {policy.id} is held by workers; give them, too")
    else:
        with job.store.writer(block_seconds=10.0) as sink:
            yield here(policy, job.verifiers(), job.params, seed=job.seed, sink=sink, run=job.run)


def judge_stored(
    verifier: Verifier, policy: str, problems: Sequence[Problem], params: SamplingParams, store: Store
) -> None:
    """Have a verifier judge the samples of these problems that only others have judged, and say how many they were.

    Nothing is drawn for it: a sample may have several verdicts, each under its verifier's id.
    """
    query = f"""
        SELECT DISTINCT s.problem FROM samples s
        LEFT JOIN (SELECT * FROM verdicts WHERE verifier = $verifier) v USING ({columns(KEY)})
        WHERE s.policy = $policy AND s.params = $params AND s.finish <> 'error'
            AND s.verifier <> $verifier AND v.outcome IS NULL
    """
    asked = {"verifier": verifier.id, "policy": policy, "params": params.hash}
    unseen = set(store.sql(query, asked).column("problem").to_pylist())
    times = 0
    for problem in problems:
        if problem.id not in unseen:
            continue
        samples = store.samples(policy=policy, problem=problem.id, params=params.hash)
        samples = [s for s in samples if s.verdict.verifier != verifier.id and s.completion.finish != "error"]
        verdicts = judge_all(verifier, problem, [sample.completion for sample in samples])
        times += store.append_verdicts(list(zip(samples, verdicts, strict=True)))
    if times:
        typer.echo(f"{times:,} stored samples of {policy}, judged by another verifier, now by {verifier.id}", err=True)


def _stored(
    policy: str,
    problems: Sequence[Problem],
    params: SamplingParams,
    seed: int,
    store: Store,
    verifier: str,
    failed: bool = False,
) -> Counts:
    """Return the counts of all the problems in their order, 0 where the store has no sample (but, maybe, failed ones).

    Without `failed`, a sample whose request failed is not there: it has to be drawn again, and replaces the failed one.
    """
    ids, have = [problem.id for problem in problems], store.drawn(policy, params.hash, seed, failed)
    table = np.zeros((len(Counts.COLUMNS), len(ids)), np.int64)
    if known := [i for i in ids if have.get(i)]:
        found = store.counts(policy, params=params.hash, problems=known, seed=seed, verifier=verifier, failed=failed)
        place = {problem: at for at, problem in enumerate(ids)}
        table[:, [place[i] for i in found.ids]] = found.columns
    return Counts(tuple(ids), *table)


def _cost(tokens: int | None, price: float | None) -> str:
    if not tokens:
        return ""
    return f"{tokens:,} tokens" if price is None else f"{tokens * price / 1e6:,.2f} spent"


@runtime_checkable
class Probed(Protocol):
    """A policy whose samples depend on what a server makes of a request: it is probed before each run."""

    notes: Mapping[str, int]
    """What it did otherwise than asked while sampling, and how often."""
    override: bool
    """Whether it is sampled although the probe found faults."""

    def probe(self, problem: Problem, params: SamplingParams) -> Any:
        """Return what some requests show: `to_json()` for the store, `lines()` for a person, `faults`."""


def probed(policy: Policy | Held, problems: Sequence[Problem], params: SamplingParams, store: Store) -> str | None:
    """Probe a policy that asks for it; store and show what was seen. Return the record's id."""
    if not isinstance(policy, Probed) or not problems:
        return None
    found = policy.probe(problems[0], params)
    record_id = f"{policy.id}-{params.hash}-{time.time_ns():x}"
    overridden = bool(found.faults) and policy.override
    record = {"policy": policy.id, "params": params.hash, "overridden": overridden, **found.to_json()}
    store.put("probes", record_id, record)
    typer.echo("\n".join(found.lines()), err=True)
    return record_id


def keep_notes(policy: Policy | Held, probe: str | None, store: Store) -> None:
    """Store what a probed policy noted while it was sampled with its probe, and show it."""
    if probe is None or not isinstance(policy, Probed) or not policy.notes:
        return
    store.put("probes", probe, {**(store.get("probes", probe) or {}), "sampling": dict(policy.notes)})
    typer.echo("\n".join(f"  note: {note} ({times} times)" for note, times in policy.notes.items()), err=True)
