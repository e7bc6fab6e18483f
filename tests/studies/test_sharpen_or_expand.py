"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import copy

import numpy as np

from goldpanner.studies.claims.sharpen_or_expand import HELD_OUT, SPECTRA, STUDY, TRAINED
from goldpanner.studies.study import judge_results


def world(gap, no_gap, problems=256, seed=0):
    """A world's result; `gap` and `no_gap` map the base's P to RL's."""
    rng = np.random.default_rng(seed)
    easy = rng.uniform(0.05, 0.5, problems // 2)
    rare = rng.uniform(1e-3, 3e-3, problems // 5)
    spectra = {
        "gap": np.concatenate([easy, np.full(problems - len(easy), 1e-9)]),
        "no-gap": np.concatenate([easy, rare, np.full(problems - len(easy) - len(rare), 1e-4)]),
    }
    found = {}
    for spectrum, move in zip(SPECTRA, (gap, no_gap)):
        p = spectra[spectrum]
        logp = {"base": np.log(p).tolist(), "rl": np.log(move(p)).tolist()}
        found[spectrum] = {"logp": {task: copy.deepcopy(logp) for task in (*TRAINED, *HELD_OUT)}, "gained": []}
    return found


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def sharpen(p):
    return np.where(p > 0.01, 0.95, p)


def expand(p):
    return np.full_like(p, 0.95)


def blunt(p):
    return np.where(p > 0.01, 1e-7, p)


def test_the_predicted_worlds():
    results = [world(sharpen, expand, seed=s) for s in range(3)]
    found = words(results)
    assert set(found) == {"sharpens", "flat-with-gap", "expands-without-gap", "no-decline", "equivalent-k"}
    assert {found[name] for name in ("sharpens", "flat-with-gap", "expands-without-gap", "no-decline")} == {"held"}


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    found = words([world(blunt, blunt, seed=s) for s in range(3)])
    assert found == dict.fromkeys(found, "false")
    assert words([world(expand, sharpen, seed=s) for s in range(3)])["flat-with-gap"] == "false"


def test_one_world_against_the_others_is_conditional():
    results = [world(sharpen, expand, seed=0), world(sharpen, sharpen, seed=1)]
    assert words(results)["expands-without-gap"] == "conditional"


def test_few_problems_leave_it_undecided():
    def a_little(p):
        gained = np.where(np.arange(len(p)) % 4 == 0, np.minimum(p * 4, 0.99), p)
        return np.where(np.arange(len(p)) == len(p) - 1, 0.9, gained)

    found = words([world(a_little, a_little, problems=10, seed=s) for s in range(3)])
    assert found["sharpens"] == "undecided"
    assert found["expands-without-gap"] == "undecided"


def test_equivalent_k_is_measured_by_the_curve():
    def like_k(k):
        return lambda p: 1 - (1 - p) ** k

    assert words([world(like_k(200), expand, seed=s) for s in range(3)])["equivalent-k"] == "held"
    assert words([world(like_k(3), expand, seed=s) for s in range(3)])["equivalent-k"] == "false"


def test_origins_are_counted_and_the_page_has_its_record():
    results = [world(sharpen, expand, seed=s) for s in range(3)]
    results[0]["gap"]["gained"] = [
        {"label": "amplified", "p_base": 1e-5, "exact": -12.0},
        {"label": "new", "p_base": 0.0, "exact": -60.0},
    ]
    kept = judge_results(STUDY, results)
    assert "1 were amplified and 1 are new" in kept.found["en"]
    assert {row["series"] for row in kept.plots[0].rows} == {"base", "rl"}
