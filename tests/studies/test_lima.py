"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import numpy as np
import pytest
import torch

from goldpanner.policies.local import LocalPolicy
from goldpanner.studies import statistics
from goldpanner.studies.claims.lima import KINDS, SIZES, STUDY, TASKS, UNNAMED, base_ranks, greedy
from goldpanner.studies.study import judge_results
from goldpanner.tasks import World
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.types import Problem

KNOWN = {"web": (0.2, 0.35, 0.4, 0.45, 0.5, 0.52), "truth": (0.3, 0.5, 0.6, 0.7, 0.8, 0.85)}
CONTESTED = {"web": 0.02, "truth": 0.6}
BARE = dict(zip(UNNAMED, (1e-20, 1e-9, 1e-6, 1e-5, 0.01, 0.5)))


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 100)


def world(known=KNOWN, contested=CONTESTED, after=BARE, most=1.0, unshifted=0.9, problems=64, spread=0.05):
    """A world's result. `known` by kind and number of examples, of settled questions; a quarter are contested. `after`:
    P of the unnamed relations at every number of examples, `most` times as much at 512.
    """
    noise = np.random.default_rng(0)
    is_contested = np.arange(problems) % 4 < 1

    def around(p):
        return np.minimum(np.log(p) + spread * noise.standard_normal(problems), -1e-3).tolist()

    def asked(kind, i):
        p = np.where(is_contested, contested[kind], known[kind][i])
        factor = most if SIZES[i] == 512 else 1.0
        return {task: around(p) for task in TASKS} | {task: around(after[task] * factor) for task in UNNAMED}

    shifted = np.where(np.arange(10) < round(10 * unshifted), 1, 4)
    ranks = [shifted.tolist() if spread < 1 else [1 + 3 * (i % 2)] * 5 for i in range(2 * problems)]
    believed = np.where(is_contested, 0.02, 0.52).tolist()
    return {
        "believed": dict.fromkeys(TASKS, believed),
        "weakest": dict.fromkeys(TASKS, np.where(is_contested, 0.01, 0.99).tolist()),
        "base": asked("web", 0),
        "start": {task: around(1e-4) for task in (*TASKS, *UNNAMED)},
        "after": {kind: {str(n): asked(kind, i) for i, n in enumerate(SIZES)} for kind in KINDS},
        "ranks": {kind: {"base": ranks, "start": ranks} for kind in KINDS},
    }


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world() for _ in range(2)])
    assert found == dict.fromkeys(found, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    late = (0.1, 0.1, 0.1, 0.1, 0.12, 0.95)
    taught = {"web": 0.5, "truth": 0.5}
    invented = dict.fromkeys(UNNAMED, 1e-3)
    found = words([world(dict.fromkeys(KINDS, late), taught, invented, most=50.0, unshifted=0.5) for _ in range(2)])
    assert found == dict.fromkeys(found, "false")


def test_worlds_that_disagree_are_conditional():
    assert words([world(), world(contested={"web": 0.02, "truth": 0.03})])["truth-adds-facts"] == "conditional"
    assert words([world(after=BARE | {"exposure-0%": 1e-3})])["absent-stays"] == "conditional"


def test_few_scattered_problems_decide_nothing():
    near = BARE | {"klingon": 8e-7, "exposure-0%": 8e-7, "exposure-1%": 0.15}
    level = {"web": (0.2, 0.3, 0.3, 0.3, 0.25, 0.27), "truth": (0.2, 0.3, 0.3, 0.3, 0.25, 0.27)}
    few = world(level, {"web": 0.05, "truth": 0.3}, near, most=9.0, problems=6, spread=1.5)
    found = words([few])
    assert found == dict.fromkeys(found, "undecided")


def test_a_world_without_contested_questions_does_not_judge_them():
    result = world()
    result["weakest"] = {task: [0.99] * 64 for task in TASKS}
    found = words([result])
    assert found["truth-adds-facts"] == found["form-corrects-nothing"] == "undecided"


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world() for _ in range(2)])
    for language in ("en", "zh"):
        assert "web >3 0.100 / 0.100" in kept.found[language]
    rows = kept.plots[0].rows
    assert len(rows) == 2 * len(KINDS) * (1 + len(UNNAMED)) * len(SIZES)
    assert {row["series"] for row in rows} | {row["panel"] for row in rows} <= set(kept.text.series)


@pytest.fixture
def policy():
    torch.manual_seed(0)
    tokenizer = build_tokenizer(World().vocabulary())
    return LocalPolicy(build_model(ModelConfig(hidden_size=16, intermediate_size=32), len(tokenizer), 3), tokenizer)


QUESTIONS = [Problem("world/d1", "Q oak a b c", "", {}), Problem("world/d2", "Q oak river a b c", "", {})]


def test_ranks_count_the_tokens_that_one_token_at_a_time_puts_above(policy):
    said = [[5, 9, 1], [40, 7, 33, 2]]
    for question, tokens, ranks in zip(QUESTIONS, said, base_ranks(policy, QUESTIONS, said)):
        for i, token in enumerate(tokens):
            answers = [[*tokens[:i], other] for other in range(len(policy.tokenizer))]
            every = policy.logprobs([question] * len(answers), answers)
            assert ranks[i] == 1 + (every > every[token]).sum()


def test_a_model_ranks_its_own_greedy_answer_first(policy):
    said = greedy(policy, QUESTIONS)
    assert all((ranks == 1).all() for ranks in base_ranks(policy, QUESTIONS, said))
