"""Two workers on Ray against one, of one thread each, against this process; and what a killed worker costs.

    python benchmarks/ray_workers.py MODEL world/d2 --problems 64 --samples 1024
    python benchmarks/ray_workers.py MODEL arithmetic/add-2d2d --problems 8 --samples 256 --repeats 1
    python benchmarks/ray_workers.py waiting world/d2 --samples 512   # waits 50 ms a problem, as for a server

Ways alternate, and the median counts; starting Ray and the workers is timed apart. All must draw the same samples.
"""

import argparse
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded; workers take it over
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  as this process; at Ray's 15 they get what others leave

from goldpanner.policies.base import Policy, Request
from goldpanner.policies.resolve import load_policy
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.progress import Event
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.ray_workers import RemotePolicy, Workers
from goldpanner.store import Store
from goldpanner.tasks.catalog import task
from goldpanner.tasks.task import Task
from goldpanner.types import Completion, SamplingParams


class Run:
    """Draws the same samples into a fresh store each time."""

    def __init__(self, folder: Path, task: Task, problems: int, samples: int) -> None:
        self.folder, self.task, self.samples = folder, task, samples
        self.problems = task.problems(problems)
        self.found: set[int] = set()
        self.parts = 0

    def __call__(self, policy: Policy | RemotePolicy, pool: Workers | None = None, victim: int = 0) -> float:
        """Return the seconds for all samples; `victim` is a process to kill when a third of them is there."""
        store = Store(Path(tempfile.mkdtemp(dir=self.folder)))
        left = [victim] if victim else []

        def listen(event: Event) -> None:
            if left and 3 * event.done > event.total:
                os.kill(left.pop(), signal.SIGKILL)

        began = time.perf_counter()
        counts = top_up(
            policy, self.problems, self.task.verifiers, self.task.params, store, Goal(most=self.samples),
            name="m", notify=listen, workers=pool,
        ).counts  # fmt: skip
        took = time.perf_counter() - began
        assert counts.n.tolist() == [self.samples] * len(self.problems)
        self.found.add(int(counts.c.sum()))
        self.parts = store.check().parts
        return took


class Waiting(ScriptedPolicy):
    """Takes its time, but no processor's."""

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[list[Completion]]:
        for completions in super().sample(requests, params):
            time.sleep(0.05)
            yield completions


def policy_of(model: str) -> Policy:
    return Waiting.with_p(0.3) if model == "waiting" else load_policy(model)


def build(model: str, pids: Path) -> Policy:
    """Return the policy in a worker, which leaves its process id."""
    (pids / str(os.getpid())).touch()
    return policy_of(model)


def busy(folder: Path) -> float:
    """Return the seconds of processor time of the processes whose ids a folder names."""
    stats = [Path("/proc", pid.name, "stat").read_text().rsplit(")", 1)[1].split() for pid in folder.iterdir()]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("model")
    given.add_argument("task")
    given.add_argument("--problems", type=int, default=64)
    given.add_argument("--samples", type=int, default=1024)
    given.add_argument("--repeats", type=int, default=5)
    given = given.parse_args()
    rows = given.problems * given.samples
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pids = {"this process": folder / "0", "Ray, one worker": folder / "1", "Ray, two workers": folder / "2"}
        for each in pids.values():
            each.mkdir()
        (folder / "0" / str(os.getpid())).touch()
        run = Run(folder, task(given.task), given.problems, given.samples)
        own = policy_of(given.model)
        began = time.perf_counter()
        with Workers(1, "local") as one, Workers(2) as two:
            print(f"Ray started in {time.perf_counter() - began:.1f} s", end=", ")
            began = time.perf_counter()
            alone = one.load(partial(build, given.model, folder / "1"))
            print(f"a worker with its model in {time.perf_counter() - began:.1f} s")
            held = two.load(partial(build, given.model, folder / "2"))
            ways = {"this process": (own, None), "Ray, one worker": (alone, one), "Ray, two workers": (held, two)}
            run(held, two)  # both are up, and their units have found their size
            seconds: dict[str, list[float]] = {what: [] for what in ways}
            used = dict.fromkeys(ways, 0.0)
            for _ in range(given.repeats):
                for what, way in ways.items():
                    before = busy(pids[what])
                    seconds[what].append(run(*way))
                    used[what] += (busy(pids[what]) - before) / given.repeats
            middle = {what: statistics.median(each) for what, each in seconds.items()}
            for what, each in seconds.items():
                told = f"{', '.join(f'{s:.1f}' for s in sorted(each))}; processor {used[what]:.1f} s"
                print(f"{what}: {middle[what]:.1f} s, {rows / middle[what]:,.0f} rows/s ({told})")
            print(f"two workers / one: {middle['Ray, one worker'] / middle['Ray, two workers']:.2f}x")
            print(f"one worker / this process: {middle['this process'] / middle['Ray, one worker']:.2f}x")
            victim = int(next((folder / "2").iterdir()).name)
            took = run(held, two, victim)
            assert two.deaths == 1
            print(f"two workers, one killed: {took:.1f} s, +{took - middle['Ray, two workers']:.1f} s")
        assert len(run.found) == 1, "all draw the same samples"
        print(f"{rows:,} rows each time, the last in {run.parts} parts; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
