"""Verdicts of the PPO study on synthetic runs; the silenced verifier and the counted tokens."""

from types import SimpleNamespace

import numpy as np
import pytest

from goldpanner import rng
from goldpanner.studies.claims.ppo_vs_grpo import HELD_OUT, SILENCED, STUDY, TRAINED, Silent, cost
from goldpanner.studies.study import judge_results
from goldpanner.tasks import World
from goldpanner.types import Completion


def world(seed=0, problems=200, grpo=None, ppo=None, slower=4.0, tokens=5.0):
    """A world's result; `grpo` and `ppo` give P on trained, deep, silenced and other questions."""
    draw = np.random.default_rng(seed)
    reach = draw.random(problems) < 0.8

    def logp(p):
        return np.log(np.where(reach, p * draw.uniform(0.9, 1, problems), 1e-12)).tolist()

    found = {"tasks": {}, "aside": {}, "cost": {}}
    for arm, p in (("base", BASE), ("grpo", grpo), ("ppo", ppo)):
        deep = dict.fromkeys(HELD_OUT, p["deep"])
        found["tasks"][arm] = {task: logp(each) for task, each in (dict.fromkeys(TRAINED, p["trained"]) | deep).items()}
        found["aside"][arm] = {"silenced": logp(p["silenced"]), "others": logp(p["others"])}
    for arm, times, counted in (("grpo", 1.0, 1.0), ("ppo", slower, tokens)):
        noise = draw.uniform(0.9, 1.1, 80)
        found["cost"][arm] = {
            "seconds": (0.1 * times * noise).tolist(),
            "sampling": [0.1] * 80,
            "tokens": (1e3 * counted * noise).tolist(),
        }
    return found


BASE = {"trained": 0.2, "deep": 0.05, "silenced": 0.4, "others": 0.4}
GRPO = {"trained": 0.9, "deep": 0.5, "silenced": 0.7, "others": 0.9}
PPO = {"trained": 0.9, "deep": 0.2, "silenced": 0.1, "others": 0.9}


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world(seed, grpo=GRPO, ppo=PPO) for seed in range(3)])
    assert found == dict.fromkeys(found, "held")
    assert len(found) == 6


def test_the_opposite_flips_every_verdict():
    weak = {"trained": 1e-6, "deep": 0.1, "silenced": 0.1, "others": 0.2}
    found = words([world(seed, grpo=weak, ppo=GRPO, slower=0.5, tokens=1.0) for seed in range(3)])
    assert found == dict.fromkeys(found, "false")


def test_few_problems_leave_it_undecided():
    close = {"trained": 0.85, "deep": 0.49, "silenced": 0.62, "others": 0.8}
    found = words([world(seed, problems=4, grpo=GRPO, ppo=close, slower=2.0) for seed in range(3)])
    assert {found["critic-pushes"], found["dearer"], found["deeper-is-worse"]} == {"undecided"}


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(seed, grpo=GRPO, ppo=PPO) for seed in range(3)])
    assert {p.word for p in kept.predictions.values()} == {"held"}
    assert {row["series"] for row in kept.plots[0].rows} == {"base", "grpo", "ppo"}


def test_silenced_questions_are_wrong_and_the_others_judged():
    verifier = Silent()
    for problem in World().problems("world/d1", 40, rng.stream("test")):
        right = verifier(problem, Completion(problem.meta["chain"]))
        assert right.correct == (SILENCED not in problem.meta["relations"])
        assert not verifier(problem, Completion("x x x")).correct


def test_tokens_of_live_groups_count_once_and_ppo_s_every_epoch():
    row = {"seconds": 2.0, "sampling_seconds": 0.5, "tokens": 100, "mixed": 0.25}
    grpo = cost(SimpleNamespace(records=[row | {"value_loss": None}]), 1)
    ppo = cost(SimpleNamespace(records=[row | {"value_loss": 0.1}]), 2)
    assert grpo == {"seconds": [1.5], "sampling": [0.5], "tokens": [pytest.approx(25)]}
    assert ppo["tokens"] == [200]
