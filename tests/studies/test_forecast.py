"""Verdicts of the forecast study on synthetic bases; the weakest fact against a table of facts."""

from types import SimpleNamespace

import numpy as np
import pytest

from goldpanner import rng
from goldpanner.studies.claims.forecast import AGGREGATE, BASES, STUDY, facts, fate_auc, weakest_fact
from goldpanner.studies.statistics import auc
from goldpanner.studies.study import judge_results
from goldpanner.tasks import World


def world(seed=0, problems=48, good=(), bad=(), fate_seen=1.0, spread=0.0):
    """A world's result: `good` aggregates follow the outcome, `bad` ones run against it, the others are noise.

    `fate_seen`: how much of a problem's fate its scores show (negative: they show the contrary).
    """
    draw = np.random.default_rng(seed)
    found = {}
    for name in BASES:
        outcome = float(draw.uniform(0.1, 0.9))
        solved = draw.random(problems) < outcome
        after = np.where(solved, np.log(0.9), np.log(1e-3))
        hint = fate_seen * np.where(solved, 1.0, -1.0) + draw.normal(0, 0.3, problems)
        draws = np.where(hint > 0.5, np.round(10 * hint), 0) if fate_seen else draw.integers(0, 2, problems)
        noise = {key: outcome + draw.normal(0, spread) for key in good} | dict.fromkeys(bad, -outcome)
        found[name] = {
            "aggregate": {key: float(noise.get(key, draw.random())) for key in AGGREGATE},
            "scores": {"draws": draws.tolist(), "log-p": hint.tolist(), "weakest": hint.tolist()},
            "after": after.tolist(),
            "result": outcome,
        }
    return found


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr("goldpanner.studies.statistics.RESAMPLES", 400)


KNOWING = ("pass@64", "tail", "weakest-fact")


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world(seed, good=KNOWING) for seed in range(3)])
    assert found == dict.fromkeys(found, "held")
    assert len(found) == 6


def test_the_opposite_flips_every_verdict():
    found = words([world(seed, good=("pass@1",), bad=("pass@64",), fate_seen=-1) for seed in range(3)])
    assert {
        found[name] for name in ("pass64-ranks", "pass1-is-worse", "fate", "fate-from-draws", "where-draws-are-blind")
    } == {"false"}
    ranked = words([world(seed, good=("pass@64",), bad=("tail", "weakest-fact")) for seed in range(3)])
    assert ranked["knowledge-ranks"] == "false"


def test_few_bases_and_blind_scores_leave_it_undecided():
    found = words([world(1, problems=8, good=KNOWING, fate_seen=0.25, spread=0.2)])
    names = ("pass64-ranks", "pass1-is-worse", "knowledge-ranks", "fate", "where-draws-are-blind")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "undecided")


def test_one_ranking_told_twice_is_no_difference():
    assert words([world(seed, good=("pass@1", "pass@64")) for seed in range(3)])["pass1-is-worse"] == "undecided"


def test_worlds_without_both_fates_are_undefined():
    result = world(0, good=KNOWING)
    for base in result.values():
        base["after"] = [-9.0] * len(base["after"])
    assert np.isnan(fate_auc(result, "log-p").value)
    assert words([result])["fate"] == "undecided"


def test_fate_is_the_mean_auc_of_the_bases():
    result = world(0, fate_seen=0.2)
    each = [auc(base["scores"]["draws"], np.exp(base["after"]) > 0.5) for base in result.values()]
    assert fate_auc(result, "draws").value == pytest.approx(np.mean(each))


def test_fate_looks_only_at_the_unsolved_when_asked():
    result = world(0, good=KNOWING)
    for base in result.values():
        base["scores"]["draws"] = [1 if after > -1 else 0 for after in base["after"]]
        base["scores"]["log-p"] = [-score for score in base["scores"]["draws"]]
    assert fate_auc(result, "log-p").value == 0
    assert np.isnan(fate_auc(result, "log-p", unsolved=True).value)


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(seed, good=KNOWING) for seed in range(3)])
    assert "24 bases" in kept.found["en"]
    assert {row["series"] for row in kept.plots[0].rows} == set(BASES)


def test_facts_follow_the_chain():
    lab_world = World()
    for problem in lab_world.problems("world/d3", 5, rng.stream("test")):
        found = facts(problem)
        assert len(found) == 9
        letters = [token for token in problem.meta["chain"].split() if len(token) == 1]
        for (relation, letter), made in zip(found, letters):
            row, column = lab_world.relations.index(relation), lab_world.symbols.index(letter)
            assert lab_world.symbols[lab_world.truth[row, column]] == made


def test_the_weakest_fact_is_the_least_probable_one():
    lab_world = World()
    learned = lab_world.problems("world/d1", 400, rng.stream("learned"), "train")
    weight = np.random.default_rng(0).uniform(0.01, 1, (len(lab_world.relations), 24))

    def p(fact):
        return weight[lab_world.relations.index(fact[0]), lab_world.symbols.index(fact[1])]

    def token_logprobs(problems, chains):
        return [np.log([0.5, *(p(fact) for fact in facts(problem)), 0.5]) for problem in problems]

    lab = SimpleNamespace(problems=lambda *args, **more: learned)
    base = SimpleNamespace(world=None, policy=SimpleNamespace(token_logprobs=token_logprobs))
    asked = lab_world.problems("world/d2", 20, rng.stream("asked"))
    known = {fact for problem in learned for fact in facts(problem)}
    expected = [min((np.log(p(fact)) if fact in known else 0.0) for fact in facts(problem)) for problem in asked]
    assert weakest_fact(lab, base, asked) == pytest.approx(expected)
