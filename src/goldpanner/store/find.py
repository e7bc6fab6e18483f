"""What a word stands for in a store: the store of a folder, a policy, the samples that are counted of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError
from goldpanner.store.read import columns
from goldpanner.store.rows import KEY
from goldpanner.store.schema import ParamsRecord, PolicyRecord, RunRecord
from goldpanner.store.store import Store
from goldpanner.types import Counts, StatedParams

SHOWN = 12
"""Names that an error message lists at most."""


@dataclass(frozen=True)
class StoredSamples:
    """Samples of one policy in a store: those that measured it, its training rollouts, or those of one RL step."""

    store: Store
    policy: str
    """Id of the policy."""
    params: str | None = None
    """Hash of the sampling parameters; None: there is only one."""
    tasks: tuple[str, ...] = ()
    """Only these tasks; empty: all."""
    verifier: str | None = None
    """Verifier whose verdicts count; None: the one that judged the samples when they were drawn."""
    training: bool = False
    """Whether training rollouts are counted, and not only samples drawn to measure the policy."""
    run: str | None = None
    """Only rollouts of this run's `step`."""
    step: int | None = None

    def counts(self) -> Counts:
        """Return the counts. Raises InputError where there are no such samples, or the params or verifier is open."""
        return self.store.counts(
            self.policy, params=self.params, tasks=self.tasks or None, verifier=self.verifier,
            run=self.run, step=self.step, rollouts=self.training,
        )  # fmt: skip

    def select(self, what: str, more: str = "") -> list[dict[str, Any]]:
        """Return the rows of `SELECT what FROM (these samples) more`."""
        return list(self.store.sql(f"{self._these(what)} {more}", self._values).to_pylist())

    def _these(self, what: str) -> str:
        # a sample that two runs share stands in samples_rows for both, and in samples for one
        return f"""
            SELECT {what} FROM {"samples" if self.run is None else "samples_rows"}
            WHERE policy = $policy AND ($params IS NULL OR params = $params) AND ($training OR step IS NULL)
                AND (len($tasks::VARCHAR[]) = 0 OR list_contains($tasks::VARCHAR[], task))
                AND ($run IS NULL OR run = $run) AND ($step IS NULL OR step = $step)
        """

    @property
    def _values(self) -> dict[str, object]:
        values = {name: getattr(self, name) for name in ("policy", "params", "training", "run", "step")}
        return values | {"tasks": list(self.tasks)}

    def later_verifiers(self) -> list[str]:
        """Return the verifiers that judged these samples after they were drawn."""
        query = "SELECT DISTINCT verifier FROM verdicts WHERE policy = $policy ORDER BY ALL"
        names = self.store.sql(query, {"policy": self.policy}).column(0).to_pylist()
        return [name for name in names if name not in self.verifiers()]

    def both_right(self, verifier: str) -> list[dict[str, Any]]:
        """Return by problem c, the samples that are right for a later verifier, too, and unjudged, those left open."""
        key = columns(KEY)
        query = f"""
            SELECT s.problem, count(*) FILTER (s.outcome = 'correct' AND v.outcome = 'correct') AS c,
                count(*) FILTER (
                    s.outcome != 'wrong' AND coalesce(v.outcome, 'unjudged') != 'wrong'
                    AND 'model' NOT IN (coalesce(s.cause, ''), coalesce(v.cause, ''))
                ) - c AS unjudged
            FROM ({self._these("*")}) s
            LEFT JOIN (SELECT {key}, outcome, cause FROM verdicts WHERE verifier = $verifier) v USING ({key})
            GROUP BY s.problem
        """
        return list(self.store.sql(query, self._values | {"verifier": verifier}).to_pylist())

    def stated(self) -> StatedParams:
        """Return the fields of the sampling parameters that are known."""
        hashes = [str(row["params"]) for row in self.select("DISTINCT params")]
        record = self.store.get(ParamsRecord, hashes[0]) if len(hashes) == 1 else None
        return record.stated if record is not None else {}

    def verifiers(self) -> set[str]:
        """Return the verifiers that judged the samples when they were drawn."""
        return {row["verifier"] for row in self.select("DISTINCT verifier")}


def open_store(folder: Path | str) -> Store:
    """Return the store in `folder`, or in `folder/store`, where a run keeps it."""
    inner = Path(folder) / "store"
    return Store(inner if inner.is_dir() else folder)


def is_store(folder: Path | str) -> bool:
    """Return whether a folder is a sample store, or that of a run."""
    if not Path(folder).is_dir():
        return False
    root = open_store(folder).root
    return (root / "records").is_dir() or any((root / "samples").glob("*.parquet"))


def find_samples(
    store: Store, name: str, params: str | None = None, tasks: Sequence[str] = (), verifier: str | None = None
) -> StoredSamples:
    """Return the samples that a name stands for: a policy's (`find_policy`), or `RUN@STEP`, the rollouts of that step.

    Of a policy that was never measured they are its training rollouts.

    Args:
        store: where they lie.
        name: name, short id or id of a policy, a run, or RUN@STEP.
        params: hash of their sampling parameters, where the store has several.
        tasks: tasks to choose; empty: all.
        verifier: id of the verifier whose verdicts are counted.

    Raises:
        InputError: no name fits; the policies there are are named.
    """
    rollouts = _find_rollouts(store, name)
    if rollouts is not None:
        policy, run, step = rollouts
        return StoredSamples(store, policy, params, tuple(tasks), verifier, True, run, step)
    policy = find_policy(store, name)
    query = "SELECT 1 FROM samples_rows WHERE policy = $policy AND step IS NULL LIMIT 1"
    measured = len(store.sql(query, {"policy": policy})) > 0
    return StoredSamples(store, policy, params, tuple(tasks), verifier, training=not measured)


def find_policy(store: Store, name: str) -> str:
    """Return the id of the policy that a name stands for: a run's name, a policy's name, its id, or the id's beginning.

    Raises InputError, naming the policies there are, where none or several fit.
    """
    matches = matching_policies(store, name)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(
            f"{name!r} stands for {len(matches)} policies of {store.root}: {listed(store, matches)}. Give the id."
        )
    policies = [*store.records(RunRecord), *store.records(PolicyRecord)]
    raise InputError(f"No policy named {name!r} in {store.root}. Available: {listed(store, policies)}")


def matching_policies(store: Store, name: str) -> list[str]:
    """Return the ids of the policies that a name may stand for; a run's name or a whole id stands for one alone."""
    run = store.get(RunRecord, name)
    if run is not None and run.policy is not None:
        return [run.policy]
    names = {i: record.name for i, record in store.records(PolicyRecord).items()}
    for row in store.sql("SELECT DISTINCT policy FROM samples_rows").to_pylist():
        names.setdefault(str(row["policy"]), str(row["policy"]))  # sampled without a record
    if name in names:
        return [name]
    return [i for i, called in names.items() if (name and i.startswith(name)) or called == name]


def policy_of_run(store: Store, run: str) -> str:
    """Return the id of the policy that a run made. Raises InputError where there is no such run, or it is under way."""
    record = store.get(RunRecord, run)
    if record is None or record.policy is None:
        runs = ", ".join(store.records(RunRecord)) or "none"
        raise InputError(f"No finished run {run!r} in {store.root}. Runs there: {runs}.")
    return record.policy


def only_policy(store: Store, tasks: Sequence[str] = (), params: str | None = None) -> str:
    """Return the name of a store's only measured policy. Raises InputError, listing what there is, for none or several.

    Only samples of `tasks` (empty: all) and `params` (a hash; None: all) are looked at.
    """
    query = """
        SELECT policy, count(*) FILTER (step IS NULL) AS measured FROM samples
        WHERE ($params IS NULL OR params = $params)
            AND (len($tasks::VARCHAR[]) = 0 OR list_contains($tasks::VARCHAR[], task))
        GROUP BY policy ORDER BY policy
    """
    rows = store.sql(query, {"params": params, "tasks": list(tasks)}).to_pylist()
    policies = [str(row["policy"]) for row in rows if row["measured"]] or [str(row["policy"]) for row in rows]
    if len(policies) == 1:
        return policies[0]
    if policies:
        raise InputError(
            f"{store.root} is a store with {len(policies)} policies: {listed(store, policies)}. Name one of them and "
            "give the store with --store."
        )
    raise InputError(f"The store {store.root} has no such samples; draw some first.")


def listed(store: Store, names: Sequence[str]) -> str:
    """Return names of runs and ids of policies (with what they are called) for a message."""
    records = store.records(PolicyRecord)
    called = [
        f"{records[name].name} ({name})" if name in records and records[name].name != name else name for name in names
    ]
    more = f" and {len(called) - SHOWN} more" if len(called) > SHOWN else ""
    return f"{', '.join(called[:SHOWN])}{more}" if called else "none"


def _find_rollouts(store: Store, name: str) -> tuple[str, str, int] | None:
    """Return (policy, run, step) of the training rollouts that `RUN@STEP` stands for; None for any other name.

    Raises InputError where the run has no rollouts of the step.
    """
    run, at, number = name.rpartition("@")
    if not at or not number.isdecimal() or matching_policies(store, name):
        return None
    query = "SELECT DISTINCT step, policy FROM samples_rows WHERE run = $run AND step IS NOT NULL ORDER BY ALL"
    rows = store.sql(query, {"run": run}).to_pylist()
    if not rows:
        return None
    policies = [str(row["policy"]) for row in rows if row["step"] == int(number)]
    if not policies:
        steps = f"{rows[0]['step']} to {rows[-1]['step']}"
        raise InputError(f"Run {run!r} of {store.root} has no rollouts of step {number}; it has steps {steps}.")
    if len(policies) > 1:
        raise InputError(f"The rollouts {name!r} come from {len(policies)} policies: {', '.join(policies)}. Name one.")
    return policies[0], run, int(number)
