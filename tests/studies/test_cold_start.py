"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import numpy as np
import pytest
import torch

from goldpanner.policies.local import LocalPolicy
from goldpanner.studies.claims.cold_start import EXAMPLES, NAMES, ROLLOUTS, STUDY, rollouts_until, style
from goldpanner.studies.study import judge_results
from goldpanner.tasks import World
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.types import Problem

PROBLEMS = 128
ZERO = {"5e-2": 0.85, "1e-3": 0.8, "1e-4": 1e-3, "1e-5": 1e-5}
TUNED = dict.fromkeys([(level, n) for level in NAMES for n in EXAMPLES[level]], 0.9)


def world(zero=ZERO, tuned=TUNED, live=10, warmed=1.0, problems=PROBLEMS, spread=0.05):
    """A world's result: P after RL by level, without examples and by (level, examples); live groups of 2,880, and by
    what factor RL without examples changed the probability of the style, at 1e-4 and 1e-5. log P of the problems
    scatters by `spread`, anew in every arm.
    """
    noise = np.random.default_rng(0)

    def around(p):
        return np.minimum(np.log(p) + spread * noise.standard_normal(problems), -1e-3).tolist()

    levels = {}
    for level in NAMES:
        levels[level] = {}
        for n in (0, *EXAMPLES[level]):
            opens = float(level) if n == 0 else 0.9
            after = tuned[level, n] if n else zero[level]
            factor = warmed if n == 0 and level in NAMES[2:] else 1.0
            levels[level][str(n)] = {
                "before": around(opens / 2),
                "after": around(after),
                "style": around(opens),
                "style_after": around(opens * factor),
                "rewards": np.linspace(opens / 2, after, 60).tolist(),
                "groups": 2_880,
                "mixed": live,
                "hits": 7,
            }
    return {"tasks": ["world/d1"] * problems, "levels": levels}


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world() for _ in range(3)])
    assert found == dict.fromkeys(found, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    zero = {"5e-2": 0.3, "1e-3": 0.3, "1e-4": 0.6, "1e-5": 0.6}
    tuned = {key: {8: 0.01, 24: 0.1, 200: 0.9}[key[1]] for key in TUNED} | {("5e-2", 24): 0.7}
    found = words([world(zero, tuned, live=600, warmed=1e4) for _ in range(3)])
    assert found == dict.fromkeys(found, "false")


def test_a_level_that_starts_after_all_makes_stalling_conditional():
    assert words([world(ZERO | {"1e-4": 0.6})])["stalls"] == "conditional"
    assert words([world(), world(tuned=TUNED | {("1e-5", 24): 0.2})])["examples-start"] == "conditional"


def test_few_scattered_problems_decide_nothing():
    near = {"5e-2": 0.4, "1e-3": 0.4, "1e-4": 0.03, "1e-5": 0.03}
    found = words([world(near, dict.fromkeys(TUNED, 0.6), live=57, warmed=9.0, problems=6, spread=1.5)])
    assert found == dict.fromkeys(found, "undecided")


def test_rollouts_until_a_reward_counts_what_was_drawn_before():
    assert rollouts_until([0.6, 0.1]) == 0
    assert rollouts_until([0.1, 0.5, 0.51]) == 2 * ROLLOUTS
    assert rollouts_until([0.1, 0.5]) is None


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world() for _ in range(3)])
    for language in ("en", "zh"):
        assert "1e-5+8 5,376 / 5,376 / 5,376" in kept.found[language]
        assert "1e-5+0 – / – / –" in kept.found[language]
    levels, course = (plot.rows for plot in kept.plots)
    assert len(levels) == 3 * 2 * 2 * len(NAMES)
    assert len(course) == 3 * 2 * len(NAMES) * 60
    named = set(kept.text.series)
    assert {row["series"] for row in (*levels, *course)} | {row["panel"] for row in course} <= named


def test_the_style_is_what_every_answer_that_begins_with_the_relation_sums_to():
    torch.manual_seed(0)
    lab_world = World()
    tokenizer = build_tokenizer(lab_world.vocabulary())
    policy = LocalPolicy(build_model(ModelConfig(hidden_size=16, intermediate_size=32), len(tokenizer), 0), tokenizer)
    question = Problem("world/d1", "Q oak a b c", "d e f", {"chain": "oak d e f"})
    first = tokenizer.convert_tokens_to_ids("oak")
    seconds = policy.logprobs([question] * len(tokenizer), [[first, second] for second in range(len(tokenizer))])
    assert style(policy, [question])[0] == pytest.approx(np.log(np.exp(seconds).sum()), abs=1e-5)
