"""The gradient against closed forms, take-off against a plain simulation, and verdicts that follow the data."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from goldpanner import rng
from goldpanner.studies import statistics
from goldpanner.studies.claims.zero_gradient import (
    ADAM_STARTS,
    CELLS,
    GRID,
    SAMPLED,
    SGD_RATE,
    STARTS,
    STUDY,
    expected_push,
    gradient,
    slope,
    take_off,
    take_off_adam,
)
from goldpanner.studies.study import judge_results

PREDICTIONS = ("zero", "proportional", "measured", "take-off", "speed", "adam", "adam-levels")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 100)


# -- the formulas


@pytest.mark.parametrize("p", [0.9, 0.5, 0.1, 1e-3, 1e-9])
@pytest.mark.parametrize("size", [2, 8, 32])
def test_the_expected_gradient_has_the_closed_forms_of_its_objective(p, size):
    assert expected_push("dr-grpo", size, p) == pytest.approx(p * (1 - p) * (size - 1) / size)
    # log P truncated at order G - 1: p (1 - p) sum_{k<G} (1 - p)^(k - 1)
    series = p * (1 - p) * sum((1 - p) ** (k - 1) for k in range(1, size))
    assert expected_push("maxrl", size, p) == pytest.approx(series)


def test_far_below_one_in_a_group_grpo_is_sqrt_g_times_dr_grpo():
    for size in (8, 32):
        assert expected_push("grpo", size, 1e-8) / expected_push("dr-grpo", size, 1e-8) == pytest.approx(
            size**0.5, rel=1e-3
        )


def test_there_is_no_gradient_at_zero_or_one_and_always_one_between():
    for name, size in CELLS.values():
        assert expected_push(name, size, 0.0) == 0.0
        assert expected_push(name, size, 1.0) == 0.0
        assert all(expected_push(name, size, p) > 0 for p in GRID)
        for dead in (torch.zeros(1, 5, size), torch.ones(1, 5, size)):
            assert gradient(name, np.array([-4.6]), dead).tolist() == [0.0]


def test_autograd_gives_the_policy_gradient_of_each_run_by_itself():
    reward = torch.tensor([[[1.0, 0, 0, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [1, 0, 0, 0]]]).double()
    z = np.array([-1.0, 0.3])
    p = expit(z)[:, None, None]
    advantage = reward.numpy() - reward.numpy().mean(2, keepdims=True)
    by_hand = (advantage * (reward.numpy() - p)).mean((1, 2))
    assert gradient("dr-grpo", z, reward) == pytest.approx(by_hand)


def test_what_is_sampled_is_what_is_expected():
    draw = rng.stream("test/zero-gradient")
    for name, size in CELLS.values():
        reward = torch.from_numpy(draw.random((1, 20_000, size)) < 0.1).double()
        assert gradient(name, logit([0.1]), reward)[0] == pytest.approx(expected_push(name, size, 0.1), rel=0.05)


@pytest.mark.parametrize("name", ["dr-grpo", "grpo", "maxrl"])
def test_the_waits_have_the_law_of_a_run_that_takes_every_step(name):
    runs, size = 400, 4
    draw = rng.stream("test/take-off", name)
    z, clock = np.full(runs, logit(0.05)), np.zeros(runs)
    for step in range(1, 10_000):
        reward = torch.from_numpy(draw.random((runs, 1, size)) < expit(z)[:, None, None]).double()
        z = z + SGD_RATE * gradient(name, z, reward)
        clock[(clock == 0) & (z >= 0)] = step
        if clock.all():
            break
    jumped = take_off(name, size, np.full(runs, 0.05), draw)
    error = math.hypot(clock.std(), jumped.std()) / runs**0.5
    assert abs(clock.mean() - jumped.mean()) < 4 * error
    assert jumped.std() == pytest.approx(clock.std(), rel=0.25)


def test_adam_arrives_and_a_run_that_does_not_is_infinite():
    draw = rng.stream("test/adam")
    steps = take_off_adam("grpo", 8, np.repeat([0.1, 1e-9], 5), draw, 200)
    assert (steps[:5] < 200).all()
    assert np.isinf(steps[5:]).all()


def test_slope_of_a_power_law():
    steps = [np.full(3, 7 * p**-0.6) for p in STARTS]
    assert slope(STARTS, steps) == pytest.approx(-0.6)
    assert math.isnan(slope(STARTS, [np.full(3, np.inf), *steps[1:]]))


# -- the verdicts


def world(sgd=-1.0, adam=-0.5, power=1.0, ratio=1.0, zero=0.0, levels=None, adam_levels=None, spread=0.01, n=20):
    """A world's result that follows power laws; `levels` gives the speed of a cell relative to Dr. GRPO."""
    spreads = itertools.cycle([np.roll(np.exp(spread * np.linspace(-1, 1, n)), i) for i in range(n)])
    levels = levels or (lambda name, size: {"dr-grpo": 1, "grpo": size**0.5, "maxrl": size}[name])
    adam_levels = adam_levels or (lambda name, size: 1.0)
    return {
        cell: {
            "zero": zero,
            "expected": [0.25 * p**power for p in GRID],
            "ratio": {str(p): (ratio * next(spreads)).tolist() for p in SAMPLED},
            "sgd": {str(p): (3 * p**sgd / levels(*how) * next(spreads)).tolist() for p in STARTS},
            "adam": {str(p): (9 * p**adam / adam_levels(*how) * next(spreads)).tolist() for p in ADAM_STARTS},
        }
        for cell, how in CELLS.items()
    }


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    assert words([world()] * 3) == dict.fromkeys(PREDICTIONS, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    opposite = world(
        sgd=-0.5, adam=-1.0, power=0.5, ratio=0.8, zero=1e-3,
        levels=lambda name, size: 1.0, adam_levels=lambda name, size: {"dr-grpo": 1.0}.get(name, 3.0),
    )  # fmt: skip
    assert words([opposite] * 3) == dict.fromkeys(PREDICTIONS, "false")


def test_worlds_that_disagree_are_conditional():
    assert words([world(), world(sgd=-0.5)])["take-off"] == "conditional"


def test_few_scattered_runs_decide_nothing_that_is_sampled():
    found = words([world(spread=3.0, n=4)])
    assert {found[name] for name in ("measured", "take-off", "speed", "adam-levels")} == {"undecided"}


def test_runs_that_did_not_arrive_and_gradients_that_underflow_are_undecided():
    result = copy.deepcopy(world())
    for cell in result.values():
        cell["adam"]["0.001"] = [None] * 20
        cell["expected"] = [0.0] * len(GRID)
    found = words([result])
    assert (found["adam"], found["adam-levels"], found["proportional"]) == ("undecided",) * 3
    assert found["take-off"] == "held"


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world()] * 3)
    assert "maxrl-32" in kept.found["en"]
    assert "maxrl-32" in kept.found["zh"]
    gradients, steps = (plot.rows for plot in kept.plots)
    assert len(gradients) == len(CELLS) * (len(GRID) + 3 * len(SAMPLED))
    assert len(steps) == len(CELLS) * 3 * (len(STARTS) + len(ADAM_STARTS))
    assert all(row["x"] > 0 and row["y"] > 0 for row in gradients + steps)
