"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import math

import numpy as np
import pytest

from goldpanner.studies import statistics
from goldpanner.studies.claims.composition import ARMS, DEPTHS, SPECTRA, STUDY, log_mean_ratio
from goldpanner.studies.study import judge_results


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 300)


def world(rl2, rl1, rft, problems=256, seed=0, spread=0.3):
    """A world's result; the arms map (spectrum, base's P) to theirs. Half of the problems are out of reach."""
    rng = np.random.default_rng(seed)
    found = {}
    for spectrum in SPECTRA:
        found[spectrum] = {arm: {} for arm in ARMS}
        for depth in DEPTHS:
            easy = rng.lognormal(np.log(0.02), spread, problems // 2)
            p = np.concatenate([easy, np.full(problems - len(easy), 1e-6)])
            by_arm = {"base": p, "rl2": rl2(spectrum, p), "rl1": rl1(spectrum, p), "rft": rft(spectrum, p)}
            for arm in ARMS:
                found[spectrum][arm][f"d{depth}"] = np.log(np.minimum(by_arm.get(arm, p), 0.999)).tolist()
    return found


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def routes(spectrum, p):
    """Tenfold where the base has a route; everywhere, if rare facts can be found."""
    return np.where(p > 1e-3, p * 10, p if spectrum == "gap" else 0.3)


def reverse(spectrum, p):
    return np.full_like(p, 0.4) if spectrum == "gap" else p / 100


def same(spectrum, p):
    return p


def test_the_predicted_worlds():
    found = words([world(routes, same, routes, seed=s) for s in range(3)])
    names = ("composes", "single-facts-do-not", "imitation-keeps-up", "flat-with-gap", "expands-without-gap")
    assert found == dict.fromkeys(names, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    def single(spectrum, p):
        return p * 5

    def poor(spectrum, p):
        return routes(spectrum, p) / 10

    found = words([world(routes, single, poor, seed=s) for s in range(3)])
    assert found["imitation-keeps-up"] == found["single-facts-do-not"] == "false"
    assert words([world(same, same, same, seed=s) for s in range(3)])["composes"] == "false"
    found = words([world(reverse, same, same, seed=s) for s in range(3)])
    assert found["flat-with-gap"] == "false"
    assert found["expands-without-gap"] == "false"


def test_a_depth_that_falls_makes_it_conditional():
    results = [world(routes, same, routes, seed=s) for s in range(2)]
    base = np.asarray(results[1]["gap"]["base"]["d5"])
    results[1]["gap"]["rl2"]["d5"] = (base - 5).tolist()
    assert words(results)["composes"] == "conditional"


def test_few_problems_leave_it_undecided():
    def a_little(spectrum, p):
        return np.where(np.arange(len(p)) % 3 == 0, np.minimum(p * 20, 0.9), p)

    found = words([world(a_little, a_little, a_little, problems=8, spread=2.0, seed=s) for s in range(3)])
    assert found["composes"] == "undecided"
    assert found["single-facts-do-not"] == "undecided"
    assert found["expands-without-gap"] == "undecided"


def test_the_ratio_is_that_of_the_means_however_small():
    before, after = np.log([0.1, 0.3]), np.log([0.2, 0.2])
    assert log_mean_ratio(before, after) == pytest.approx(0.0)
    assert log_mean_ratio(np.array([-900.0, -900.0]), np.array([-900.0, -900.0]) + math.log(100)) == pytest.approx(2.0)


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(routes, same, routes, seed=s) for s in range(3)])
    assert {p.word for p in kept.predictions.values()} == {"held"}
    assert "d3" in kept.found["zh"]
    assert len(kept.plots[0].rows) == 3 * len(SPECTRA) * len(ARMS) * len(DEPTHS)
