"""Sampling on a real Ray of two workers: the same samples as one process draws, whatever dies meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from faulty_server import FaultyServer, with_p
from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError, MissingExtraError
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.policies.server import ServerPolicy
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.ray_workers import Workers, WorkersLostError, cut
from goldpanner.store import Store
from goldpanner.store.schema import ProbeRecord
from goldpanner.tasks import World, load
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, save_model
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify import Exact

ray = pytest.importorskip("ray")
PARAMS = SamplingParams(max_tokens=40)
PROBLEMS = load("world/d2", 24)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One Ray for all tests of this process; workers get the classes of this file by value."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    before = dict(os.environ)
    with Workers(1, "local"):
        yield
    os.environ.clear()
    os.environ.update(before)


def call(*arguments, code=0):
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        assert code == 2, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def ray_collect(build, goal, store, workers=2, problems=PROBLEMS, params=PARAMS):
    """Return what `top_up` gives, and how many workers died."""
    with Workers(workers) as pool:
        policy = pool.load(build)
        return top_up(policy, problems, World().verifiers, params, store, goal, workers=pool), pool.deaths


def drawn(store):
    """Return what is known of each sample but its log-probabilities, whose last bits vary with the batch."""
    return {
        sample.key: (sample.completion.text, sample.completion.tokens, sample.completion.finish, sample.verdict)
        for sample in store.samples()
    }


def rows(store):
    """Return how many rows are on disk, those that say a key again included."""
    return store.check().rows["samples"]


# --- the same samples


def test_workers_draw_the_same_samples_as_one_process(tmp_path):
    tokenizer = build_tokenizer(tuple("abcdefghijkl"))
    model = build_model(ModelConfig(hidden_size=16, intermediate_size=24), len(tokenizer), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(12.0 if parameter.dim() > 1 else 1.0)
    save_model(model, tokenizer, tmp_path / "model")
    data = tmp_path / "letters.jsonl"
    data.write_text("".join(json.dumps({"question": f"{a} b c", "answer": "a"}) + "\n" for a in "abcdefghi"))
    what = (tmp_path / "model", data, "--max-tokens", 6, "-n", 40, "--json")
    own = json.loads(call("sample", *what, "--store", tmp_path / "own"))
    assert json.loads(call("sample", *what, "--store", tmp_path / "ray", "--engine", "ray", "--workers", 2)) == own
    assert drawn(Store(tmp_path / "ray")) == drawn(Store(tmp_path / "own"))
    assert own["n"] == 360
    assert len({text for text, *_ in drawn(Store(tmp_path / "own")).values()}) > 20, "the samples differ"


def test_goals_are_met_as_in_one_process(tmp_path):
    goal = Goal("settled", 300, budget=3000)
    policy = ScriptedPolicy.with_p(0.3)
    own = top_up(policy, PROBLEMS, World().verifiers, PARAMS, Store(tmp_path / "own"), goal)
    for workers in (1, 2):
        store = Store(tmp_path / str(workers))
        by_ray, _ = ray_collect(lambda: policy, goal, store, workers)
        assert (by_ray.policy, by_ray.new, by_ray.tokens) == (policy.id, own.new, None)
        assert drawn(store) == drawn(Store(tmp_path / "own"))
        assert by_ray.counts.c.tolist() == own.counts.c.tolist()
    assert 0 < own.new <= 3000


def test_a_stopped_run_is_topped_up_by_whoever_comes(tmp_path):
    def sample(n, *more):
        return json.loads(
            call(
                "sample",
                "scripted:0.3",
                "world/d2",
                "--store",
                tmp_path / "s",
                "-n",
                n,
                "--json",
                "--problems",
                9,
                *more,
            )
        )

    with_ray = ("--engine", "ray", "--workers", 2)
    assert sample(5, *with_ray)["n"] == 45
    assert sample(11)["n"] == 99
    last = sample(30, *with_ray)
    assert rows(Store(tmp_path / "s")) == last["n"] == 270
    call("sample", "scripted:0.3", "world/d2", "--store", tmp_path / "whole", "-n", 30, "--problems", 9)
    assert drawn(Store(tmp_path / "s")) == drawn(Store(tmp_path / "whole"))


def test_workers_judge_by_the_verifier_that_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data.jsonl").write_text("".join(json.dumps({"question": f"{i}?", "answer": i}) + "\n" for i in range(9)))
    Path("rewards.py").write_text(
        "def ends(completions, **_):\n    return [0.7 * (x[-1] == 'o') for x in completions]\n"
    )
    words = (
        "sample",
        "scripted:0.3",
        "data.jsonl",
        "-n",
        40,
        "--verifier",
        "rewards.py:ends",
        "--threshold",
        0.5,
        "--no-rehearsal",
        "--json",
    )
    own = json.loads(call(*words, "--store", "own"))
    assert 0 < own["correct"] < own["n"] == 360
    assert json.loads(call(*words, "--store", "ray", "--engine", "ray", "--workers", 2)) == own
    assert drawn(Store("ray")) == drawn(Store("own"))
    usual = ("sample", "scripted:0.3", "data.jsonl", "-n", 50, "--json", "--store", "ray")
    assert (
        json.loads(call(*usual, "--engine", "ray", "--workers", 2))["verifier"]
        == "number:wrong-if-missing@3+within-1e-06"
    )


@given(st.lists(st.integers(1, 50), max_size=12), st.lists(st.integers(1, 40), min_size=1))
def test_units_cover_a_round_once(shares, sizes):
    queue = deque((problem, tuple(range(share))) for problem, share in zip(PROBLEMS, shares))
    found, at = [], 0
    while queue:
        size = sizes[at % len(sizes)]
        unit = cut(queue, size)
        assert len(unit) == size or not queue
        found += [(p.id, i) for p, indices in zip(unit.problems, unit.indices) for i in indices]
        at += 1
    assert len(found) == len(set(found)) == sum(shares)


# --- what dies


class Eager(Store):
    """Writes every problem's samples at once, so that a dead worker leaves part of its unit."""

    def __reduce__(self):
        return Eager, (self.root,)

    def writer(self, **_):
        return super().writer(block_rows=1)


class Deadly(ScriptedPolicy):
    """Notes what it draws; the first `deaths` times that problem 11 comes up, it kills its process."""

    def sample(self, requests, params):
        folder, deaths = Path(self.record["folder"]), self.record["deaths"]
        for request, completions in zip(requests, super().sample(requests, params)):
            if request.problem.id == PROBLEMS[11].id and len(list(folder.glob("died-*"))) < deaths:
                (folder / f"died-{uuid.uuid4()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            keys = [[request.problem.id, index] for index in request.indices]
            (folder / f"drew-{uuid.uuid4()}").write_text(json.dumps(keys))
            yield completions


def deadly(folder, deaths):
    policy = ScriptedPolicy.with_p(0.3, name="deadly")
    return Deadly(policy.script, policy.record | {"folder": str(folder), "deaths": deaths})


def test_a_killed_worker_costs_only_its_unit(tmp_path):
    store = Eager(tmp_path / "store")
    collection, deaths = ray_collect(partial(deadly, tmp_path, 1), Goal(most=40), store)
    assert (deaths, collection.new) == (1, 40 * 24)
    assert collection.counts.n.tolist() == [40] * 24
    found = store.samples()
    assert len({sample.key for sample in found}) == len(found) == 40 * 24, "every row, each once"
    times = Counter((p, i) for path in tmp_path.glob("drew-*") for p, i in json.loads(path.read_text()))
    again = [key for key, number in times.items() if number > 1]
    assert set(times.values()) == {1, 2}
    assert 0 < len(again) < 128, "of the lost unit alone, what came before the kill was drawn twice"
    assert rows(store) == 40 * 24 + len(again)


def test_a_unit_that_kills_whoever_takes_it_ends_the_run_and_the_rest_is_kept(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(WorkersLostError, match="3 workers in a row died over the same 128 samples"):
        ray_collect(partial(deadly, tmp_path, 99), Goal(most=40), store)
    assert len(list(tmp_path.glob("died-*"))) == 3
    assert len(store.samples()) >= 128


def test_workers_that_die_while_they_load_are_not_started_for_ever():
    with Workers(1) as pool, pytest.raises(WorkersLostError, match="3 workers in a row died before"):
        pool.load(lambda: os.kill(os.getpid(), signal.SIGKILL))


CHILD = """
import sys, time
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.ray_workers import Workers
from goldpanner.errors import Interrupted
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.store import Store
from goldpanner.store.schema import ProbeRecord
from goldpanner.tasks import World, load
from goldpanner.types import SamplingParams

class Slow(ScriptedPolicy):
    def sample(self, requests, params):
        for drawn in super().sample(requests, params):
            time.sleep(0.1)
            yield drawn

try:
    with Workers(2, "local") as pool:
        top_up(pool.load(lambda: Slow.with_p(0.3)), load("world/d2", 24), World().verifiers,
               SamplingParams(max_tokens=40), Store(sys.argv[1]), Goal(most=400), workers=pool,
               notify=lambda event: event.done and print(event.done, flush=True))
except Interrupted as stop:
    sys.exit(str(stop))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_stopped_driver_leaves_no_process_and_a_store_to_go_on_with(tmp_path, how):
    mark = f"GOLDPANNER_TEST={uuid.uuid4()}"
    scratch = tempfile.mkdtemp(dir="/tmp")  # a kill -9 leaves Ray's folder there; sockets need a short path
    env = {**os.environ, "RAY_TMPDIR": scratch, **dict([mark.split("=")])}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    child.stdout.readline()  # the first unit is done
    assert len(processes(mark)) > 3, "Ray's and two workers"
    os.killpg(child.pid, how) if how == signal.SIGINT else child.kill()
    _, said = child.communicate(timeout=60)
    if how == signal.SIGINT:
        assert child.returncode == 1, said
        assert "run the same command to go on" in said
        assert len(said.splitlines()) == 1, said
        assert not processes(mark)
        assert not list(Path(scratch).iterdir())
    deadline = time.monotonic() + 30
    while at_work(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not at_work(mark)
    shutil.rmtree(scratch)
    store = Store(tmp_path)
    before = len(store.samples())
    assert 128 <= before < 400 * 24
    collection, _ = ray_collect(lambda: ScriptedPolicy.with_p(0.3), Goal(most=400), store)
    assert collection.new == 400 * 24 - before
    assert collection.counts.n.tolist() == [400] * 24


def at_work(mark):
    """Return the processes but two of Ray's own, which end a minute after a kill -9: they try to report it first."""
    return [name for name in processes(mark) if "Agent" not in name]


def processes(mark):
    """Return the names of the processes that have `mark` in their environment: descendants, wherever they hang."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


# --- what is told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "world/d2"), "is no model folder"),
        (("scripted:0.3", "world/d2", "--top-k", 5), "would change the scripted probabilities"),
    ],
)
def test_a_user_s_mistake_comes_out_of_a_worker_as_itself(tmp_path, arguments, says):
    assert says in call("sample", *arguments, "--store", tmp_path, "--engine", "ray", code=2)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path, address):
    sample = ["sample", "scripted:0.3", "world/d2", "--store", tmp_path, "--engine", "ray", "--ray-address", address]
    program = [sys.executable, "-m", "goldpanner.cli", *map(str, sample)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "mend --ray-address" in done.stderr) == (2, True), done.stderr


def test_what_belongs_to_ray_is_not_ignored(tmp_path):
    for option in (("--workers", 2), ("--ray-address", "auto")):
        said = call("sample", "scripted:0.3", "world/d2", "--store", tmp_path, *option, code=2)
        assert "give --engine ray" in said


def test_a_bug_in_a_worker_keeps_its_traceback():
    with Workers(1) as pool, pytest.raises(ZeroDivisionError) as caught:
        pool.load(lambda: 1 // 0)
    assert "in <lambda>" in str(caught.value.__cause__)


def test_workers_with_different_models_are_found_out(tmp_path):
    with pytest.raises(InputError, match="give every node the same model"):
        ray_collect(lambda: ScriptedPolicy.with_p(0.3, name=str(os.getpid())), Goal(most=400), Store(tmp_path))


class Elsewhere(Store):
    """A store whose folder the workers do not see."""

    def __reduce__(self):
        return Store, (self.root / "elsewhere",)


def test_a_store_that_a_worker_does_not_see_is_told(tmp_path):
    with pytest.raises(InputError, match="does not see the store .*elsewhere"):
        ray_collect(lambda: ScriptedPolicy.with_p(0.3), Goal(most=4), Elsewhere(tmp_path))


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[ray\]"), Workers():
        pass


# --- a server


def test_a_server_is_probed_once_and_drawn_from_by_all(tmp_path):
    problems = [Problem("t", f"say {word}", word) for word in "abcdef"]
    with (
        FaultyServer(with_p(problems, 0.5), fault=lambda n, body: "more" if n == 20 else None) as server,
        Workers(2) as pool,
    ):
        policy, store = ServerPolicy(server.url), Store(tmp_path)
        collection = top_up(policy, problems, lambda: (Exact(),), PARAMS, store, Goal(most=100), workers=pool)
        bodies = [body for body in server.bodies if body["prompt"].startswith("say")]
    assert collection.counts.n.tolist() == [100] * 6
    (probe,) = store.records(ProbeRecord).values()
    greedy = [body["temperature"] == 0 for body in bodies]
    assert any(greedy[: probe.probe.requests])
    assert not any(greedy[probe.probe.requests :]), "no worker probes again"
    assert len(bodies) < probe.probe.requests + 6 * 12
    assert sum(probe.sampling.values()) == 1, "what a worker noted is told"
