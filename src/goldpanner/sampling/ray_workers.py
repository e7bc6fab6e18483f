"""Sampling on Ray: workers on one machine or many run the rounds of `goal.draw`.

A round is cut into units, each some problems with some indices. A worker builds an ordinary policy, draws a unit by
`rollout`, writes it to the store itself and returns its counts: no sample passes through this process. A sample
depends on (problem, seed, index) alone, so it does not matter who draws it, how often, or what dies meanwhile.
"""

import logging
import math
import os
import platform
import shutil
import socket
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from goldpanner.errors import GoldpannerError, InputError, MissingExtraError
from goldpanner.policies.base import Policy
from goldpanner.sampling.goal import Portion, RunRound
from goldpanner.sampling.rollout import rollout
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord
from goldpanner.types import Counts, Problem, SamplingParams
from goldpanner.verify import Verifier

FIRST = 128
"""Samples of the first units, and at least of the later ones where there are so many: a policy needs a full batch."""
SHARES = 4
"""Units of a round that each worker gets at least, so that none waits long for the others at its end."""
SECONDS = 30.0
"""What a unit should take: so much of one worker's work is drawn again when the worker is killed."""
ATTEMPTS = 3
"""Workers that may die over one unit before the run ends."""
PATIENCE = 600.0
"""Seconds that the cluster has to start a worker while none is at work."""
OBJECTS = 200 * 2**20
"""Bytes of shared memory that a Ray of our own may take: no sample ever lies there."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` the project would be uploaded to every worker
}
"""What Ray reads when it is loaded; a user's own values stand."""


class WorkersLostError(GoldpannerError):
    """Workers die or do not start. What was drawn is kept; the same command goes on where it stopped."""


@dataclass(frozen=True)
class Job:
    """What all units of a drawing share."""

    verifiers: Callable[[], Sequence[Verifier]]
    """Called in every worker."""
    params: SamplingParams
    seed: int
    store: Store
    """On a file system that all workers see under the same path."""
    run: str


@dataclass(frozen=True)
class Unit:
    """What a worker draws at a time."""

    problems: tuple[Problem, ...]
    indices: tuple[tuple[int, ...], ...]
    attempt: int = 1

    def __len__(self) -> int:
        return sum(map(len, self.indices))


@dataclass(frozen=True)
class UnitResult:
    """What a worker returns of a unit, whose samples are on disk by then."""

    portion: Portion
    seconds: float
    notes: Mapping[str, int]
    """What a server did otherwise than asked."""


@dataclass(frozen=True)
class RemotePolicy:
    """Description of a policy that is loaded in the workers only."""

    record: Mapping[str, object]

    @property
    def id(self) -> str:
        """The policy's id."""
        return str(self.record["id"])

    def describe(self) -> dict[str, object]:
        """Return the policy's own record."""
        return dict(self.record)


class Worker:
    """The actor: one process with a policy of its own, on whatever node."""

    policy: Policy

    def __init__(self, threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is loaded, which reads it once

    def load(self, build: Callable[[], Policy]) -> tuple[Mapping[str, object], str]:
        """Build the policy; return its record and the machine's name."""
        self.policy = build()
        return self.policy.describe(), platform.node()

    def draw(self, job: Job, unit: Unit) -> UnitResult:
        """Draw, judge and store a unit."""
        if job.store.get(ParamsRecord, job.params.hash) is None:
            raise InputError(
                f"a worker on {platform.node()} does not see the store {job.store.root}; give a folder that every node "
                "of the cluster has under this path"
            )
        began = time.monotonic()
        notes = _notes(self.policy)
        notes.clear()
        with job.store.writer(
            block_seconds=10.0
        ) as sink:  # what is stored of a unit is not lost when the run is stopped
            portions = [
                Portion.of(samples)
                for samples in rollout(
                    self.policy,
                    unit.problems,
                    job.verifiers(),
                    job.params,
                    n=unit.indices,
                    seed=job.seed,
                    sink=sink,
                    run=job.run,
                )
            ]
        return UnitResult(_together(portions), time.monotonic() - began, dict(notes))


class Workers:
    """A pool of workers on a Ray of our own, or on a cluster; a `with` block starts and ends it.

    A worker that dies is replaced, and its unit is given to another.
    """

    def __init__(self, count: int = 2, address: str | None = None, gpus: bool = False) -> None:
        """Set the pool up; nothing is started yet.

        Args:
            count: workers.
            address: a cluster's (`auto`, `ray://HOST:PORT`, `HOST:PORT`); by default $RAY_ADDRESS, else a Ray of our
                own is started on this machine. A program that is connected to Ray already keeps its connection.
            gpus: share the cluster's GPUs out among the workers.
        """
        if count < 1:
            raise InputError(f"workers: {count}; give a number >= 1")
        self.count = count
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"
        self.gpus = gpus
        self.deaths = 0
        """Workers that died and were replaced."""
        self._ray: Any = None
        self._folder: str | None = None
        self._ours = False
        self._build: Callable[[], Policy] | None = None
        self._record: Mapping[str, object] = {}
        self._idle: list[Any] = []
        self._under_way: dict[Any, tuple[Any, Unit | None]] = {}  # no unit: the worker is starting
        self._pace = FIRST
        self._since = 0.0  # when something came from a worker last
        self._in_a_row = 0  # deaths since then

    def __enter__(self) -> Self:
        try:
            self._connect()
        except BaseException:  # Ctrl-C, too: Ray has processes by then
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def load(self, build: Callable[[], Policy]) -> RemotePolicy:
        """Start the workers and load the policy that `build` returns in each; return the first one's description.

        Raises what `build` raises, and InputError when the workers loaded different policies.
        """
        self._build, self._since = build, time.monotonic()
        for _ in range(self.count):
            self._start()
        while not self._record:
            self._next()
        return RemotePolicy(self._record)

    def rounds(self, job: Job, policy: Policy | RemotePolicy) -> RunRound:
        """Return what has the workers run a round.

        A policy that is not loaded there yet (a server's, with the result of its probe) is sent to them as it is.
        """
        if not isinstance(policy, RemotePolicy):
            self.load(lambda: policy)
        notes = _notes(policy)

        def run_round(problems: Sequence[Problem], indices: Sequence[tuple[int, ...]]) -> Iterator[Portion]:
            for result in self._run_units(job, problems, indices):
                notes.update(result.notes)
                yield result.portion

        return run_round

    def _run_units(
        self, job: Job, problems: Sequence[Problem], indices: Sequence[tuple[int, ...]]
    ) -> Iterator[UnitResult]:
        queue = deque(zip(problems, indices))
        again: list[Unit] = []
        left = sum(map(len, indices))
        share = max(FIRST, -(-left // (SHARES * self.count)))
        while left:
            while self._idle and (again or queue):
                worker, work = self._idle.pop(), again.pop() if again else cut(queue, min(self._pace, share))
                self._under_way[worker.draw.remote(job, work)] = (worker, work)
            unit, result = self._next()
            if unit is None:
                continue
            if result is None:
                again.append(replace(unit, attempt=unit.attempt + 1))
                continue
            if len(unit) >= self._pace:
                self._pace = int(np.clip(len(unit) * SECONDS / max(result.seconds, 1e-3), FIRST, 4 * self._pace))
            left -= len(unit)
            yield result

    def _next(self) -> tuple[Unit | None, UnitResult | None]:
        """Wait for a worker; return its unit, if it had one, and the result, None if it died.

        Raises what was raised in the worker.
        """
        ready, _ = self._ray.wait(list(self._under_way), timeout=5.0)
        if not ready:
            working = any(unit is not None for _, unit in self._under_way.values())
            if not working and time.monotonic() - self._since > PATIENCE:
                raise WorkersLostError(
                    f"no worker has started for {PATIENCE:.0f} s; look at the cluster with: ray status"
                )
            return None, None
        worker, unit = self._under_way.pop(ready[0])
        try:
            answer = self._ray.get(ready[0])
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause from (None if isinstance(cause, GoldpannerError) else error)
        except self._ray.exceptions.RayError as error:
            self._replace_worker(worker, unit, error)
            return unit, None
        self._since, self._in_a_row = time.monotonic(), 0
        self._idle.append(worker)
        if unit is None:
            self._compare(*answer)
            return None, None
        return unit, answer

    def _compare(self, record: Mapping[str, object], node: str) -> None:
        self._record = self._record or record
        if record["id"] != self._record["id"]:
            raise InputError(
                f"a worker on {node} loaded policy {record['id']}, another loaded {self._record['id']}; give every "
                "node the same model under this path"
            )

    def _start(self) -> None:
        worker = self._actor.remote(self._threads)
        self._under_way[worker.load.remote(self._build)] = (worker, None)

    def _replace_worker(self, worker: Any, unit: Unit | None, error: Exception) -> None:
        """Replace a worker that is dead or out of reach. Raises WorkersLostError when that has happened too often."""
        self._ray.kill(worker, no_restart=True)
        self.deaths += 1
        self._in_a_row += 1
        reason = (
            f"({type(error).__name__}; out of memory?). What is stored is kept; the same command goes on from there"
        )
        if unit is not None and unit.attempt >= ATTEMPTS:
            raise WorkersLostError(
                f"{ATTEMPTS} workers in a row died over the same {len(unit)} samples, from problem "
                f"{unit.problems[0].id} on {reason}"
            )
        if self._in_a_row >= ATTEMPTS * self.count:
            raise WorkersLostError(f"{self._in_a_row} workers in a row died before they could draw anything {reason}")
        time.sleep(self._in_a_row - 1)  # for some seconds Ray may put new workers on a node that is gone
        self._start()

    # --- Ray itself

    def _connect(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise MissingExtraError("sampling on Ray", "ray") from None
        self._ray = ray
        if not ray.is_initialized():
            self._ours = True
            _quiet(True)
            quiet: Mapping[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if self.address == "local":
                self._folder = tempfile.mkdtemp(prefix="goldpanner-ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))
                own = {"include_dashboard": False, "object_store_memory": OBJECTS, "_temp_dir": self._folder}
                ray.init("local", **own, **quiet)
            else:
                try:
                    _check_reachable(self.address)
                    ray.init(self.address, **quiet)
                except (OSError, RuntimeError, ValueError) as error:
                    raise InputError(
                        f"the Ray cluster {self.address!r} cannot be used: {str(error).strip()[:300]}; mend "
                        "--ray-address, or leave it out (and unset RAY_ADDRESS) for a Ray on this machine"
                    ) from None
        resources = ray.cluster_resources()
        self._threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, resources.get("CPU", 1) // self.count))
        per_gpu = math.ceil(self.count / resources["GPU"]) if self.gpus and resources.get("GPU", 0) >= 1 else 0
        # no CPU is asked for: a worker waits for none, on however busy a cluster
        self._actor = ray.remote(Worker).options(
            num_cpus=0, num_gpus=1 / per_gpu if per_gpu else 0, max_restarts=0, scheduling_strategy="SPREAD"
        )

    def _close(self) -> None:
        if self._ray is None:
            return
        if self._ray.is_initialized():
            for worker in [*self._idle, *(worker for worker, _ in self._under_way.values())]:
                self._ray.kill(worker, no_restart=True)
        self._idle, self._under_way = [], {}
        if self._ours:
            self._ray.shutdown()
            _quiet(False)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Raise OSError where nobody listens at a cluster's HOST:PORT; Ray itself would go on asking for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def cut(queue: deque[tuple[Problem, tuple[int, ...]]], size: int) -> Unit:
    """Take a unit of `size` samples, or what there is, off the front of a queue of problems and indices."""
    pairs: list[tuple[Problem, tuple[int, ...]]] = []
    while queue and size > 0:
        problem, indices = queue.popleft()
        pairs.append((problem, indices[:size]))
        if indices[size:]:
            queue.appendleft((problem, indices[size:]))
        size -= len(indices[:size])
    return Unit(tuple(problem for problem, _ in pairs), tuple(indices for _, indices in pairs))


def _notes(policy: object) -> "Counter[str]":
    """Return what a server's policy notes while it is sampled; nothing for others."""
    notes = getattr(policy, "notes", None)
    return notes if isinstance(notes, Counter) else Counter()


def _together(portions: Sequence[Portion]) -> Portion:
    """Return the portions of different problems as one."""
    tokens = [portion.tokens for portion in portions]
    columns = map(np.concatenate, zip(*(portion.counts.columns for portion in portions)))
    ids = tuple(problem for portion in portions for problem in portion.counts.ids)
    return Portion(Counts(ids, *columns), None if None in tokens else sum(t or 0 for t in tokens))


def _quiet(silent: bool) -> None:
    """Keep Ray from printing on stdout, where results go, whenever a worker dies; there is no public switch."""
    from ray._private import worker

    worker._worker_logs_enabled = not silent
