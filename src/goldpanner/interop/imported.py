"""What `read` returns: a stream of records that becomes counts, samples, or rows of a store."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from goldpanner.errors import InputError
from goldpanner.interop.format import Format
from goldpanner.interop.records import ImportReport, LogOrigin, Question, Reading, Record, record_of
from goldpanner.rng import seed_for
from goldpanner.types import Counts, IntArray, Problem, Sample, SamplingParams, StatedParams, Verdict, content_hash

if TYPE_CHECKING:
    from goldpanner.store.schema import PolicyRecord, StoredRecord

R = TypeVar("R", bound="StoredRecord")
GREEDY = "drawn greedily (temperature 0) more than once: these are copies of one sample, not draws"
AGAIN = "the same sample again, in another file or a retry"
BLOCK = 10_000
"""Samples written to a store at a time."""
_CHUNK = 1 << 20
_BEGIN = 1024
"""Bytes at the beginning of a file by which most files are told apart."""


class SampleStore(Protocol):
    """What an import needs of a store."""

    def append(self, samples: Iterable[Sample]) -> int:
        """Append samples; keys that are there already change nothing."""

    def append_verdicts(self, rows: Iterable[tuple[Sample, Verdict]]) -> int:
        """Append further verdicts on samples."""

    def put(self, record: "StoredRecord", /) -> None:
        """Keep a record."""

    def put_problems(self, problems: Iterable[Problem]) -> object:
        """Keep problems."""

    def records(self, kind: "type[R]") -> "dict[str, R]":
        """Return the records of a class by id."""


class Imported:
    """A log being read. Each method below reads the files once, from the start; `report` is of the last reading."""

    def __init__(self, of: Format, reading: Reading) -> None:
        self.format = of.name
        """Name of the format, e.g. `lm-eval`."""
        self.has_samples = of.samples
        """Whether the log holds samples; False for a counts file."""
        self.questions: dict[str, Question] = {}
        """By id, the problems of the last reading."""
        self.stated = StatedParams()
        """The sampling parameters that the first record of the last reading states."""
        self._copies = {} if of.dated else copies_of(reading.files)
        files = tuple(file for file in reading.files if file not in self._copies)
        self._reading = replace(reading, files=files)
        self._read = of.read

    @property
    def report(self) -> ImportReport:
        """What was read, skipped and why; complete when the stream has ended."""
        return self._reading.report

    def __iter__(self) -> Iterator[Record]:
        """Yield the records one by one; memory does not grow with the number of samples."""
        reading = self._reading
        reading.report = ImportReport(self.format, [str(f) for f in reading.files])
        for copy, other in self._copies.items():
            reading.report.skip(f"a file that {other.name} holds from its beginning: the same samples", str(copy))
        self.questions, self.stated = {}, StatedParams()
        seen: set[int] = set()
        for whole in self._guarded(reading):
            record = _once(whole, seen, reading.report)
            if record is None:
                continue
            if reading.step is not None and record.step != reading.step:
                reading.report.skip(f"not of training step {reading.step}", str(record.origin.file))
                continue
            if record.origin.params.get("temperature") == 0 and (record.n > 1 or record.id in self.questions):
                reading.report.warn(GREEDY)
            if record.id not in self.questions:
                self.stated = self.stated if self.questions else record.origin.params
                self.questions[record.id] = Question(record.name, record.problem.prompt if record.problem else "")
            reading.report.samples += record.n
            reading.report.correct += record.c
            reading.report.unjudged += record.unjudged
            reading.report.truncated += record.truncated
            reading.report.finish_unknown += record.finish_unknown
            reading.report.problems = len(self.questions)
            yield record
        if not self.questions:
            names = ", ".join(reading.report.files)
            why = "; ".join(f"{s.count} skipped: {r}" for r, s in reading.report.skipped.items())
            raise InputError(f"nothing was imported from {names}: {why or 'it holds no record'}")

    def _guarded(self, reading: Reading) -> Iterator[Record]:
        try:
            yield from self._read(reading)
        except RecursionError:
            files, row = ", ".join(reading.report.files), reading.report.rows
            raise InputError(
                f"{files}: record {row} nests its values too deeply for a {self.format} log; give another file"
            ) from None

    def counts(self, *, pool_steps: bool = False) -> Counts:
        """Return counts per problem, sorted by id.

        Raises InputError when the log holds several training steps (each is another policy), neither was one chosen nor
        `pool_steps` given; and when its files come from several models, or one task's from several sampling parameters.
        """
        self._reading.counts_only = True
        try:
            return self._counts(pool_steps)
        finally:
            self._reading.counts_only = False

    def _counts(self, pool_steps: bool) -> Counts:
        table: dict[str, IntArray] = {}
        step: int | None = None
        origins: dict[str, LogOrigin] = {}
        for record in self:
            _same_policy(record, origins)
            if not pool_steps and step is not None and record.step != step:
                raise InputError(
                    f"the log holds several training steps ({step} and {record.step} at least), and each is another "
                    "policy; choose one with --step N, or count them together with --pool-steps"
                )
            step = record.step
            own = np.array([getattr(record, name) for name in Counts.COLUMNS], np.int64)
            table[record.id] = table.get(record.id, np.zeros_like(own)) + own
        ids = sorted(table)
        return Counts(tuple(ids), *np.array([table[name] for name in ids]).reshape(-1, len(Counts.COLUMNS)).T)

    def problems(self) -> dict[str, Problem]:
        """Return the problems of the log by id."""
        return {r.id: r.problem for r in self if r.problem is not None}

    def samples(
        self, *, policy: str | None = None, run: str | None = None, seed: int | None = None
    ) -> Iterator[Sample]:
        """Yield the samples, numbered per problem in the order of the log.

        `policy` is the policy's id; without it the hash of the log's own record of its model. A training step is
        another policy: its id is `{policy}@{step}`. The sampling parameters' hash is that of SamplingParams where the
        log states every field of it, else of what it states. `seed` keeps the keys of different logs apart: by default
        it is made of the log's own id, or of the content of its file. `run` is by default the policy, for training
        rollouts, and empty else.
        """
        for sample, _ in self._keyed(policy, run, {}, seed):
            yield sample

    def into(self, store: SampleStore, *, policy: str | None = None, run: str | None = None) -> ImportReport:
        """Write samples, problems, and records of policy, sampling parameters and import to a store; return the report.

        The same file again changes nothing. A file that begins with all of a file imported before is that file, grown:
        what is new in it is added. Any other file adds to what the policy has.
        """
        if not self.has_samples:
            raise InputError("a counts file holds no samples to store; use it as it is: goldpanner measure FILE")
        from goldpanner.store.schema import ImportRecord, ParamsRecord, PolicyRecord

        seeds: dict[Path, int] = {}
        marks: list[ImportRecord] = []
        earlier = {record.id: (record.bytes, record.seed) for record in store.records(ImportRecord).values()}
        for path in self._reading.files:
            content, size, seeds[path] = _identify(path, earlier)
            marks.append(ImportRecord(id=content, name=path.name, bytes=size, seed=seeds[path]))
            store.put(marks[-1])  # now, so that an interrupted import is known too
        block: list[Sample] = []
        fresh: dict[str, Problem] = {}
        policies, params = set(store.records(PolicyRecord)), set(store.records(ParamsRecord))
        written: set[str] = set()
        for sample, record in self._keyed(policy, run, seeds, None):
            if sample.params not in params:
                params.add(sample.params)
                store.put(ParamsRecord.model_validate({**record.origin.params, "id": sample.params}))
            if sample.policy not in policies:
                policies.add(sample.policy)
                store.put(_policy(sample, record))
            if record.problem is not None and record.id == record.problem.id and record.id not in written:
                written.add(record.id)
                fresh[record.id] = record.problem
            block.append(sample)
            if len(block) >= BLOCK:
                self._write(store, block, fresh)
                block, fresh = [], {}
        self._write(store, block, fresh)
        for mark in marks:
            store.put(mark.model_copy(update={"report": self.report.to_json()}))
        return self.report

    def _write(self, store: SampleStore, samples: list[Sample], problems: dict[str, Problem]) -> None:
        store.put_problems(problems.values())
        store.append(samples)
        if self._reading.verifier is not None:  # samples that were there already keep their verdict: add the new one
            store.append_verdicts((sample, sample.verdict) for sample in samples)

    def _keyed(
        self, policy: str | None, run: str | None, seeds: dict[Path, int], seed: int | None
    ) -> Iterator[tuple[Sample, Record]]:
        if not self.has_samples:
            raise InputError("a counts file holds no samples, only their numbers; use counts()")
        next_index: dict[tuple[str, str, str, int], int] = {}
        groups: dict[tuple[int | None, str], int] = {}
        sizes: dict[int | None, int] = {}
        for record in self:
            who = policy_id(record, policy)
            of_run = ("" if record.step is None else who.rsplit("@", 1)[0]) if run is None else run
            params = record.origin.params_id or params_id(record.origin.params)
            at = _seed(record.origin, seeds) if seed is None else seed
            group: int | None = None
            if record.group is not None:
                key = (record.step, record.group)
                if key not in groups:
                    groups[key] = sizes[record.step] = sizes.get(record.step, -1) + 1
                group = groups[key]
            if record.n > len(record.draws):
                raise InputError(f"{record.origin.file} holds no samples, only their numbers; use its counts")
            for draw in record.draws:
                counter = (record.id, who, params, at)
                index = next_index.get(counter, 0)
                next_index[counter] = index + 1
                number = draw.key or (at, index)
                task = record.problem.task if record.problem is not None else ""
                yield (
                    Sample(
                        record.id, who, params, *number, draw.completion, draw.verdict,
                        task=task, run=of_run, reward=draw.reward, step=record.step, group=group,
                    ),
                    record,
                )  # fmt: skip


def _once(record: Record, seen: set[int], report: ImportReport) -> Record | None:
    """Return the record without the samples that came before by their own names; None where none is left."""
    draws = []
    for draw in record.draws:
        name = hash(draw.identity)
        if draw.identity and name in seen:
            report.skip(AGAIN, str(record.origin.file))
            continue
        seen.update({name} if draw.identity else ())
        draws.append(draw)
    if len(draws) == len(record.draws):
        return record
    if not draws or record.problem is None:
        return None
    return record_of(
        record.problem, draws, record.origin, problem_id=record.id, step=record.step, group=record.group,
        name=record.name,
    )  # fmt: skip


def copies_of(files: Sequence[Path]) -> dict[Path, Path]:
    """Return the files whose whole content another one begins with: a copy, or the log before it grew -> that one."""
    begins: dict[bytes, list[Path]] = {}
    for file in files if len(files) > 1 else ():
        with file.open("rb") as handle:
            begins.setdefault(handle.read(_BEGIN), []).append(file)
    result: dict[Path, Path] = {}
    for alike in begins.values():
        holders: dict[tuple[int, bytes], Path] = {}
        """The first file whose first bytes, so many, have this hash."""
        sizes = sorted({size for file in alike if (size := file.stat().st_size)})
        for file in sorted(alike, key=lambda file: -file.stat().st_size) if len(alike) > 1 else ():
            digests = _digests(file, sizes)
            if digests and digests[-1] in holders:
                result[file] = holders[digests[-1]]
            for digest in digests:
                holders.setdefault(digest, file)
    return result


def _digests(file: Path, sizes: Sequence[int]) -> list[tuple[int, bytes]]:
    """Return the hashes of a file's first bytes, for each of the sizes up to its own."""
    digest, read, result = hashlib.sha256(), 0, []
    with file.open("rb") as handle:
        for size in sizes:
            while read < size and (chunk := handle.read(min(_CHUNK, size - read))):
                digest.update(chunk)
                read += len(chunk)
            if read < size:
                break
            result.append((size, digest.digest()))
    return result


def _same_policy(record: Record, origins: dict[str, LogOrigin]) -> None:
    """Raise InputError where a record is of another model than those before, or drawn otherwise than its task's."""
    origin = record.origin
    any_task = origins.setdefault("", origin)
    same_task = origins.setdefault(f"task {record.problem.task if record.problem else ''}", origin)
    for what, a, b, before in (
        ("models", any_task.model, origin.model, any_task),
        ("sampling parameters", same_task.params, origin.params, same_task),
    ):
        if a != b:
            raise InputError(
                f"the samples come from different {what}: {a} ({before.file}) and {b} ({origin.file}), which cannot be "
                "counted together; import one file at a time, or all into a store with --store"
            )


def policy_id(record: Record, policy: str | None) -> str:
    """Return the policy id of a record's samples. Raises InputError where neither log nor user names a model."""
    if policy is None:
        if record.origin.model is None:
            raise InputError(
                f"{record.origin.file} does not say which model drew its samples; name the policy with --policy NAME"
            )
        ours = record.origin.model.get("policy")  # a log that we exported
        policy = str(ours) if ours is not None else content_hash(dict(record.origin.model))
    return policy if record.step is None else f"{policy}@{record.step}"


def params_id(stated: StatedParams) -> str:
    """Return the hash of the sampling parameters: SamplingParams' own if every field is stated, else of what is."""
    if set(stated) == set(SamplingParams.__dataclass_fields__):
        return SamplingParams(**stated).hash
    return content_hash({"unknown": True, **stated}, 12)


def _policy(sample: Sample, record: Record) -> "PolicyRecord":
    """Return the record of the sample's policy."""
    from goldpanner.store.schema import PolicyRecord

    model = dict(record.origin.model or {})
    name = sample.policy
    if model:
        name = str(model.get("name", sample.policy)) + ("" if sample.step is None else f"@{sample.step}")
    return PolicyRecord(id=sample.policy, name=name, kind="imported", step=sample.step, model=model)


def _seed(origin: LogOrigin, seeds: dict[Path, int]) -> int:
    """Return the seed of a file's samples; `seeds` remembers those that take reading the file."""
    if origin.identity is not None:
        return seed_for("import", origin.identity)
    if origin.file not in seeds:
        seeds[origin.file] = _identify(origin.file, {})[2]
    return seeds[origin.file]


def _identify(path: Path, earlier: Mapping[str, tuple[int, int]]) -> tuple[str, int, int]:
    """Return the hash of what a file holds, its size, and the seed of its samples; `earlier`: hash -> (size, seed).

    Where the file begins with all of a file imported earlier (it was appended to since), the seed is that file's.
    """
    digest, read, seed = hashlib.sha256(), 0, None
    stops = sorted({size for size, _ in earlier.values()})
    with path.open("rb") as handle:
        while True:
            at = bisect_right(stops, read)
            chunk = handle.read(min(_CHUNK, stops[at] - read) if at < len(stops) else _CHUNK)
            if not chunk:
                break
            digest.update(chunk)
            read += len(chunk)
            before = earlier.get(digest.hexdigest()[:32]) if read in stops[at : at + 1] else None
            seed = seed if before is None else before[1]
    content = digest.hexdigest()[:32]
    return content, read, seed_for("import", content) if seed is None else seed
