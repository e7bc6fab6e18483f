"""The law against counting, and verdicts that follow the data: predicted, opposite and undecidable worlds."""

import itertools

import numpy as np
import pytest
import torch

from goldpanner import rng
from goldpanner.studies.claims.one_sided_groups import ARMS, STATES, STUDY, expected_shares
from goldpanner.studies.study import judge_results
from goldpanner.train.groups import group_states

PREDICTIONS = ("law", "starves", "wrong-remain", "no-free-lunch", "hard-stay")
ROLLOUTS = 61_440


# -- the law


def test_expected_shares_are_those_of_every_possible_group():
    p, size = np.array([0.0, 0.2, 0.9, 1.0]), 3
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)))
    states = group_states(rows)
    right = rows.sum(1).numpy()
    weight = p[:, None] ** right * (1 - p[:, None]) ** (size - right)
    found = expected_shares(p, size)
    for state, counted in zip(STATES, (states.mixed, states.all_wrong, states.all_correct)):
        assert found[state] == pytest.approx(float((weight * counted.numpy()).sum(1).mean()))


def test_sampled_groups_have_the_expected_shares():
    p = np.repeat([1e-4, 0.05, 0.5, 0.97], 5_000)
    reward = torch.from_numpy(rng.stream("test/one-sided-groups").random((len(p), 16)) < p[:, None]).double()
    states, found = group_states(reward), expected_shares(p)
    for state, seen in zip(STATES, (states.mixed, states.all_wrong, states.all_correct)):
        assert float(seen.double().mean()) == pytest.approx(found[state], abs=0.01)


# -- the verdicts


def world(bias=0.0, last=(0.1, 0.35, 0.55), remedy=0.6, hard=1e-6, steps=80, problems=256, spread=0.02):
    """A world's result: half of the problems easy, half hard; observed shares are off by `bias` plus a noise.

    Plain GRPO ends at P = .6 on the easy problems, a remedy at `remedy`; hard ones end at `hard`, in every arm.
    """
    path = np.linspace(0, 1, steps)[:, None]
    shares = (1 - path) * (0.55, 0.4, 0.05) + path * last if steps > 8 else np.full((steps, 3), 1 / 3)
    noise = spread * np.resize([1, -1], steps)
    jitter = np.exp(spread * np.resize([1, -1, -1, 1], problems // 2))

    def logp(easy, rest):
        return np.concatenate([np.log(easy * jitter), np.log(rest / jitter)]).tolist()

    def arm(easy):
        looks = [logp(0.2, 1e-6), logp((0.2 + easy) / 2, hard), logp(easy, hard)]
        return {"rollouts": [0, ROLLOUTS // 4, ROLLOUTS], "steps": [0, 20, 80], "logp": looks}

    return {
        "base": logp(0.2, 1e-6),
        "observed": {s: (shares[:, i] + bias + noise).tolist() for i, s in enumerate(STATES)},
        "expected": {s: shares[:, i].tolist() for i, s in enumerate(STATES)},
        "arms": {name: arm(0.6 if name == "plain" else remedy) for name in ARMS},
    }


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    assert words([world()] * 3) == dict.fromkeys(PREDICTIONS, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    opposite = world(bias=0.1, last=(0.8, 0.0, 0.2), remedy=0.9, hard=0.4)
    assert words([opposite] * 3) == dict.fromkeys(PREDICTIONS, "false")


def test_worlds_that_disagree_are_conditional():
    found = words([world(), world(bias=0.1, remedy=0.9)])
    assert (found["law"], found["no-free-lunch"]) == ("conditional", "conditional")


def test_one_remedy_that_pays_is_a_condition():
    mixed = world()
    mixed["arms"]["wide"] = world(remedy=0.9)["arms"]["wide"]
    decision = STUDY.judge([mixed]).decisions["no-free-lunch"]
    assert decision.word == "conditional"
    assert set(decision.no) == {"wide-quarter", "wide-all"}


def test_few_scattered_steps_and_problems_decide_nothing():
    scattered = world(steps=8, problems=8, spread=0.5, remedy=0.6, hard=0.03)
    arms = scattered["arms"]
    arms["dynamic"]["logp"] = arms["wide"]["logp"] = [logp[::-1] for logp in arms["plain"]["logp"]]
    assert words([scattered] * 3) == dict.fromkeys(PREDICTIONS, "undecided")


def test_without_hard_problems_nothing_is_said_of_them():
    easy = world()
    easy["base"] = [-1.0] * len(easy["base"])
    assert words([easy])["hard-stay"] == "undecided"


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world()] * 3)
    assert "61,440" in kept.found["en"]
    assert "61,440" in kept.found["zh"]
    shares, remedies = (plot.rows for plot in kept.plots)
    assert len(shares) == 3 * 2 * len(STATES) * 16
    assert len(remedies) == 3 * len(ARMS) * 3
    assert {row["series"] for row in remedies} == set(ARMS)
