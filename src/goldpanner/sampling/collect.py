"""Collecting samples: a store is topped up with what it lacks until a goal is met.

The one place that tops up: `gp.collect`, `goldpanner sample`, the runs and the lab all call `top_up`. Only what is
stored counts, so the same call goes on wherever an earlier one stopped.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from goldpanner.errors import InputError, Interrupted
from goldpanner.policies.base import Policy, Probe
from goldpanner.policies.identity import Identity
from goldpanner.progress import Event, Notify, silent
from goldpanner.sampling.goal import Goal, RunRound, draw, in_process
from goldpanner.sampling.ray_workers import Job, RemotePolicy, Workers
from goldpanner.sampling.rehearsal import rehearse_first
from goldpanner.sampling.rollout import judge_all
from goldpanner.store import Store
from goldpanner.store.find import open_store
from goldpanner.store.read import columns
from goldpanner.store.rows import KEY
from goldpanner.store.schema import ParamsRecord, PolicyRecord, ProbeRecord
from goldpanner.tasks.catalog import task as find_task
from goldpanner.tasks.task import Task
from goldpanner.types import Counts, Problem, SamplingParams
from goldpanner.verify import Verifier


@dataclass(frozen=True)
class Collection:
    """The samples that a store holds after a call of `collect`, and what the call took."""

    policy: str
    """Id of the policy."""
    params: SamplingParams
    verifier: str
    """Id of the verifier whose verdicts are counted."""
    counts: Counts
    """Every problem with samples, in the order in which they were asked, those drawn by earlier calls included."""
    new: int = 0
    """Samples that this call drew."""
    seconds: float = 0.0
    """Seconds that drawing them took."""
    tokens: int | None = 0
    """Tokens of their completions; None where the policy does not give them."""
    failed: int = 0
    """Samples of the counts whose request failed; the next call draws them again."""

    def line(self, price: float | None = None) -> str:
        """Return samples per second and cost in words; `price` is that of a million tokens."""
        rate = f", {self.new / self.seconds:,.0f}/s" if self.new and self.seconds > 0 else ""
        tokens = "" if self.tokens is None else f", {self.tokens:,} tokens"
        money = "" if price is None or self.tokens is None else f", {self.tokens * price / 1e6:,.2f} at {price:g}/1M"
        failed = f"; {self.failed:,} requests failed, run the same command to ask again" if self.failed else ""
        return f"{self.new:,} drawn in {self.seconds:.1f} s{rate}{tokens}{money}{failed}"


def collect(
    policy: Policy,
    task: Task | str,
    store: Store | Path | str,
    goal: Goal | None = None,
    *,
    problems: int = 64,
    seed: int = 0,
    params: SamplingParams | None = None,
    name: str | None = None,
    notify: Notify = silent,
    skip_rehearsal: str | None = None,
) -> Collection:
    """Sample a policy on a task until a goal is met, and keep the judged samples in a store.

    What the store holds already is not drawn again: stopped anywhere, the same call goes on, and with another goal it
    draws what is lacking. A sample depends on (problem, seed, index) alone.

        base = gp.load_policy("smollm2")
        collection = gp.collect(base, "arithmetic/add-2d2d", "demo", gp.Goal(most=32))
        print(gp.curve(collection.counts).at(32))

        >>> from tempfile import TemporaryDirectory
        >>> import goldpanner as gp
        >>> policy, task = gp.load_policy("scripted:0.5"), gp.task("arithmetic/add-2d2d")
        >>> with TemporaryDirectory() as folder:
        ...     collection = gp.collect(policy, task, gp.Store(folder), gp.Goal(most=4), problems=3)
        >>> collection.counts.n.tolist()
        [4, 4, 4]

    Args:
        policy: what is sampled, e.g. from `gp.load_policy`.
        task: a task, or its name (`gp.task` has more to choose: data files, verifiers).
        store: the store, or its folder; made where there is none.
        goal: when a problem has enough samples; 64 of each unless given.
        problems: number of problems, of the task's test split.
        seed: seed of the problems and of the samples.
        params: how completions are drawn; the task's own unless given (T = 1 over the full softmax).
        name: what the store calls the policy; its own name unless given.
        notify: told how far it is.
        skip_rehearsal: why the verifier is not tried on known answers first; None: it is.

    Raises:
        InputError: an unknown task, a verifier that does not tell right from wrong answers, or a server that does not
            draw as asked.
        Interrupted: Ctrl-C; what was drawn is kept.
    """
    chosen = find_task(task) if isinstance(task, str) else task
    questions, place = chosen.problems(problems, seed), store if isinstance(store, Store) else open_store(store)
    for check in rehearse_first(chosen, chosen.verifiers()[0], questions, place, skip=skip_rehearsal, notify=notify):
        place.put(check)
    return top_up(
        policy,
        questions,
        chosen.verifiers,
        params or chosen.params,
        place,
        goal or Goal(),
        seed=seed,
        name=name,
        notify=notify,
    )


def top_up(
    policy: Policy | RemotePolicy,
    problems: Sequence[Problem],
    verifiers: Callable[[], Sequence[Verifier]],
    params: SamplingParams,
    store: Store,
    goal: Goal,
    *,
    seed: int = 0,
    name: str | None = None,
    doing: str = "sample",
    notify: Notify = silent,
    price: float | None = None,
    workers: Workers | None = None,
) -> Collection:
    """Draw and judge what a store lacks of some problems' samples to meet a goal; return what it then holds.

    Samples that a verifier has not judged are judged by it; the verdicts of the first are those that are counted. A
    policy that has to be probed is probed first, and the record stored. A sample whose request failed for good is
    unjudged, and the next call draws it again.

    Args:
        policy: what is sampled. A `RemotePolicy` is loaded in `workers` alone.
        problems: P problems.
        verifiers: makes the verifiers, the one that counts first; workers call it, too.
        params: how completions are drawn.
        store: where the samples are kept.
        goal: when a problem has enough samples.
        seed: seed of the samples.
        name: what the store calls the policy and the run; the policy's own name unless given.
        doing: what the progress calls the work.
        notify: told how far it is, what a probe found, and what was judged again.
        price: price of a million tokens, shown with the progress.
        workers: what draws in place of this process.

    Raises:
        InputError: a remote policy without workers, or a server that does not draw as asked.
        Interrupted: Ctrl-C; what was drawn is kept.
    """
    record = PolicyRecord.of(policy.describe(), name=name)
    if (earlier := store.get(PolicyRecord, policy.id)) is not None:
        record = record.model_copy(update={"run": earlier.run, "step": earlier.step})
    name = record.name
    store.put(record)
    store.put(ParamsRecord.of(params))
    store.put_problems(problems)
    verifier, *others = verifiers()
    for each in (verifier, *others):  # also what a killed call had drawn and not yet judged by all
        judge_stored(each, policy.id, problems, params, store, notify)
    counts = stored_counts(policy.id, problems, params, seed, store, verifier.id)
    have = store.drawn(policy.id, params.hash, seed)
    lacking = [problem for problem, share in zip(problems, goal.next(counts)) if share]
    answered = [problem for problem in problems if have.get(problem.id)]  # the others may be what a server refuses
    probe = _probe(policy, (answered or lacking) if lacking else [], params, store, Event(name, doing), notify)
    job = Job(verifiers, params, seed, store, name)
    began, now = time.monotonic(), Collection(policy.id, params, verifier.id, counts)
    if lacking:
        notify(Event(name, doing, int(counts.n.sum()), goal.forecast(counts)))
    try:
        with _engine(policy, job, workers) as run_round:
            for at in draw(problems, goal, run_round, counts=counts, have=have):
                now = replace(now, new=at.new, seconds=time.monotonic() - began, tokens=at.tokens)
                met = "" if goal.kind == "fixed" else f"{at.met}/{len(problems)} met "
                notify(Event(name, doing, at.samples, at.expected, met + _cost(at.tokens, price)))
    except KeyboardInterrupt:
        raise Interrupted(f"{now.line(price)}, kept in {store.root}; run the same command to go on") from None
    finally:
        _keep_notes(policy, probe, store, Event(name, doing), notify)
    counts = stored_counts(policy.id, problems, params, seed, store, verifier.id, failed=True)
    answers = stored_counts(policy.id, problems, params, seed, store, verifier.id)
    return replace(now, counts=counts.select(counts.n > 0), failed=int(counts.n.sum() - answers.n.sum()))


def stored_counts(
    policy: str,
    problems: Sequence[Problem],
    params: SamplingParams,
    seed: int,
    store: Store,
    verifier: str,
    failed: bool = False,
) -> Counts:
    """Return the counts of some problems, in their order; n is 0 where the store has no sample.

    Args:
        policy: id of the policy.
        problems: problems to count.
        params: how the samples were drawn.
        seed: their seed.
        store: where they lie.
        verifier: id of the verifier whose verdicts are counted.
        failed: count samples whose request failed; otherwise they are not there: they have to be drawn again.
    """
    ids, have = [problem.id for problem in problems], store.drawn(policy, params.hash, seed, failed)
    table = np.zeros((len(Counts.COLUMNS), len(ids)), np.int64)
    if sampled := [i for i in ids if have.get(i)]:
        part = store.counts(policy, params=params.hash, problems=sampled, seed=seed, verifier=verifier, failed=failed)
        row_of = {problem: row for row, problem in enumerate(ids)}
        table[:, [row_of[i] for i in part.ids]] = part.columns
    return Counts(tuple(ids), *table)


def judge_stored(
    verifier: Verifier,
    policy: str,
    problems: Sequence[Problem],
    params: SamplingParams,
    store: Store,
    notify: Notify = silent,
) -> None:
    """Have a verifier judge the samples of some problems that only others have judged.

    Nothing is drawn for it: a sample may have several verdicts, each under its verifier's id.

    Args:
        verifier: what judges.
        policy: id of the policy.
        problems: problems whose samples are judged.
        params: how the samples were drawn.
        store: where they lie, and where the verdicts go.
        notify: told of the samples judged.
    """
    query = f"""
        SELECT DISTINCT s.problem FROM samples s
        LEFT JOIN (SELECT * FROM verdicts WHERE verifier = $verifier) v USING ({columns(KEY)})
        WHERE s.policy = $policy AND s.params = $params AND s.finish <> 'error'
            AND s.verifier <> $verifier AND v.outcome IS NULL
    """
    values = {"verifier": verifier.id, "policy": policy, "params": params.hash}
    unseen = set(store.sql(query, values).column("problem").to_pylist())
    times = 0
    with store.writer() as sink:
        for problem in problems:
            if problem.id not in unseen:
                continue
            samples = store.samples(policy=policy, problem=problem.id, params=params.hash)
            samples = [s for s in samples if s.verdict.verifier != verifier.id and s.completion.finish != "error"]
            verdicts = judge_all(verifier, problem, [sample.completion for sample in samples])
            sink.write_verdicts(list(zip(samples, verdicts, strict=True)))
            times += len(samples)
    if times:
        text = f"{times:,} stored samples of {policy}, judged by another verifier, now by {verifier.id}"
        notify(Event(policy, "judge", message=text))


def why_unjudged(collection: Collection, store: Store) -> str:
    """Return the commonest reason why the verifier of a collection did not judge samples."""
    chosen = "policy = $policy AND params = $params AND verifier = $verifier AND outcome = 'unjudged'"
    query = f"""
        SELECT reason, count(*) AS times
        FROM (SELECT reason FROM samples WHERE {chosen} UNION ALL SELECT reason FROM verdicts WHERE {chosen})
        GROUP BY reason ORDER BY times DESC, reason LIMIT 1
    """
    values = {"policy": collection.policy, "params": collection.params.hash, "verifier": collection.verifier}
    rows = store.sql(query, values).to_pylist()
    return str(rows[0]["reason"]) if rows else "no reason was given"


@contextmanager
def _engine(policy: Policy | RemotePolicy, job: Job, workers: Workers | None) -> Iterator[RunRound]:
    """Give what runs the rounds: this process, or workers that write to the store themselves."""
    if workers is not None:
        yield workers.rounds(job, policy)
    elif isinstance(policy, RemotePolicy):
        raise InputError(f"policy {policy.id} is loaded in workers alone; give them, too")
    else:
        with job.store.writer(block_seconds=10.0) as sink:
            yield in_process(policy, job.verifiers(), job.params, seed=job.seed, sink=sink, run=job.run)


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

    def probe(self, problem: Problem, params: SamplingParams) -> Probe:
        """Return what some requests show."""


def _probe(
    policy: Policy | RemotePolicy,
    problems: Sequence[Problem],
    params: SamplingParams,
    store: Store,
    work: Event,
    notify: Notify,
) -> str | None:
    """Probe a policy that asks for it; store and show the result. Return the record's id."""
    if not isinstance(policy, Probed) or not problems:
        return None
    earlier = [each for each in store.records(ProbeRecord).values() if each.policy == policy.id]
    result = policy.probe(problems[0], params)
    if earlier and not policy.override:
        before = Identity.of(max((each.probe for each in earlier), key=lambda probe: probe.made))
        if why := before.change(Identity.of(result)):
            raise InputError(
                f"{work.stage} is no longer the model that policy {policy.id} was sampled from: {why}. What was drawn "
                "stays. Start the first one again and run the same command, or sample the other into another --store"
            )
    record_id = f"{policy.id}-{params.hash}-{time.time_ns():x}"
    overridden = bool(result.faults) and policy.override
    store.put(ProbeRecord(id=record_id, policy=policy.id, params=params.hash, overridden=overridden, probe=result))
    notify(replace(work, message="\n".join(result.lines())))
    return record_id


def _keep_notes(policy: Policy | RemotePolicy, probe: str | None, store: Store, work: Event, notify: Notify) -> None:
    """Store what a probed policy noted while it was sampled with its probe, and show it."""
    record = None if probe is None else store.get(ProbeRecord, probe)
    if record is None or not isinstance(policy, Probed) or not policy.notes:
        return
    store.put(record.model_copy(update={"sampling": dict(policy.notes)}))
    lines = (f"  note: {note} ({times} times)" for note, times in policy.notes.items())
    notify(replace(work, message="\n".join(lines)))
