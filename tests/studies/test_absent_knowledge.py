"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import math

import numpy as np
import pytest

from goldpanner.studies import statistics
from goldpanner.studies.claims.absent_knowledge import ARMS, REWARDS, STUDY, between
from goldpanner.studies.statistics import log_mean_p
from goldpanner.studies.study import judge_results

BASE = dict(zip(ARMS, (1e-22, 1e-9, 1e-7, 1e-6, 1e-4, 1e-2, 0.4)))
ROLLOUTS = 38_400
LEARNT = {"exposure-0.2%": 0.9, "exposure-0.3%": 0.99, "exposure-1%": 0.99}
LOST = {"exposure-0.03%": 1e-10, "exposure-0.1%": 1e-10}


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 300)


def world(process, outcome, base=BASE, problems=80, spread=0.1):
    """A world's result; `process` and `outcome` map arms to their P after RL, the base's where they do not say.

    log P of the problems lies `spread` above and below, in turn; what RL moved, the other way round.
    """
    noise = spread * np.resize([1, -1], problems)

    def around(p, noise):
        return np.minimum(np.log(p) + noise, -1e-3).tolist()

    arms = {}
    for arm in ARMS:
        before = around(base[arm], noise)
        arms[arm] = {"base": before, "after": {}}
        for reward, after in zip(REWARDS, (process, outcome)):
            logp = around(after[arm], -noise) if arm in after else before
            arms[arm]["after"][reward] = {"logp": logp, "hits": 3}
    return {"rollouts": ROLLOUTS, "arms": arms}


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world(LEARNT, LEARNT | LOST) for _ in range(3)])
    assert found == dict.fromkeys(("floor", "threshold", "known-enough", "no-signal", "lucky-answers"), "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    invented = dict.fromkeys(("klingon", "exposure-0%", "exposure-0.03%", "exposure-0.1%"), 0.9)
    found = words([world(invented, invented) for _ in range(3)])
    assert found == dict.fromkeys(found, "false")


def test_a_threshold_far_from_the_budget_is_false_and_one_between_distant_arms_is_open():
    only_known = {"exposure-1%": 0.99}
    assert words([world(only_known, only_known)])["threshold"] == "false"
    sparse = BASE | {"exposure-0.1%": 1e-9, "exposure-0.03%": 1e-9, "exposure-0.2%": 0.1}
    assert words([world(LEARNT, LEARNT, base=sparse)])["threshold"] == "undecided"


def test_worlds_that_disagree_are_conditional():
    results = [world(LEARNT, LEARNT | LOST), world(LEARNT, LEARNT)]
    assert words(results)["lucky-answers"] == "conditional"


def test_a_stage_that_learnt_nothing_has_no_threshold_and_few_scattered_problems_decide_nothing():
    assert words([world({}, {})])["threshold"] == "undecided"
    near = {"exposure-0.3%": 0.85, "exposure-1%": 0.85, "exposure-0.03%": 1e-8, "exposure-0.1%": 1e-7}
    found = words([world(near, near, problems=4, spread=2.5) for _ in range(3)])
    assert found["known-enough"] == "undecided"
    assert found["lucky-answers"] == "undecided"


def test_the_threshold_lies_between_its_neighbours_and_where_they_cross_the_worse_one_counts():
    plain = between([-3, -1, 1, 4], [False, False, True, True])
    assert (plain.low, plain.value, plain.high) == (-1, 0, 1)
    crossed = between([-3, -1, 2, 4], [False, True, False, True])
    assert (crossed.low, crossed.value, crossed.high) == (2, 2, 2)
    assert math.isnan(between([0, 1], [True, True]).value)


def test_the_mean_of_tiny_probabilities_does_not_underflow():
    assert log_mean_p([-2000.0, -2000.0]) == pytest.approx(-2000 / math.log(10))
    assert log_mean_p(np.log([0.1, 0.3])) == pytest.approx(math.log10(0.2))


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(LEARNT, LEARNT | LOST) for _ in range(3)])
    assert "38,400" in kept.found["en"]
    assert "38,400" in kept.found["zh"]
    rows = kept.plots[0].rows
    assert len(rows) == 3 * len(ARMS) * len(REWARDS)
    assert all(row["x"] > 0 and row["y"] > 0 for row in rows)
