"""What lies in a run's folder, gathered for the page: study, stages, counts, exact P, training records."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from goldpanner.errors import InputError
from goldpanner.report.chart_style import Look
from goldpanner.store import Store
from goldpanner.store.find import is_store
from goldpanner.store.schema import ParamsRecord, RunRecord
from goldpanner.store.studies import STUDY, StudyRecord
from goldpanner.types import Counts, FloatArray, IntArray, Problem, StatedParams, StepMetrics

ARM_LOOKS = (
    (("#56b4e9", "circle"), ("#0072b2", "circle")),
    (("#e69f00", "square"), ("#d55e00", "square")),
    (("#cc79a7", "diamond"), ("#882255", "diamond")),
    (("#66c2a5", "triangle-up"), ("#00735a", "triangle-up")),
)
"""A hue and a shape per arm; before RL light, dashed and hollow, after RL dark, full and filled."""


@dataclass(frozen=True)
class Groups:
    """What became of the groups of every RL step."""

    step_T: IntArray
    shares_T: FloatArray
    """(steps, 3): shares of all-wrong, mixed and all-correct groups; what is missing to 1 hangs on unjudged samples."""
    rollouts: int
    """Samples drawn in all steps together."""


@dataclass(frozen=True)
class StageView:
    """One stage with everything measured of it; parts that are not there are empty or None."""

    id: str
    kind: str
    """`pretrain`, `sft`, `grpo`, ..."""
    label: str
    parent: str | None
    policy: str
    record: RunRecord
    counts: Counts
    """By the answer verifier, over every measured task."""
    process: Counts | None
    """By the process verifier, where a further verdict was kept."""
    truth: Mapping[str, float]
    """log P (nats) of the canonical chain, by problem id."""
    metrics: Sequence[StepMetrics]
    groups: Groups | None


@dataclass(frozen=True)
class Run:
    """Everything the page is drawn from."""

    study: StudyRecord | None
    """The record of the whole run; None where a folder holds stages alone."""
    stages: Sequence[StageView]
    arms: Sequence[tuple[StageView, StageView]]
    """(before RL, after RL)."""
    tasks: Sequence[str]
    """Tasks with problems of which something is known, measured ones first."""
    problems: Mapping[str, Problem]
    params: StatedParams = field(default_factory=StatedParams)
    """The sampling parameters of the measurement, where they are on record."""
    responses: Mapping[tuple[str, str], Sequence["Response"]] = field(default_factory=dict)
    """(stage id, problem id) -> distinct responses, most frequent first."""

    @cached_property
    def by_task(self) -> dict[str, list[str]]:
        """Problem ids of each task, in the order of the store."""
        ids: dict[str, list[str]] = {task: [] for task in self.tasks}
        for problem_id, problem in self.problems.items():
            if problem.task in ids:
                ids[problem.task].append(problem_id)
        return ids

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How each stage is drawn on the whole page, by stage id."""
        by_name: dict[str, Look] = {}
        for arm, pair in enumerate(self.arms):
            for rl, stage in enumerate(pair):
                color, shape = ARM_LOOKS[arm % len(ARM_LOOKS)][rl]
                by_name.setdefault(stage.id, Look(stage.label, color, () if rl else (5, 3), shape, hollow=not rl))
        for number, stage in enumerate(stage for stage in self.stages if stage.id not in by_name):
            color, shape = ARM_LOOKS[number % len(ARM_LOOKS)][1]
            by_name[stage.id] = Look(stage.label, color, (), shape)
        return by_name

    @cached_property
    def measured(self) -> list[str]:
        """Tasks that some stage was sampled on; if nothing was sampled, every task."""
        sampled = {self.problems[i].task for stage in self.stages for i in stage.counts.ids}
        return [task for task in self.tasks if task in sampled] or list(self.tasks)

    @property
    def trained(self) -> Sequence[str]:
        """Tasks that RL was rewarded on."""
        return () if self.study is None else self.study.tasks_trained

    def counts(self, stage: StageView, task: str, process: bool = False) -> Counts | None:
        """Return the counts of one stage on one task, None where nothing was sampled."""
        counts = stage.process if process else stage.counts
        if counts is None:
            return None
        wanted = set(self.by_task[task])
        keep = np.array([i for i, problem in enumerate(counts.ids) if problem in wanted], np.int64)
        return counts.select(keep) if len(keep) else None

    def logp(self, stage: StageView, task: str) -> FloatArray | None:
        """Return log P (nats) of every problem of a task under a stage, None where none is known."""
        values = [stage.truth[i] for i in self.by_task[task] if i in stage.truth]
        return np.array(values) if values else None


@dataclass(frozen=True)
class Response:
    """A distinct response to one problem, with how often it was drawn and what the verifiers said of it."""

    text: str
    verdict: str
    """`right`, `lucky` (right answer, wrong way), `wrong` or `unjudged`."""
    times: int
    reason: str


def gather(root: Path, responses: int = 4) -> Run:
    """Return what lies in `root`, with at most `responses` of the most frequent responses of each verdict kept.

    Raises InputError if there is no store, or nothing in it that could be drawn.
    """
    if not (root / "store").is_dir():
        if is_store(root):
            raise InputError(f"{root} is a sample store, not a run; reports are drawn from runs")
        raise InputError(f"No run at {root}: it has no store. Pass the folder of a run, e.g. runs/world-seed0.")
    store = Store(root / "store")
    study = store.get(StudyRecord, STUDY)
    runs = {name: record for name, record in store.records(RunRecord).items() if record.policy is not None}
    names = [name for name in (runs if study is None else study.stages) if name in runs]
    if not names:
        raise InputError(
            f"report: the store in {str(root)!r} holds no finished stage; finish one with `goldpanner run`"
        )
    source = _Source(root, store, study, runs)
    stages = [source.stage(name) for name in names]
    by_id = {stage.id: stage for stage in stages}
    arms = [(by_id[a], by_id[b]) for a, b in (() if study is None else study.arms) if a in by_id and b in by_id]
    seen = {i for stage in stages for i in (*stage.counts.ids, *stage.truth)}
    problems = {i: p for i, p in source.problems.items() if i in seen}
    order = [] if study is None else [*study.tasks_measured, *study.tasks_probed]
    present = {p.task for p in problems.values()}
    tasks = [task for task in order if task in present] + sorted(present - set(order))
    texts = {(stage.id, i): rows for stage in stages for i, rows in source.responses(stage, responses).items()}
    params = None if study is None else store.get(ParamsRecord, study.params)
    return Run(study, stages, arms, tasks, problems, StatedParams() if params is None else params.stated, texts)


class _Source:
    """Reads one run's folder; asks first what is there, because a store that lacks something says so by raising."""

    def __init__(self, root: Path, store: Store, study: StudyRecord | None, runs: Mapping[str, RunRecord]) -> None:
        self.root, self.store, self.study, self.runs = root, store, study, runs
        self.problems = store.problems()
        self.params = None if study is None else study.params
        self.verifiers = {} if study is None else study.verifiers
        self.sampled = self._distinct("SELECT DISTINCT policy FROM samples WHERE step IS NULL")
        self.known = self._distinct("SELECT DISTINCT policy FROM truth")
        self.rolled = self._distinct("SELECT DISTINCT run FROM samples WHERE step IS NOT NULL")
        further = sorted(self._distinct("SELECT DISTINCT verifier FROM verdicts"))
        named = self.verifiers.get("process")
        self.process = named if named in further else further[0] if len(further) == 1 else None

    def _distinct(self, query: str) -> set[str]:
        return set(self.store.sql(query).column(0).to_pylist())

    def stage(self, name: str) -> StageView:
        """Return everything known of one stage."""
        record = self.runs[name]
        policy = str(record.policy)
        folder = self.root / "stages" / name
        return StageView(
            id=name,
            kind=record.stage,
            label=self._label(name),
            parent=record.parent,
            policy=policy,
            record=record,
            counts=self._counts(policy, None),
            process=self._counts(policy, self.process) if self.process and policy in self.sampled else None,
            truth=self.store.truth(policy) if policy in self.known else {},
            metrics=list(_metrics(folder / "metrics.jsonl")),
            groups=_groups(self.store, name) if name in self.rolled else None,
        )

    def _label(self, name: str) -> str:
        """Return the stage's own label, or its line of descent: `base → SFT → GRPO`."""
        record = self.runs[name]
        if record.label != name:
            return record.label
        if record.parent is None or record.parent not in self.runs:
            return name
        return f"{self._label(record.parent)} → {record.stage.upper()}"

    def _counts(self, policy: str, verifier: str | None) -> Counts:
        """Return the counts of the problems measured: those with samples outside of RL steps.

        RL rollouts of a run's first step come from the policy before it and would count as that policy's too.
        """
        if policy not in self.sampled:
            return Counts.of([], [])
        query = "SELECT DISTINCT problem FROM samples WHERE step IS NULL AND policy = $policy"
        sampled = set(self.store.sql(query, {"policy": policy}).column(0).to_pylist()) & self.problems.keys()
        verifier = verifier or self.verifiers.get("answer")
        return self.store.counts(policy, params=self.params, problems=sorted(sampled), verifier=verifier)

    def responses(self, stage: StageView, most: int) -> dict[str, list[Response]]:
        """Return the distinct responses of a stage to each problem: of every verdict the `most` frequent ones."""
        if stage.policy not in self.sampled:
            return {}
        values = {"process": self.process or "", "policy": stage.policy, "params": self.params, "most": most}
        by_problem: dict[str, list[Response]] = {}
        for row in self.store.sql(_RESPONSES, values).to_pylist():
            response = Response(row["text"], row["verdict"], int(row["times"]), row["reason"] or "")
            by_problem.setdefault(row["problem"], []).append(response)
        return by_problem


_RESPONSES = """
    WITH drawn AS (
        SELECT s.problem, s.text,
            CASE WHEN s.outcome = 'correct' AND v.outcome = 'wrong' THEN 'lucky'
                 WHEN s.outcome = 'correct' THEN 'right' ELSE s.outcome END AS verdict,
            CASE WHEN v.outcome = 'wrong' THEN v.reason ELSE s.reason END AS reason
        FROM samples s LEFT JOIN verdicts v
            ON v.problem = s.problem AND v.policy = s.policy AND v.params = s.params
            AND v.seed = s.seed AND v."index" = s."index" AND v.verifier = $process
        WHERE s.policy = $policy AND s.step IS NULL AND ($params IS NULL OR s.params = $params)
    ), distinct_ones AS (
        SELECT problem, text, verdict, reason, count(*) AS times FROM drawn GROUP BY ALL
    )
    SELECT * FROM distinct_ones
    QUALIFY row_number() OVER (PARTITION BY problem, verdict ORDER BY times DESC, text, reason) <= $most
    ORDER BY problem, times DESC, text, reason
"""


def _metrics(path: Path) -> Iterator[StepMetrics]:
    """Yield the step records of a stage; a last line cut off by a crash is left out."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise InputError(
                    f"{path}, line {number}: not JSON ({error}); restore it or run the stage again"
                ) from error


def _groups(store: Store, name: str) -> Groups | None:
    table = store.groups(name)
    if not len(table):
        return None
    step, n, c, unjudged = (np.asarray(table.column(k).to_numpy(), np.int64) for k in ("step", "n", "c", "unjudged"))
    # Mixed for certain: a right and a wrong sample among the judged ones. One-sided: all judged, all alike.
    mixed, right, wrong = (c > 0) & (c + unjudged < n), c == n, (c == 0) & (unjudged == 0)
    steps, place = np.unique(step, return_inverse=True)
    size = np.bincount(place)
    shares = np.stack([np.bincount(place, kind) / size for kind in (wrong, mixed, right)], axis=1)
    return Groups(steps, shares, int(n.sum()))
