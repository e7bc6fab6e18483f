"""Store: append samples, verdicts and truth; ask for counts, samples and groups."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from goldpanner.errors import InputError, StoreError
from goldpanner.store import upkeep
from goldpanner.store.counts import Selection, count_rows
from goldpanner.store.merge import MergeReport, merge_stores
from goldpanner.store.read import Ask, Reader
from goldpanner.store.records import Problems, R, Records
from goldpanner.store.rows import (
    KEY,
    SAMPLES,
    SCORES,
    TRUTH,
    VERDICTS,
    Kind,
    conform,
    samples_table,
    scores_table,
    to_samples,
    verdicts_table,
)
from goldpanner.store.schema import StoredRecord
from goldpanner.types import Counts, Problem, Sample, ScoredSamples, Verdict

BLOCK_CHARACTERS = 200_000_000
"""Text of one block: long chains of thought must not fill the memory."""


class Store:
    """A folder of samples. It is made by the first thing written to it; reading never creates anything.

    Every method may be called while other processes append, check or compact. A part that is damaged or lost raises
    StoreError naming it, and so does a store of another format; `repair` sets damaged parts aside.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {self.root} is a file; give the path of a folder")
        self._reader = Reader(self.root)
        self._records = Records(self.root, self._reader.manifest)
        self._problems = Problems(self.root, self._reader.manifest)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        return Store, (self.root,)

    # --- writing

    def writer(self, block_rows: int = 50_000, block_seconds: float = 30.0) -> "Writer":
        """Return a writer that gathers samples into parts; use it in a `with` block.

        Args:
            block_rows: samples of a part at most.
            block_seconds: time after which a part is written although it is smaller.
        """
        return Writer(self, block_rows, block_seconds)

    def append(self, samples: Iterable[Sample]) -> int:
        """Write `samples` as one part and return how many they are. They are on disk when this returns."""
        rows = samples if isinstance(samples, Sequence) else list(samples)
        return self._append(SAMPLES, samples_table(rows)) if rows else 0

    def append_table(self, table: pa.Table) -> int:
        """Write samples given as columns (the fast way) as one part and return how many they are.

        Args:
            table: columns as in `rows.SAMPLES`; those that may hold nulls may be left out.

        Raises:
            InputError: a column that is missing, unknown, of another type, or has nulls or words it may not have.
        """
        return self._append(SAMPLES, conform(table, SAMPLES)) if len(table) else 0

    def append_verdicts(self, rows: Iterable[tuple[Sample, Verdict]]) -> int:
        """Store further verdicts on samples; judging again never samples again.

        Args:
            rows: samples with their verdicts, keyed by (sample key, verifier).
        """
        pairs = list(rows)
        return self._append(VERDICTS, verdicts_table(pairs)) if pairs else 0

    def append_scores(self, scorer: str, rows: Iterable[tuple[Sample, float]]) -> int:
        """Store log P of samples' completions under another policy.

        Args:
            scorer: id of that policy.
            rows: samples with log P in nats.

        Raises:
            InputError: a log P that is NaN or above 0.
        """
        pairs = list(rows)
        for sample, logp in pairs:
            if not logp <= 1e-6:
                raise InputError(f"log-probability of sample {sample.key} is {logp!r}; it must be a number <= 0")
        return self._append(SCORES, scores_table(scorer, pairs)) if pairs else 0

    def append_truth(self, policy: str, logp: Mapping[str, float], kind: str = "chain") -> int:
        """Store the exact log P(correct) of problems under a policy.

        Args:
            policy: id of the policy.
            logp: problem id -> log P in nats.
            kind: `chain`, P of the worked answer, or another word of yours.

        Raises:
            InputError: a log P that is NaN or above 0.
        """
        values = np.fromiter(logp.values(), np.float64, len(logp))
        if bad := [i for i, v in logp.items() if not v <= 1e-6]:
            raise InputError(f"log-probability of problem {bad[0]!r} is {logp[bad[0]]!r}; it must be a number <= 0")
        table = pa.table(
            {"policy": [policy] * len(logp), "problem": list(logp), "kind": [kind] * len(logp), "logp": values}
        )
        return self._append(TRUTH, conform(table, TRUTH)) if logp else 0

    def _append(self, kind: Kind, table: pa.Table) -> int:
        self._reader.parts[kind.name].append(table)
        return len(table)

    # --- reading

    def counts(
        self,
        policy: str,
        *,
        params: str | None = None,
        tasks: Sequence[str] | None = None,
        problems: Sequence[str] | None = None,
        verifier: str | None = None,
        run: str | None = None,
        step: int | None = None,
        seed: int | None = None,
        rollouts: bool = True,
        failed: bool = True,
    ) -> Counts:
        """Return n, c, unjudged and truncated per problem of a policy, sorted by problem id, each key once.

        Args:
            policy: id of the policy.
            params: hash of the sampling parameters, where the store has several.
            tasks: tasks to choose; None: all.
            problems: ids of problems to choose; None: all.
            verifier: `id@version` of the verifier whose verdicts are counted, those stored with the samples and those
                of `append_verdicts`; samples it never saw are unjudged.
            run: training run whose rollouts are counted.
            step: step of that run.
            seed: seed of the samples; None: all, which are distinct samples.
            rollouts: count rollouts of RL training.
            failed: count samples whose request failed; they are unjudged.

        Raises:
            InputError: the samples were drawn under several params or judged by several verifiers and none is named
                (the choices are), there are none at all, or none of a problem asked for.
        """
        return count_rows(
            self._existing(),
            Selection(policy, params, tasks, problems, run, seed, step, rollouts=rollouts, failed=failed),
            verifier,
        )

    def samples(
        self,
        *,
        policy: str | None = None,
        problem: str | None = None,
        problems: Sequence[str] | None = None,
        run: str | None = None,
        step: int | None = None,
        params: str | None = None,
        seed: int | None = None,
        limit: int | None = None,
    ) -> list[Sample]:
        """Return stored samples, each key once, sorted by policy, problem, params, seed and index.

        Args:
            policy: id of the policy; None, as for all of these: any.
            problem: id of the problem.
            problems: ids of several problems.
            run: training run of rollouts.
            step: step of that run.
            params: hash of the sampling parameters.
            seed: seed of the samples.
            limit: largest number of samples to return.
        """
        chosen = Selection(policy, params, None, problems if problem is None else [problem], run, seed, step)
        reader, end = self._existing(), "" if limit is None else "LIMIT $limit"
        values = chosen.values | ({} if limit is None else {"limit": int(limit)})

        def work(ask: Ask) -> pa.Table:
            rows = reader.once("samples", chosen.where)
            return ask(f'SELECT * FROM {rows} ORDER BY policy, problem, params, seed, "index" {end}', values)

        return to_samples(reader.answer(("samples",), work))

    def drawn(self, policy: str, params: str, seed: int, failed: bool = False) -> dict[str, set[int]]:
        """Return the indices already stored, per problem id: what need not be drawn again.

        A sample whose request failed has to be, under its own key, and then takes the failed one's place.

        Args:
            policy: id of the policy.
            params: hash of the sampling parameters.
            seed: seed of the samples.
            failed: count samples whose request failed as drawn.
        """
        chosen = Selection(policy, params, seed=seed, failed=failed)
        query = f'SELECT problem, "index" FROM samples_rows WHERE {chosen.where}'
        table = self._reader.answer(("samples",), lambda ask: ask(query, chosen.values))
        problems = table.column("problem").combine_chunks().dictionary_encode()
        codes = problems.indices.to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(problems.dictionary)))
        runs = np.split(table.column("index").to_numpy()[order], ends[:-1]) if len(table) else []
        return {problem: set(run.tolist()) for problem, run in zip(problems.dictionary.to_pylist(), runs)}

    def groups(self, run: str) -> pa.Table:
        """Return the RL rollouts of a run: step, group, problem, task, n, c, unjudged, one row per group, in order.

        `unjudged` are those that training leaves out: not those that are unjudged by the model's own doing.

        Raises InputError where the run stored no rollouts.
        """
        reader = self._existing()

        def work(ask: Ask) -> pa.Table:
            rows = reader.once("samples", "run = $run", key=(*KEY, "step", "group"))
            table = ask(
                f"""
                SELECT step, "group", problem, any_value(task) AS task, count(*) AS n,
                    count(*) FILTER (outcome = 'correct') AS c,
                    count(*) FILTER (outcome = 'unjudged' AND cause IS DISTINCT FROM 'model') AS unjudged
                FROM {rows} WHERE step IS NOT NULL GROUP BY step, "group", problem ORDER BY ALL
                """,
                {"run": run},
            )
            if not len(table):
                runs = ask("SELECT DISTINCT run FROM samples_rows WHERE step IS NOT NULL ORDER BY run")
                names = ", ".join(map(repr, runs.column(0).to_pylist())) or "none"
                raise InputError(f"run {run!r} has no RL rollouts in {self.root}; runs that have some: {names}")
            return table

        return reader.answer(("samples",), work)

    def scored(
        self, policy: str, scorer: str, problems: Sequence[str], *, params: str | None = None
    ) -> dict[str, ScoredSamples]:
        """Return, per problem whose samples were all scored, arrays `correct`, `logp` (under `scorer`) and `own`.

        RL rollouts, unjudged samples and samples without a log-probability of their own are left out; so is a whole
        problem of which some sample has no score, since the rest would be a biased choice.

        Args:
            policy: id of the policy that drew the samples.
            scorer: id of the policy under which they were scored.
            problems: ids of the problems.
            params: hash of the sampling parameters, where the store has several.
        """
        chosen = Selection(policy, params, problems=list(problems))
        reader = self._existing()

        def work(ask: Ask) -> pa.Table:
            rows = reader.once("samples", chosen.where)
            scores = reader.once("scores", "policy = $policy AND scorer = $scorer")
            return ask(
                f"""
                SELECT s.problem, s.outcome = 'correct' AS correct, s.logprob AS own, coalesce(x.logp, 'nan') AS logp
                FROM {rows} s LEFT JOIN {scores} x USING (problem, policy, params, seed, "index")
                WHERE s.step IS NULL AND s.logprob IS NOT NULL AND s.outcome <> 'unjudged'
                ORDER BY s.problem, params, seed, "index"
                """,
                chosen.values | {"scorer": scorer},
            )

        table = reader.answer(("samples", "scores"), work)
        names = np.array(table.column("problem").to_pylist(), dtype=object)
        columns = {name: table.column(name).to_numpy() for name in ("correct", "own", "logp")}
        by_problem: dict[str, ScoredSamples] = {}
        for problem in dict.fromkeys(names.tolist()):
            at = names == problem
            if not np.isnan(columns["logp"][at]).any():
                correct, logp, own = (columns[name][at] for name in ("correct", "logp", "own"))
                by_problem[problem] = {"correct": correct, "logp": logp, "own": own}
        return by_problem

    def truth(self, policy: str, kind: str = "chain") -> dict[str, float]:
        """Return the exact log P(correct), in nats, per problem id, sorted.

        Args:
            policy: id of the policy.
            kind: kind under which it was stored.

        Raises:
            InputError: none is stored.
        """
        reader = self._existing()

        def work(ask: Ask) -> pa.Table:
            rows = reader.once("truth", "policy = $policy AND kind = $kind")
            table = ask(f"SELECT problem, logp FROM {rows} ORDER BY problem", {"policy": policy, "kind": kind})
            if not len(table):
                names = ask("SELECT DISTINCT policy, kind FROM truth_rows ORDER BY ALL LIMIT 8").to_pylist()
                there = ", ".join(f"{row['policy']} ({row['kind']})" for row in names) or "none"
                raise InputError(f"no exact truth of kind {kind!r} for policy {policy!r}; stored: {there}")
            return table

        table = reader.answer(("truth",), work)
        return dict(zip(table.column("problem").to_pylist(), table.column("logp").to_pylist()))

    def sql(self, query: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """Return the result of an SQL query (DuckDB) over the views samples, verdicts, truth and scores, each key once.

        Args:
            query: the query, with `$name` where a value goes.
            parameters: name -> value.

        Raises:
            InputError: the query is wrong, with DuckDB's words.
        """
        reader = self._existing()
        names = tuple(reader.parts)

        def work(ask: Ask) -> pa.Table:
            for name in names:
                reader.show(name)
            return ask(query, parameters)

        return reader.answer(names, work)

    def _existing(self) -> Reader:
        if not self.root.is_dir():
            raise StoreError(f"there is no store at {self.root}; give the folder that a run wrote, or write one first")
        return self._reader

    # --- records and problems

    def put(self, record: StoredRecord) -> None:
        """Write or replace a record, the one of its class and `id`. Raises InputError where it is no JSON."""
        self._records.put(record)

    def get(self, kind: type[R], id: str) -> R | None:  # noqa: A002
        """Return a record, None where there is none.

        Args:
            kind: class of the record, from `store.schema` or `store.studies`.
            id: its id.

        Raises:
            StoreError: a damaged record, with its file and field, or one of another version.
        """
        return self._records.get(kind, id)

    def records(self, kind: type[R]) -> dict[str, R]:
        """Return the records of class `kind` by id, sorted by id. Raises StoreError as `get` does."""
        return self._records.all(kind)

    def put_problems(self, problems: Iterable[Problem]) -> int:
        """Store those `problems` that are not there yet; return how many these were."""
        return self._problems.put(problems)

    def problems(self, tasks: Sequence[str] | str | None = None) -> dict[str, Problem]:
        """Return the stored problems by id, in the order they were stored; of `tasks` only, if given."""
        wanted = None if tasks is None else {tasks} if isinstance(tasks, str) else set(tasks)
        return {i: p for i, p in self._problems.all().items() if wanted is None or p.task in wanted}

    # --- upkeep

    def check(self) -> upkeep.CheckReport:
        """Compare every file with the manifest, byte by byte; say what was found and change nothing."""
        return upkeep.check(self._existing())

    def repair(self) -> upkeep.RepairReport:
        """Set aside what `check` finds damaged, take lost files out of the manifest and unlisted ones into it.

        A manifest that is lost or damaged is written anew. What was done is kept in the store; `restore` undoes it.
        Raises StoreError for a store of another format, and where there is not enough memory to tell.
        """
        return upkeep.repair(self._existing())

    def restore(self) -> upkeep.RepairReport:
        """Undo the latest repair that was not undone yet; return what it was. Raises StoreError where there is none."""
        return upkeep.restore(self._existing())

    def merge(self, other: "Store") -> MergeReport:
        """Copy what another store holds into this one; a sample that both have counts once, as this one has it.

        Raises StoreError where a file of the other is damaged, lost, or of a version that this build does not read.
        """
        return merge_stores(self._reader, other._existing())

    def compact(self) -> upkeep.CompactReport:
        """Merge the parts of each dataset into one, sorted and without duplicates. Raises StoreError on damage."""
        return upkeep.compact(self._existing())


class Writer:
    """Gathers samples and verdicts and writes a part per block; what is not flushed is all that a kill can lose.

    A block is written when it has `block_rows` rows or long texts fill it, when `block_seconds` have passed since the
    last one, looked at on each write, and at the end of the `with` block, also when that ends in an exception: samples
    already judged are worth keeping.
    """

    def __init__(self, store: Store, block_rows: int = 50_000, block_seconds: float = 30.0) -> None:
        if block_rows < 1:
            raise InputError(f"block_rows is {block_rows!r}; give an integer >= 1")
        self.store = store
        self.block_rows = block_rows
        self.block_seconds = block_seconds
        self._samples: list[Sample] = []
        self._verdicts: list[tuple[Sample, Verdict]] = []
        self._characters = 0
        self._since = time.monotonic()

    def write(self, samples: Iterable[Sample], verdicts: Iterable[tuple[Sample, Verdict]] = ()) -> None:
        """Take samples, and further verdicts on them, into one block; writes it when it is full."""
        for sample in samples:
            self._samples.append(sample)
            self._characters += len(sample.completion.text) + len(sample.completion.thought or "")
        self._verdicts.extend(verdicts)
        self._flush_if_due()

    def write_verdicts(self, rows: Iterable[tuple[Sample, Verdict]]) -> None:
        """Take verdicts on stored samples into the block; writes it when it is full."""
        self.write((), rows)

    def flush(self) -> None:
        """Write what has been taken so far; it is on disk when this returns."""
        for start in range(0, len(self._samples), self.block_rows):
            self.store.append(self._samples[start : start + self.block_rows])
        self._samples = []
        self.store.append_verdicts(self._verdicts)
        self._verdicts = []
        self._characters = 0
        self._since = time.monotonic()

    def _flush_if_due(self) -> None:
        waited = time.monotonic() - self._since
        rows = max(len(self._samples), len(self._verdicts))
        if rows >= self.block_rows or self._characters >= BLOCK_CHARACTERS or waited >= self.block_seconds:
            self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
