"""Drawing until a goal is met: it ends where it says, is wrong no more often than it says, and goes on after a kill."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.cli.sample import GoalOptions
from goldpanner.errors import InputError
from goldpanner.measure import sequential
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.goal import Goal, draw, in_process
from goldpanner.store import Store
from goldpanner.store.schema import PolicyRecord
from goldpanner.tasks import World, load
from goldpanner.tasks.catalog import task
from goldpanner.types import Counts, Outcome, SamplingParams, Verdict

PARAMS = SamplingParams(max_tokens=40)
PROBLEMS = load("world/d2", 24)
VERIFIERS = World().verifiers()


def simulate(goal, p, rng):
    """Follow a goal on counts drawn straight from known P; return the counts where it stops, and the rounds."""
    n = c = np.zeros(len(p), np.int64)
    for rounds in range(100_000):
        share = goal.next(Counts.of(n, c))
        if not share.any():
            return Counts.of(n, c), rounds
        n, c = n + share, c + rng.binomial(share, p)
    raise AssertionError("the goal is never reached")


@pytest.mark.parametrize("shape", [(0.2, 5.0), (0.3, 0.3), (1.0, 1.0)])
def test_under_peeking_after_every_batch_at_most_alpha_of_1000_problems_settle_wrongly(shape):
    rng = np.random.default_rng(1)
    p = rng.beta(*shape, 1000)
    for goal in (Goal("settled", 2000, level=0.9), Goal("settled", 2000, group=16, level=0.9)):
        counts, _ = simulate(goal, p, rng)
        at = sequential.zone(*sequential.confidence_sequence(counts.c, counts.n, 0, 0.9), goal.cuts)
        wrong = (at >= 0) & (at != np.searchsorted(goal.cuts, p))
        assert wrong.mean() <= 0.1
        assert (at >= 0).mean() > 0.7
        assert sum(goal.zone_counts(counts).values()) == 1000


def test_a_comparison_is_settled_rightly_and_spends_least_where_it_is_plain():
    rng = np.random.default_rng(3)
    base_p = rng.beta(0.3, 2.0, 600)
    p = np.where(rng.random(600) < 0.5, base_p, np.clip(base_p + rng.choice([-0.4, 0.3], 600), 0, 1))
    base = Counts.of(np.full(600, 512), rng.binomial(512, base_p))
    goal = Goal("settled", 1024, base=base)
    counts, _ = simulate(goal, p, rng)
    found, undecidable = sequential.change(counts, base, 0.1)
    said = np.array(["open", *sequential.CHANGES])[found + 1]
    wrong = ((said == "rose") & (p <= base_p)) | ((said == "fell") & (p >= base_p))
    wrong |= (said == "no material change") & (abs(p - base_p) > 0.1)
    assert wrong.mean() <= 0.05
    assert (said != "open").mean() > 0.8
    assert counts.n[p - base_p > 0.25].mean() < 100 < counts.n[said == "open"].mean()
    assert (counts.n[(said == "open") & ~undecidable] == 1024).all()
    zones = goal.zone_counts(counts)
    assert list(zones) == [*sequential.CHANGES, "open"]
    assert sum(zones.values()) == 600
    assert (goal.undecidable(counts) == undecidable).all()
    assert counts.n.sum() <= goal.forecast(counts)
    some, _ = simulate(Goal("settled", 1024, base=base, budget=12_000), p, rng)
    assert some.n.sum() == 12_000


def test_a_comparison_needs_the_same_problems_and_its_own_goal():
    base = Counts.of([10], [1], ["x"])
    with pytest.raises(InputError, match="1 of 2 problems have no samples of the policy compared with"):
        Goal("settled", base=base).next(Counts.of([0, 0], [0, 0], ["x", "y"]))
    for options in ({"kind": "fixed"}, {"kind": "settled", "group": 16}):
        with pytest.raises(InputError, match="a comparison goes with 'settled' alone"):
            Goal(base=base, **options)
    with pytest.raises(InputError, match="margin is 0"):
        Goal("settled", base=base, margin=0)


def test_a_comparison_through_the_command_line(tmp_path):
    def call(*arguments):
        done = CliRunner().invoke(application(), [*map(str, arguments), "--store", str(tmp_path)])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    call("sample", "scripted:0.02", "world/d2", "-n", 200, "--problems", 12)
    command = ["sample", "scripted:0.3", "world/d2", "--problems", 12, "--against", "scripted:0.02"]
    said = json.loads(call(*command, "--json"))
    assert said["settled"]["rose"] == 12
    assert said["n"] < 12 * 100
    assert json.loads(call(*command, "--json"))["n"] == said["n"], "settled: the same command draws nothing"
    assert "12 rose" in call(*command)
    counts = tmp_path / "base.jsonl"
    call("export", "scripted:0.02", counts)
    assert json.loads(call(*command[:-1], counts, "--json"))["n"] == said["n"]
    for more, says in (
        (["--margin", "0.1"], "name the other policy with --against"),
        (["--against", "scripted:0.02", "--max-tokens", "9"], "no samples of params"),
        (["--against", "scripted:0.02", "--problems", "13"], "1 of 13 problems have no samples"),
    ):
        refused = CliRunner().invoke(application(), [*command[:5], *more, "--store", str(tmp_path)])
        assert isinstance(refused.exception, InputError), refused.output
        assert says in str(refused.exception)


def test_a_budget_is_kept_to_the_sample_and_serves_everyone_first():
    rng = np.random.default_rng(2)
    p = np.concatenate([np.full(40, 0.4), np.full(8, 0.045)])
    for budget in (5, 16 * 48, 3001):
        counts, _ = simulate(Goal("settled", 10**6, budget=budget), p, rng)
        assert counts.n.sum() == budget
    assert counts.n.min() >= 16
    assert counts.n[40:].mean() > 4 * counts.n[:40].mean(), "what is settled gets no more"


def test_less_is_misplaced_than_with_the_same_samples_spread_evenly():
    rng = np.random.default_rng(3)
    p = rng.beta(0.3, 0.3, 2000)
    goal = Goal("settled", 10**6, group=16, budget=2000 * 64)
    counts, _ = simulate(goal, p, rng)
    truth = np.searchsorted(goal.cuts, p)
    spent = sequential.misplaced(counts.c, counts.n, goal.cuts)[0] != truth
    even = sequential.misplaced(rng.binomial(64, p), np.full(2000, 64), goal.cuts)[0] != truth
    assert spent.mean() < 0.75 * even.mean()


def test_a_half_width_is_reached_everywhere_and_the_most_is_kept():
    rng = np.random.default_rng(4)
    p = rng.random(50)
    counts, rounds = simulate(Goal("halfwidth", 10**6, 0.06), p, rng)
    low, high = sequential.confidence_sequence(counts.c, counts.n)
    assert ((high - low) / 2 < 0.06).all()
    assert rounds < 40
    assert simulate(Goal("halfwidth", 100, 0.06), p, rng)[0].n.max() == 100
    assert simulate(Goal(most=7), p, rng)[0].n.tolist() == [7] * 50
    assert simulate(Goal(most=7, budget=70), p, rng)[0].n.sum() == 70


def test_options_stand_for_goals():
    assert GoalOptions().goal() == Goal("fixed", 64)
    assert GoalOptions(n=9).goal() == Goal("fixed", 9)
    assert GoalOptions(budget=500).goal() == Goal("settled", 4096, budget=500)
    assert GoalOptions(n=300, until="settled", group=16).goal() == Goal("settled", 300, group=16)
    assert GoalOptions(until="halfwidth < 0.02", budget=9).goal() == Goal("halfwidth", 4096, 0.02, budget=9)
    base = Counts.of([4], [1])
    assert GoalOptions().goal(base).margin == 0.1
    with pytest.raises(InputError, match="margin is 0"):
        GoalOptions(against="base", margin=0.0).goal(base)
    for text in ("half<0.1", "halfwidth<0.1.2", "halfwidth<", "64"):
        with pytest.raises(InputError, match="write settled, or halfwidth"):
            GoalOptions(until=text).goal()
    for wrong in ({"most": 0}, {"kind": "x"}, {"width": 0.5}, {"budget": 0}, {"group": 16}):
        with pytest.raises(InputError, match="goal"):
            Goal(**wrong)


def test_a_task_is_put_in_its_own_template_unless_another_is_given():
    sums = task("arithmetic/add-2d2d")
    assert sums.sampling() == sums.params
    assert sums.sampling(max_tokens=9, template="chat") == SamplingParams(max_tokens=9, template="chat")
    assert task("world/d2").sampling(0.5) == SamplingParams(0.5, max_tokens=48)


def test_unjudged_samples_settle_nothing_and_still_end():
    policy = ScriptedPolicy.with_p(0.0, unjudged=1.0)
    nothing = Counts.of([0] * 4, [0] * 4, [p.id for p in PROBLEMS[:4]])
    steps = list(
        draw(PROBLEMS[:4], Goal("settled", 64), in_process(policy, VERIFIERS, PARAMS), counts=nothing, have={}),
    )
    assert (steps[-1].samples, steps[-1].expected, steps[-1].met, steps[-1].tokens) == (256, 256, 0, None)


def test_stopped_topped_up_and_given_another_goal_it_draws_the_same_samples_once(tmp_path):
    policy, store, heard = ScriptedPolicy.with_p(0.3), Store(tmp_path), []

    def run(goal):
        return top_up(policy, PROBLEMS, World().verifiers, PARAMS, store, goal, notify=heard.append)

    first = run(Goal(most=5))
    assert (first.counts.n.tolist(), first.new, first.policy) == ([5] * 24, 120, policy.id)
    settled = run(Goal("settled", 500))
    assert settled.counts.n.sum() == 120 + settled.new
    assert run(Goal("settled", 500)).new == 0, "the same goal again draws nothing"
    last = run(Goal(most=400))
    assert last.counts.n.tolist() == [400] * 24
    whole = top_up(policy, PROBLEMS, World().verifiers, PARAMS, Store(tmp_path / "b"), Goal(most=400))
    assert last.counts.c.tolist() == whole.counts.c.tolist(), "the same keys, the same samples"
    assert heard[-1].done == heard[-1].total
    spent = replace(last, new=120, seconds=2.0, tokens=10**6)
    assert spent.line(2.5) == "120 drawn in 2.0 s, 60/s, 1,000,000 tokens, 2.50 at 2.5/1M"


CHILD = """
import os, signal, sys
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.collect import top_up
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.store import Store
from goldpanner.tasks import World, load
from goldpanner.types import SamplingParams

class Eager(Store):
    def writer(self, **_):
        return super().writer(block_rows=1)

class Dying(ScriptedPolicy):
    def sample(self, requests, params):
        for i, drawn in enumerate(super().sample(requests, params)):
            if i == 17 and os.environ["DIE"] == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            yield drawn

goal = Goal("settled", 200, budget=1500)
collection = top_up(Dying.with_p(0.3), load("world/d2", 24), World().verifiers, SamplingParams(max_tokens=40),
                    Eager(sys.argv[1]), goal)
print(collection.new)
"""


def test_verdicts_of_further_verifiers_that_a_kill_lost_are_made_up_by_the_next_call(tmp_path, monkeypatch):
    class Second:
        id = "second@1"

        def __call__(self, problem, completion):
            return Verdict(Outcome.WRONG, self.id)

    def run():
        verifiers = lambda: [*World().verifiers(), Second()]  # noqa: E731
        return top_up(policy, PROBLEMS, verifiers, PARAMS, store, Goal(most=5))

    def die(_, rows):
        if rows:
            raise SystemError("killed")

    policy, store = ScriptedPolicy.with_p(0.3), Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "append_verdicts", die)
        with pytest.raises(SystemError):
            run()
    before = store.counts(policy.id)
    assert (before.n.sum(), len(store.sql("SELECT 1 FROM verdicts"))) == (120, 0)
    assert run().new == 0, "nothing is drawn again"
    second = store.counts(policy.id, verifier=Second.id)
    assert (second.n.sum(), second.unjudged.sum()) == (120, 0)
    assert len(store.sql("SELECT 1 FROM verdicts")) == 120 * len(World().verifiers()), "of each but the first"
    assert (store.counts(policy.id, verifier=World().verifiers()[0].id).c == before.c).all()


def test_killed_in_the_middle_nothing_is_lost_or_counted_twice(tmp_path: Path):
    def child(die):
        env = {**os.environ, "DIE": die, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True, env=env)

    assert child("1").returncode == -signal.SIGKILL
    store = Store(tmp_path)
    (policy,) = store.records(PolicyRecord)
    before = int(store.counts(policy).n.sum())
    assert before == 17 * 16, "what was stored before the kill is there"
    done = child("0")
    assert done.returncode == 0, done.stderr
    counts = store.counts(policy)
    assert int(done.stdout) == counts.n.sum() - before
    samples = store.samples(policy=policy)
    assert len({sample.key for sample in samples}) == len(samples) == counts.n.sum()
    assert Goal("settled", 200).open_problems(counts).sum() == 0
