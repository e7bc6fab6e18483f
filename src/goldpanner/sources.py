"""Resolve a word to counts: a counts file, another tool's log, a store's folder, a policy of a store, an RL step."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from goldpanner.errors import InputError
from goldpanner.progress import Notify, silent
from goldpanner.types import Counts, Problem, SamplingParams, StatedParams

if TYPE_CHECKING:
    from goldpanner.interop import Imported, Question
    from goldpanner.store.find import StoredSamples
    from goldpanner.verify import Verifier


@dataclass(frozen=True)
class Log:
    """How another tool's log is read (`interop.read`)."""

    format: str | None = None
    """Name of the format, where it is not recognised."""
    threshold: float | None = None
    """Reward from which a sample is correct, where rewards are not 0 and 1."""
    score: str | None = None
    """Metric, scorer or reward column that decides."""
    filter: str | None = None
    """lm-evaluation-harness's filter."""
    step: int | None = None
    """Only this training step."""
    pool_steps: bool = False
    """Count all training steps together."""
    rescore: str | None = None
    """Name of the verifier that judges the completions anew."""
    skip_partial_line: bool = False
    """Ignore an incomplete last line."""
    map: str | None = None
    """Columns of a table where they have other names (`interop.read`)."""
    join: str | None = None
    """File of the problems of a log that names them and holds neither their text nor their right answer."""

    def read(self, source: object) -> "Imported":
        """Return a log or a table (`interop.read`) as a stream of records."""
        from goldpanner import interop
        from goldpanner.tasks.files import named_problems
        from goldpanner.verify.named import rescorer

        return interop.read(
            source,
            self.format,
            map=self.map,
            verifier=None if self.rescore is None else rescorer(self.rescore, self.threshold),
            threshold=self.threshold,
            score=self.score,
            filter=self.filter,
            step=self.step,
            skip_partial_line=self.skip_partial_line,
            problems=None if self.join is None else named_problems(Path(self.join)),
        )


@dataclass(frozen=True, repr=False)
class Source(Counts):
    """Counts, and what is known of how they were drawn. Whatever takes counts takes these."""

    name: str = ""
    """What the counts are called: a file's stem, or the word that named them."""
    stated: StatedParams = field(default_factory=StatedParams)
    """The fields of SamplingParams that are known."""
    stored: "StoredSamples | None" = None
    """The samples in a store; None for a file."""
    questions: Mapping[str, "Question"] = field(default_factory=dict)
    """By problem id, what a log calls a problem and how it asks it; empty where nothing is known of it."""
    remarks: Sequence[str] = ()
    """What was left out of a log and why, and what is doubtful about it."""

    @classmethod
    def of_counts(cls, counts: Counts, name: str, **known: Any) -> "Source":
        """Return counts under a name, with what else is `known` of them (fields of this class)."""
        return cls(
            counts.ids, counts.n, counts.c, counts.unjudged, counts.truncated, counts.finish_unknown, counts.unanswered,
            name=name, **known,
        )  # fmt: skip

    @property
    def summary(self) -> str:
        """The name, and how many problems and samples there are."""
        return f"{self.name}, {super().summary}"

    @property
    def params(self) -> SamplingParams | None:
        """How the samples were drawn, what is not known at its neutral value; None: nothing of the softmax is known."""
        if not {"temperature", "top_p", "top_k"} & set(self.stated):
            return None
        stated = self.stated
        return SamplingParams(stated.get("temperature", 1.0), stated.get("top_p", 1.0), stated.get("top_k", 0))

    def text_of(self, problem: str) -> str:
        """Return how a problem is asked, else what a log calls it; empty where nothing is known of it."""
        if (question := self.questions.get(problem)) is not None:
            return question.prompt or question.name or ""
        return self._stored_texts.get(problem, "")

    def labels(self, name: str) -> list[str]:
        """Return a label for every problem: a column of the store's problems, or a file of id and label, one a row.

        Raises InputError where the store's problems have no such column, or the file lacks a problem.
        """
        if Path(name).is_file():
            found = _read_labels(Path(name))
            missing = [i for i in self.ids if i not in found]
            if missing:
                raise InputError(
                    f"{name} has no label for {len(missing)} problems, e.g. {missing[0]!r}; add their rows"
                )
            return [found[i] for i in self.ids]
        if self.stored is None:
            raise InputError(f"{name!r} is no file, and {self.name} has no columns; give a CSV file of id and label")
        problems = self.stored.store.problems()
        columns = [{"task": problems[i].task, **problems[i].meta} if i in problems else {} for i in self.ids]
        if not all(name in column for column in columns):
            names = sorted({key for column in columns for key in column})
            raise InputError(f"not every problem of {self.name} has a column {name!r}; there are: {', '.join(names)}")
        return [str(column[name]) for column in columns]

    @cached_property
    def _stored_texts(self) -> dict[str, str]:
        """The prompts of the store's problems by id."""
        return {} if self.stored is None else {i: p.prompt for i, p in self.stored.store.problems().items()}

    def described(self) -> dict[str, object]:
        """Return what the samples are and how they were drawn and judged, as far as it is known, as JSON values."""
        stored = self.stored
        verifiers = [] if stored is None else [stored.verifier] if stored.verifier else sorted(stored.verifiers())
        return {
            "name": self.name,
            "problems": len(self),
            "samples": int(self.n.sum()),
            "samples_of_a_problem": [int(self.n.min()), int(self.n.max())] if len(self) else None,
            "unjudged": int(self.unjudged.sum()),
            "params": dict(self.stated),
            "policy": None if stored is None else stored.policy,
            "verifiers": verifiers,
            "server_faults": self.faults,
        }

    @property
    def faults(self) -> list[str]:
        """Faults the probe found in servers that were sampled anyway, without duplicates."""
        if (stored := self.stored) is None:
            return []
        from goldpanner.store.schema import ProbeRecord

        probes = [p for p in stored.store.records(ProbeRecord).values() if p.policy == stored.policy]
        overridden = [p for p in probes if p.overridden and stored.params in (None, p.params)]
        return list(dict.fromkeys(fault for record in overridden for fault in record.probe.faults))

    @property
    def distrusted(self) -> str | None:
        """Why the samples may not show the model's own distribution, whatever their parameters; None: no reason."""
        return f"the server of {self.name} did not draw as asked: {'; '.join(self.faults)}" if self.faults else None

    @property
    def full_softmax(self) -> bool:
        """Whether the samples are known to come from the model's own distribution."""
        return (
            not self.faults
            and {"temperature", "top_p", "top_k"} <= set(self.stated)
            and SamplingParams(**self.stated).full_softmax
        )


def _read_labels(path: Path) -> dict[str, str]:
    """Return the labels of a CSV file of id and label, with or without a heading, by id."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if bad := next((i for i, row in enumerate(rows, 1) if len(row) < 2), 0):
        raise InputError(f"{path}, row {bad}: a label file has two columns, the problem's id and its label")
    return {row[0]: row[1] for row in rows}


def whole_numbers(text: str, option: str) -> list[int]:
    """Return the numbers of a comma-separated option; raises InputError naming the part that is none."""
    numbers = []
    for part in text.split(","):
        if part.strip():
            try:
                numbers.append(int(float(part)) if float(part) == int(float(part)) else int(part))
            except (ValueError, OverflowError):
                raise InputError(
                    f"{option} {text!r}: {part.strip()!r} is no whole number; write, say, 1,100,10000"
                ) from None
    return numbers


def seeds_by_name(words: Sequence[str]) -> dict[str, list[str]]:
    """Return the models of a command line by name: `a.jsonl`, or `rl=a,b,c` for seeds of one recipe.

    >>> seeds_by_name(["rl=a.jsonl,b.jsonl"])
    {'rl': ['a.jsonl', 'b.jsonl']}
    """
    models: dict[str, list[str]] = {}
    for word in words:
        name, equals, seeds = word.partition("=")
        several = bool(equals) and not Path(word).exists()
        name = name if several else word
        if name in models:
            raise InputError(f"{name!r} is named twice; give each model once, seeds of one recipe as NAME=A,B,C")
        models[name] = [seed for seed in seeds.split(",") if seed] if several else [word]
        if not models[name]:
            raise InputError(f"{word!r} names no counts; write NAME=A,B,C")
    return models


class ArrowTable(Protocol):
    """A table of pandas, polars or pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as a stream of Arrow."""


CountsLike: TypeAlias = "Counts | Imported | Path | str | ArrowTable | NDArray[Any] | Sequence[Mapping[str, object]]"
"""What counts are taken from: see `load_counts`."""


def load_counts(
    what: CountsLike,
    store: Path | str | None = None,
    *,
    tasks: Sequence[str] = (),
    verifier: str | None = None,
    params: str | None = None,
    log: Log | None = None,
    name: str = "counts",
) -> Source:
    """Return the counts that something stands for, with what is known of how they were drawn.

        base, rl = gp.load_counts("base.jsonl"), gp.load_counts("grpo", store="runs/world-seed0")
        print(gp.curve(base).at(16), gp.compare(base, rl).summary)

        >>> load_counts([{"id": "a", "n": 4, "c": 1}]).c.tolist()
        [1]

    Args:
        what: a counts file, another tool's log, the folder of a store that holds one policy; with `store` a policy by
            its name, its run, its id or the beginning of it, or `RUN@STEP`: the training rollouts of that step. In
            memory: counts, a log from `read_log`, or a table of verdicts or counts (pandas, polars, pyarrow, rows as
            dicts, a numpy matrix of 0 and 1, problems by samples).
        store: folder of the store, or of the run, that holds the policy.
        tasks: only these tasks of the store; empty: all.
        verifier: id of the verifier whose verdicts count, where a store has those of several.
        params: hash of the sampling parameters, where a policy was sampled with several.
        log: how another tool's log or a table is read, where it takes more than its path.
        name: what the counts are called, where they lie in memory.

    Returns:
        Counts of every problem: whatever takes `Counts` takes them.

    Raises:
        InputError: nothing has that name (what there is is listed), a choice is missing, or no sample is judged.
    """
    if isinstance(what, Source):
        return what
    if isinstance(what, Counts):
        return Source.of_counts(what, name)
    if not isinstance(what, str | Path):
        return _of_log(what, log or Log(), name)
    name = str(what)
    if is_path(what, store):
        if store is None and Path(what).is_dir():
            from goldpanner.store.find import is_store, only_policy, open_store

            if is_store(what):
                policy = only_policy(open_store(what), tasks, params)
                return _of_store(policy, what, tasks, verifier, params)
        if store is None and (tasks or verifier or params):
            raise InputError(
                f"--task, --verdicts-of and --params choose among the samples of a store, and {name} is a file; leave "
                "them out, or name a store with --store DIR"
            )
        return _of_log(Path(what), log or Log(), Path(what).stem)
    if store is None:
        raise InputError(
            f"No such file: {name!r}. Pass a counts file or a log, or add --store DIR to name a policy in a store."
        )
    return _of_store(name, store, tasks, verifier, params)


def load_base(
    name: str,
    store: Path | str,
    params: SamplingParams,
    problems: Sequence[Problem],
    verifier: "Verifier",
    notify: Notify = silent,
) -> Source:
    """Return the counts that a policy about to be sampled is compared with.

    Of a policy of the store they are `verifier`'s, which first judges the samples that it has not judged yet.

    Args:
        name: policy of the store, or a counts file.
        store: folder of the store.
        params: how the new policy will be sampled.
        problems: problems that it will be sampled on.
        verifier: what will judge it.
        notify: told of the samples judged.

    Raises:
        InputError: the base was sampled with other parameters.
    """
    if is_path(name, store):
        source = load_counts(name)
    else:
        from goldpanner.sampling.collect import judge_stored
        from goldpanner.store.find import find_policy, open_store

        place = open_store(store)
        if place.root.is_dir():
            judge_stored(verifier, find_policy(place, name), problems, params, place, notify)
        source = load_counts(name, store, params=params.hash, verifier=verifier.id)
    mine = asdict(params)
    if changed := {field: value for field, value in source.stated.items() if value != mine.get(field, value)}:
        differences = ", ".join(f"{field} = {value!r}, not {mine[field]!r}" for field, value in changed.items())
        raise InputError(f"{name} was sampled with {differences}; sample both alike")
    return source


def is_path(what: Path | str, store: Path | str | None) -> bool:
    """Return whether a word stands for a file or folder: one lies there, and no policy of the store is called that.

    `-` is standard input.
    """
    if what == "-":
        return True
    if not Path(what).exists():
        return False
    if store is None:
        return True
    from goldpanner.store.find import matching_policies, open_store

    place = open_store(store)
    return not place.root.is_dir() or not matching_policies(place, str(what))


def _of_store(name: str, folder: Path | str, tasks: Sequence[str], verifier: str | None, params: str | None) -> Source:
    """Return the counts of what a name stands for in a store."""
    from goldpanner.store.find import find_samples, open_store
    from goldpanner.store.schema import PolicyRecord

    store = open_store(folder)
    if not store.root.is_dir():
        raise InputError(f"No store at {folder}. Pass the folder of a store or of a run.")
    stored = find_samples(store, name, params, tasks, verifier)
    record = store.get(PolicyRecord, name)
    called = name if record is None else record.name
    return Source.of_counts(_measurable(stored.counts(), called), called, stated=stored.stated(), stored=stored)


def _of_log(what: object, log: Log, name: str) -> Source:
    """Return the counts of a counts file, another tool's log or a table."""
    from goldpanner.interop import Imported

    imported = what if isinstance(what, Imported) else log.read(what)
    counts = _measurable(imported.counts(pool_steps=log.pool_steps), name)
    remarks = imported.report.remarks()
    return Source.of_counts(counts, name, stated=imported.stated, questions=imported.questions, remarks=remarks)


def _measurable(counts: Counts, name: str) -> Counts:
    """Return the counts; raise InputError where nothing is judged, or naming a problem without samples.

    No k would be defined for all of them.
    """
    if (counts.n == 0).any():
        empty = counts.ids[int(np.argmax(counts.n == 0))]
        raise InputError(f"problem {empty!r} has n = 0: no samples; leave its row out")
    if not counts.judged.any():
        raise InputError(
            f"{name}: none of the {counts.n.sum():,} samples of {len(counts)} problems is judged; judge some first "
            "(for a log: --rescore VERIFIER, or another --score)"
        )
    return counts
