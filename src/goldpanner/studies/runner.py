"""Conduct studies: every (study, world) is a job; two processes take jobs from one list until all are done.

What is done is in the store and is not done again, so the same call goes on where it was interrupted. The bases come
first, because everything starts from them.
"""

import fcntl
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from inspect import getsource
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError, Interrupted
from goldpanner.progress import Event, Notify
from goldpanner.runs.folder import versions
from goldpanner.runs.workers import side_by_side
from goldpanner.store import Store
from goldpanner.studies import claims, decide, statistics
from goldpanner.studies import study as words
from goldpanner.studies.lab import Lab, Scale
from goldpanner.studies.study import Study, record
from goldpanner.types import content_hash

PROCESSES = 2
"""Of one thread each: two small models train faster side by side than one on two threads."""

BASES = "bases"
RULES = (decide, statistics, words)
"""What a verdict depends on beside results and a study's own files: when one of them changes, all are judged again."""

Job = tuple[str, int]
"""(study or `bases`, world)."""


def conduct(names: Sequence[str], out: Path, scale: Scale, progress: Notify) -> dict[str, dict[str, Any]]:
    """Run (or go on with) the studies in folder `out`; return their records by name, in the order asked.

    Raises InputError where `out` holds studies of another scale, Interrupted on Ctrl-C: what was done is kept.
    """
    studies = [claims.load(name) for name in names]
    store = _claim(out, scale)
    jobs: list[Job] = [(BASES, world) for world in scale.worlds] if len(names) > 1 else []
    jobs += [(name, world) for name in names for world in scale.worlds]
    left = [job for job in jobs if job[0] == BASES or result(store, job, scale) is None]
    if any(job[0] != BASES for job in left):
        try:
            side_by_side([(work, (tuple(left), out, scale))] * PROCESSES, progress)
        except KeyboardInterrupt:
            raise Interrupted(f"what was done is kept in {out}; run the same command again to go on") from None
    return {study.name: conclude(study, store, scale) for study in studies}


def work(notify: Notify, jobs: Sequence[Job], out: Path, scale: Scale) -> None:
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
            elif result(store, (name, world), scale) is None:
                begun = time.perf_counter()
                found = claims.load(name).measure(Lab(out, world, scale, notify, name))
                seconds = round(time.perf_counter() - begun, 1)
                kept = {"study": name, "world": world, "seconds": seconds, "method": method(name), "result": found}
                store.put("results", _key((name, world)), {**kept, "versions": versions()})
                notify(Event(f"{name} w{world}", "measure", 1, 1, f"{seconds:.0f} s"))


def conclude(study: Study, store: Store, scale: Scale) -> dict[str, Any]:
    """Judge the results of every world, keep the record and return it; what was judged alike already is returned."""
    kept = {world: result(store, (study.name, world), scale) for world in scale.worlds}
    missing = [world for world, found in kept.items() if found is None]
    if missing:
        raise InputError(f"study {study.name} has no result of world {missing[0]}; run it again")
    results = [found["result"] for found in kept.values() if found is not None]
    rule = content_hash([results, method(study.name), study.text.model_dump(mode="json"), *map(getsource, RULES)])
    there = store.get("findings", study.name)
    if there is not None and there.get("rule") == rule and there["worlds"] == list(kept):
        return there
    outcome = {
        **record(study, results),
        "rule": rule,
        "worlds": list(kept),
        "seconds": {str(world): found["seconds"] for world, found in kept.items() if found is not None},
        "quick": scale.share < 1,
        "versions": next((found.get("versions", {}) for found in kept.values() if found is not None), {}),
    }
    store.put("findings", study.name, outcome)
    return outcome


def result(store: Store, job: Job, scale: Scale) -> dict[str, Any] | None:
    """Return what a job gave, None where it was not done or was done by another method than today's."""
    found = store.get("results", _key(job))
    return found if found is not None and found["method"] == method(job[0]) else None


def method(name: str) -> str:
    """Return a hash of a study's source: results of a method that has changed are measured anew."""
    return content_hash(getsource(import_module(claims.load(name).measure.__module__)))


def _key(job: Job) -> str:
    return f"{job[0]}-w{job[1]}"


def _claim(out: Path, scale: Scale) -> Store:
    """Return the store of `out`; raise InputError where it holds studies of another scale."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give --out the name of a folder")
    store = Store(out / "store")
    mine = {k: v for k, v in asdict(scale).items() if k != "worlds"}
    there = store.get("studies", "scale") if out.exists() else None
    if there is not None and there != mine:
        raise InputError(f"{out} holds studies of another scale ({there}); give another --out, or delete it")
    if there is None and out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no studies; give another --out")
    store.put("studies", "scale", mine)
    return store
