"""Conduct studies: every (study, world) is a job; two processes take jobs from one list until all are done.

What is done is in the store and is not done again, so the same call goes on where it was interrupted. The bases come
first, because everything starts from them.
"""

import fcntl
import subprocess
import time
from collections.abc import Sequence
from importlib import import_module
from inspect import getsource
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError, Interrupted
from goldpanner.progress import Event, Notify
from goldpanner.runs.folder import claim_folder, versions
from goldpanner.runs.workers import side_by_side
from goldpanner.store import Store
from goldpanner.store.findings import FindingRecord, ResultRecord
from goldpanner.studies import claims, decide, statistics
from goldpanner.studies import study as words
from goldpanner.studies.boundary import CONFIRMATION
from goldpanner.studies.lab import FULL, QUICK, Lab, StudyScale
from goldpanner.studies.study import Study, judge_results
from goldpanner.types import content_hash

PROCESSES = 2
"""Of one thread each: two small models train faster side by side than one on two threads."""

BASES = "bases"
RULES = (decide, statistics, words)
"""What a verdict depends on beside results and a study's own files: when one of them changes, all are judged again."""

Job = tuple[str, int]
"""(study or `bases`, world)."""


def study_scale(quick: bool = False, worlds: int | None = None, fresh: int = 0) -> StudyScale:
    """Return the scale of studies.

    Args:
        quick: a short trial run, too small to decide a claim.
        worlds: number of worlds, with seeds from 0; None: the scale's own.
        fresh: number of further worlds that confirm a claim.
    """
    scale = QUICK if quick else FULL
    if worlds is not None:
        scale = scale.model_copy(update={"worlds": tuple(range(worlds))})
    return scale.model_copy(update={"worlds": (*scale.worlds, *range(CONFIRMATION, CONFIRMATION + fresh))})


def conduct(names: Sequence[str], out: Path, scale: StudyScale, progress: Notify) -> dict[str, FindingRecord]:
    """Run (or go on with) the studies in folder `out`; return their records by name, in the order asked.

    Raises InputError where `out` holds studies of another scale, Interrupted on Ctrl-C: what was done is kept.
    """
    studies = [claims.load_study(name) for name in names]
    claim_folder(out, scale)
    store = Store(out / "store")
    jobs: list[Job] = [(BASES, world) for world in scale.worlds] if len(names) > 1 else []
    jobs += [(name, world) for name in names for world in scale.worlds]
    left = [job for job in jobs if job[0] == BASES or result(store, job) is None]
    if any(job[0] != BASES for job in left):
        try:
            side_by_side([(take_jobs, (tuple(left), out, scale))] * PROCESSES, progress)
        except KeyboardInterrupt:
            raise Interrupted(f"what was done is kept in {out}; run the same command again to go on") from None
    return {study.name: judge_study(study, store, scale) for study in studies}


def take_jobs(notify: Notify, jobs: Sequence[Job], out: Path, scale: StudyScale) -> None:
    """Take one job after the other that nobody else has taken."""
    store = Store(out / "store")
    locks = out / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for name, world in jobs:
        with (locks / f"{name}-{world}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if name == BASES:
                lab = Lab(out, world, scale, notify, BASES)
                for gap in (True, False):
                    lab.base(lab.world(gap=gap))
            elif result(store, (name, world)) is None:
                begun = time.perf_counter()
                outcome = claims.load_study(name).measure(Lab(out, world, scale, notify, name))
                seconds = round(time.perf_counter() - begun, 1)
                store.put(
                    ResultRecord(
                        id=_key((name, world)), study=name, world=world, seconds=seconds, method=method(name),
                        result=outcome, versions=versions(), commit=source_commit(),
                        date=time.strftime("%Y-%m-%d", time.gmtime()),
                        phase="exploration" if world < CONFIRMATION else "confirmation",
                    )
                )  # fmt: skip
                notify(Event(f"{name} w{world}", "measure", 1, 1, f"{seconds:.0f} s"))


def judge_study(study: Study[Any], store: Store, scale: StudyScale) -> FindingRecord:
    """Judge the results of every world, keep the record and return it; what was judged alike already is returned."""
    rows = {world: result(store, (study.name, world)) for world in scale.worlds}
    missing = [world for world, row in rows.items() if row is None]
    if missing:
        raise InputError(f"study {study.name} has no result of world {missing[0]}; run it again")
    done = {world: row for world, row in rows.items() if row is not None}
    results = [row.result for row in done.values()]
    rule = content_hash([results, method(study.name), study.text.model_dump(mode="json"), *map(getsource, RULES)])
    earlier = store.get(FindingRecord, study.name)
    if earlier is not None and earlier.rule == rule and earlier.worlds == tuple(done):
        return earlier
    outcome = finding_of(study, list(done.values()), rule, quick=scale.share < 1)
    store.put(outcome)
    return outcome


def finding_of(study: Study[Any], rows: Sequence[ResultRecord], rule: str = "", quick: bool = False) -> FindingRecord:
    """Judge the results of some worlds."""
    return FindingRecord(
        **dict(judge_results(study, [row.result for row in rows])),
        id=study.name,
        rule=rule,
        worlds=tuple(row.world for row in rows),
        seconds={str(row.world): row.seconds for row in rows},
        quick=quick,
        versions=rows[0].versions,
    )


def result(store: Store, job: Job) -> ResultRecord | None:
    """Return what a job gave, None where it was not done or was done by another method than today's."""
    row = store.get(ResultRecord, _key(job))
    return row if row is not None and row.method == method(job[0]) else None


def method(name: str) -> str:
    """Return a hash of a study's source: results of a method that has changed are measured anew."""
    return content_hash(getsource(import_module(claims.load_study(name).measure.__module__)))


def source_commit() -> str:
    """Return the commit that the source stands at, empty where it is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _key(job: Job) -> str:
    return f"{job[0]}-w{job[1]}"
