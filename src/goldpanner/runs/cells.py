"""A stage of a run as it was measured, and its figures task by task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from goldpanner.errors import InputError
from goldpanner.measure import intervals, passk
from goldpanner.store import Store
from goldpanner.store.find import policy_of_run
from goldpanner.store.schema import EstimateRecord
from goldpanner.store.studies import AgreementRecord, CellRecord, StudyRecord
from goldpanner.types import Counts, Estimate, FloatArray


@dataclass(frozen=True)
class Measured:
    """Counts of the sampled problems of one stage, and exact log P of all where it is known, per task."""

    counts: Mapping[str, Counts]
    """By the answer verifier: what pass@k is about."""
    process: Mapping[str, Counts]
    """By the process verifier, where there is one: what the exact probability is about."""
    logp: Mapping[str, Mapping[str, float]]
    """Task -> problem id -> exact log P of the worked answer; probed tasks too. Empty where nobody knows it."""

    def pooled(self, tasks: Sequence[str]) -> Counts:
        """Return the counts of several tasks as one set."""
        parts = [self.counts[task] for task in tasks]
        ids = tuple(i for part in parts for i in part.ids)
        return Counts(ids, *map(np.concatenate, zip(*(part.columns for part in parts))))

    def exact(self, tasks: Sequence[str]) -> FloatArray:
        """Return exact log P of every problem of `tasks`, shape (P,), in an order that all stages share."""
        return np.array([self.logp[task][i] for task in tasks for i in sorted(self.logp[task])])

    def largest_k(self, tasks: Sequence[str]) -> int:
        """Return the largest k that every sampled problem of `tasks` supports."""
        return int(min(self.counts[task].n.min() for task in tasks))


def read_cells(store: Store, stage: str, study: StudyRecord) -> Measured:
    """Return what the store holds of one stage. Raises InputError where the stage is not finished."""
    policy, problems = policy_of_run(store, stage), store.problems()
    logp: dict[str, dict[str, float]] = {}
    for problem, value in stored_truth(store, policy).items():
        logp.setdefault(problems[problem].task, {})[problem] = value

    def counts(verifier: str | None) -> dict[str, Counts]:
        if verifier is None:
            return {}
        return {
            # without rollouts: those of RL's first step were drawn from the very policy that it started from
            task: store.counts(policy, params=study.params, tasks=[task], verifier=verifier, rollouts=False)
            for task in study.tasks_measured
        }

    return Measured(counts(study.verifiers["answer"]), counts(study.verifiers.get("process")), logp)


def stored_truth(store: Store, policy: str) -> dict[str, float]:
    """Return the exact log P (nats) of a policy by problem id; empty where none is stored."""
    try:
        return store.truth(policy)
    except InputError:
        return {}


def cell(measured: Measured, task: str) -> CellRecord:
    """Return pass@1 and pass@k of one stage and task, sampled with intervals, and exact where that is known."""
    counts = measured.counts[task]
    k = int(counts.n.min())
    band = passk.curve(counts, [1, k])
    exact = [float(x) for x in passk.exact(measured.exact([task]), [1, k])] if measured.logp else [None, None]
    return CellRecord(
        k=k,
        pass_at_1=EstimateRecord.of(band.at(1)),
        pass_at_k=EstimateRecord.of(band.at(k)),
        exact_at_1=exact[0],
        exact_at_k=exact[1],
    )


def agreement(measured: Mapping[str, Measured], level: float = 0.95) -> AgreementRecord | None:
    """Return how many exact P lie inside the exact interval of their own counts (process verdicts), over all stages.

    None where no exact P is known.
    """
    inside = total = 0
    for stage in measured.values():
        for task, counts in stage.process.items():
            low, high = intervals.proportion(counts.c, counts.n, counts.unjudged, level)
            p = np.exp([stage.logp[task][i] for i in counts.ids])
            inside += int(((p >= low) & (p <= high)).sum())
            total += len(p)
    return AgreementRecord(inside=inside, problems=total, level=level) if total else None


def exact_gap(old: FloatArray, new: FloatArray, k: int, level: float = 0.95) -> Estimate:
    """Return exact pass@k after minus before with a paired t interval over problems; log P of shape (P,) each."""
    gain = (passk.exact_rows(new, [k]) - passk.exact_rows(old, [k]))[:, 0]
    mean, error = float(gain.mean()), float(stats.sem(gain))
    half = float(stats.t.ppf(0.5 + level / 2, len(gain) - 1)) * error
    return Estimate(mean, mean - half, mean + half, level, "paired t over problems", len(gain))
