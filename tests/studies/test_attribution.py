"""Verdicts of the attribution study on synthetic factorials; its contrasts against differences written out."""

from itertools import product

import numpy as np
import pytest

from goldpanner.studies.claims.attribution import CELLS, FACTORIALS, SETS, STUDY, cell_table, contrast, variance_shares
from goldpanner.studies.study import judge_results


def world(seed=0, problems=300, p=None, noise=1.0):
    """A world's result from `p`: cell -> (P of reachable problems, share of them)."""
    rng = np.random.default_rng(seed)
    rank = (rng.permutation(problems) + 0.5) / problems
    found = {}
    for cell in CELLS:
        level, reach = p(*cell)
        values = np.where(rank < reach, np.clip(level * rng.uniform(1 - 0.1 * noise, 1, problems), 0, 1), 1e-12)
        found["/".join(cell)] = {where: np.log(values).tolist() for where in SETS}
    return found


def credo(pretraining, sft, rl):
    """The sentence as it would have it: pretraining decides the reach, SFT and RL the probability within it."""
    reach = {"short": 0.3, "long": 0.65, "rare-facts": 0.75}[pretraining]
    reach += 0.2 * (sft == "true") + 0.2 * (pretraining == "rare-facts" and rl == "rl")
    return {"nonenone": 0.1, "nonerl": 0.9}.get(sft + rl, 0.9 if rl == "rl" else 0.6), reach


def opposite(pretraining, sft, rl):
    """Pretraining decides nothing, RL and SFT on form create knowledge, and they need each other."""
    more = {"none": 0, "true": 0.02, "form": 0.3}[sft] + 0.3 * (rl == "rl")
    less = 0.2 * (pretraining in ("long", "rare-facts")) * (rl == "rl")
    both = 0.3 * (sft != "none" and rl == "rl")
    return 0.02 + 0.1 * both, 0.3 + more - less + 0.05 * both


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world(seed, p=credo) for seed in range(3)])
    assert found == dict.fromkeys(found, "held")
    assert len(found) == 11


def test_the_opposite_flips_every_verdict():
    found = words([world(seed, p=opposite) for seed in range(3)])
    assert found == dict.fromkeys(found, "false")


def test_few_problems_leave_it_undecided():
    found = words([world(seed, problems=6, p=credo) for seed in range(3)])
    names = ("ceiling", "rl-pass1", "facts-in-demonstrations", "content-ceiling", "content-lets-rl-expand")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "undecided")


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(seed, p=credo) for seed in range(3)])
    assert {p.word for p in kept.predictions.values()} == {"held"}
    assert {row["series"] for row in kept.plots[0].rows} == {"pretraining", "sft", "rl"}
    assert len(kept.plots[1].rows) == 3 * len(CELLS) * 18


def test_contrasts_are_the_differences_of_means_they_are_said_to_be():
    y = np.random.default_rng(0).random((8, 5))
    at = dict(zip(product((0, 1), repeat=3), y))
    effect = {r: np.mean([at[1, s, r] - at[0, s, r] for s in (0, 1)], axis=0) for r in (0, 1)}
    np.testing.assert_allclose(contrast(y, 0), (effect[0] + effect[1]) / 2)
    np.testing.assert_allclose(contrast(y, 0, 2), (effect[1] - effect[0]) / 2)
    np.testing.assert_allclose(
        contrast(y, 2), np.mean([at[p, s, 1] - at[p, s, 0] for p, s in product((0, 1), repeat=2)], axis=0)
    )


def test_shares_are_the_analysis_of_variance():
    y = np.random.default_rng(1).random((8, 40))
    means = y.mean(axis=1)
    found = variance_shares(y)
    assert sum(found.values()) == pytest.approx(1)
    between = 2 * contrast(y, 1).mean() ** 2  # sum of squares of a two-level factor: n (effect / 2)^2 with n = 8
    assert found["sft"] == pytest.approx(between / ((means - means.mean()) ** 2).sum())
    assert np.isnan(variance_shares(np.ones((8, 3)))["rl"])


def test_a_factorial_lists_low_before_high():
    result = {"/".join(cell): {"trained": [np.log(0.05 + 0.05 * i)] * 2} for i, cell in enumerate(CELLS)}
    for name, cells in FACTORIALS.items():
        assert cells[0][1:] == ("none", "none")
        assert cells[-1][2] == "rl"
        expected = [0.05 + 0.05 * CELLS.index(cell) for cell in cells]
        np.testing.assert_allclose(cell_table(result, name, 1)[:, 0], expected)
