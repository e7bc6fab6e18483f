"""The plan before an RL run: thresholds, assignments against truth, costs against the law of groups."""

import json

import numpy as np
import pytest

from goldpanner.errors import InputError
from goldpanner.measure import groups
from goldpanner.measure.plan import ASSIGNMENTS, plan, rollouts_for_success, thresholds
from goldpanner.types import Counts


def pilot(seed=0, m=150, n=16, a=0.3, b=1.0):
    r = np.random.default_rng(seed)
    p = r.beta(a, b, m)
    return p, Counts.of(np.full(m, n), r.binomial(n, p), ids=[f"q{i}" for i in range(m)])


@pytest.mark.parametrize("p", [0.5, 0.01, 1e-6])
def test_rule_of_three(p):
    needed = float(rollouts_for_success(p))
    assert 1 - (1 - p) ** needed == pytest.approx(0.95, abs=1e-3)
    if p < 0.1:
        assert needed == pytest.approx(3 / p, rel=0.01)


def test_rule_of_three_at_the_ends():
    assert rollouts_for_success(0.0) == np.inf
    assert rollouts_for_success(1.0) == 1


@pytest.mark.parametrize("size", [2, 4, 16, 256])
def test_thresholds_are_where_they_say(size):
    sft, now, solved = thresholds(size, 10_000)
    assert groups.shares(now, size)[0] == pytest.approx(0.25)
    assert groups.shares(solved, size)[0] == pytest.approx(0.25)
    assert 1 - (1 - sft) ** 10_000 == pytest.approx(0.5) or sft == now
    assert sft <= now < 0.5 < solved


def test_clear_cases_are_assigned_with_little_doubt():
    counts = Counts.of([1000] * 40, [0] * 10 + [4] * 10 + [500] * 10 + [1000] * 10)
    found = plan(counts, steps=200, prompts=8, group=16)
    by_count = {p.c: p for p in found.problems}
    assert by_count[4].assignment == "train later"
    assert by_count[500].assignment == "train now"
    assert by_count[1000].assignment == "solved"
    assert by_count[500].probability > 0.99
    assert by_count[500].success == pytest.approx(1)
    assert by_count[0].success < by_count[4].success < by_count[500].success
    assert by_count[0].p.high == pytest.approx(1 - 0.025 ** (1 / 1000))


def test_hopeless_problems_need_sft_first():
    counts = Counts.of([5000] * 60, [0] * 30 + [2500] * 30)
    found = plan(counts, steps=10, prompts=10, group=8)  # 13 rollouts a problem
    assert {p.assignment for p in found.problems if p.c == 0} == {"needs SFT first"}
    assert found.rollouts_per_problem == pytest.approx(10 * 10 * 8 / 60)


def test_expected_misplaced_agrees_with_the_misplaced():
    inside, said, true = 0, [], []
    for seed in range(8):
        p, counts = pilot(seed)
        found = plan(counts, group=16, seed=seed)
        right = np.searchsorted(found.thresholds, p)
        given = np.array([ASSIGNMENTS.index(x.assignment) for x in found.problems])
        true.append(int((right != given).sum()))
        said.append(found.misplaced.value)
        inside += found.misplaced.low <= true[-1] <= found.misplaced.high
    assert np.mean(said) == pytest.approx(np.mean(true), rel=0.35)
    assert inside >= 6


def test_probabilities_are_calibrated():
    chance, hit = [], []
    for seed in range(6):
        p, counts = pilot(100 + seed)
        found = plan(counts, group=16, seed=seed)
        right = np.searchsorted(found.thresholds, p)
        for i, problem in enumerate(found.problems):
            assert sum(problem.probabilities) == pytest.approx(1)
            assert problem.probability == max(problem.probabilities)
            chance.append(problem.probability)
            hit.append(ASSIGNMENTS.index(problem.assignment) == right[i])
    sure = np.array(chance) > 0.9
    assert np.mean(np.array(hit)[sure]) == pytest.approx(np.mean(np.array(chance)[sure]), abs=0.06)
    assert np.mean(np.array(hit)[~sure]) == pytest.approx(np.mean(np.array(chance)[~sure]), abs=0.12)


def test_cost_and_live_groups_follow_the_shares():
    p, counts = pilot(3, m=300)
    found = plan(counts, prompts=32)
    for option in found.sizes:
        assert option.mixed_per_step.value == pytest.approx(32 * option.mixed_share.value)
        assert option.cost.value == pytest.approx(option.size / option.mixed_share.value)
        assert option.cost.low <= option.cost.value <= option.cost.high
    truth = groups.shares(p, 16)[0].mean()
    sixteen = next(o for o in found.sizes if o.size == 16)
    assert sixteen.mixed_share.low <= truth <= sixteen.mixed_share.high
    cheapest = min(o.cost.value for o in found.sizes)
    chosen = next(o for o in found.sizes if o.size == found.recommended)
    assert chosen.cost.value <= 1.5 * cheapest
    assert all(o.cost.value > 1.5 * cheapest for o in found.sizes if o.size > found.recommended)


def test_hard_sets_get_larger_groups_than_easy_ones():
    hard = plan(Counts.of([64] * 50, [0, 1] * 25)).recommended
    easy = plan(Counts.of([64] * 50, [32, 40] * 25)).recommended
    assert hard > easy


def test_unjudged_problems_are_unknown_not_assigned_and_json_is_plain():
    counts = Counts.of([16, 16, 16], [3, 0, 0], ids=["a", "b", "c"], unjudged=[0, 0, 16])
    found = plan(counts, group=8)
    assert found.unknown == ("c",)
    assert [p.id for p in found.problems] == ["a", "b"]
    record = json.loads(json.dumps(found.to_json()))
    assert record["assigned"]["unknown"] == 1
    assert sum(record["assigned"].values()) == 3
    assert found.ids(found.problems[0].assignment)[0] == "a"
    assert record["recommended_G"] == 8


@pytest.mark.parametrize("counts", [([16], [0]), ([1], [1]), ([1] * 5, [0] * 5), ([100] * 4, [100] * 4)])
def test_edges_give_a_plan(counts):
    found = plan(Counts.of(*counts))
    assert len(found.problems) == len(counts[0])
    json.dumps(found.to_json(), allow_nan=False)


def test_mistakes_are_named():
    _, counts = pilot(m=5)
    with pytest.raises(InputError, match="at least 2"):
        plan(counts, sizes=[1, 4])
    with pytest.raises(InputError, match="must be >= 1"):
        plan(counts, steps=0)
    with pytest.raises(InputError, match="all unjudged"):
        plan(Counts.of([4], [0], unjudged=[4]))
