"""pass^k, maj@k, Cover@tau, equal cost, labels and clusters."""

import json
from itertools import combinations

import numpy as np
import pytest

from goldpanner.errors import InputError
from goldpanner.measure import metrics, passk
from goldpanner.measure.bands import cluster_rows
from goldpanner.measure.compare import compare
from goldpanner.measure.equivalent import design_effect, equivalent_k
from goldpanner.measure.metrics import Cost, Votes
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts


def test_all_right_is_the_share_of_subsets_that_are_right():
    n, c = 6, 4
    right = [True] * c + [False] * (n - c)
    curve = metrics.all_right(Counts.of([n] * 5, [c] * 5))
    for k in range(1, n + 1):
        subsets = list(combinations(right, k))
        assert curve.at(k).value == pytest.approx(np.mean([all(s) for s in subsets]))
    assert metrics.all_right(Counts.of([n] * 5, [c] * 5), [7]).largest == 0


def test_all_right_covers_and_unjudged_widen_it():
    r = np.random.default_rng(0)
    inside = 0
    for _ in range(60):
        p = r.beta(2, 1, 60)
        band = metrics.all_right(Counts.of([16] * 60, r.binomial(16, p)), [4]).at(4)
        inside += band.low <= 2 / 6 <= band.high  # E[P^4] of Beta(2, 1)
    assert inside >= 53
    sure, open_ = Counts.of([8] * 20, [4] * 20), Counts.of([8] * 20, [4] * 20, unjudged=[4] * 20)
    assert metrics.all_right(open_, [2]).at(2).high > metrics.all_right(sure, [2]).at(2).high + 0.3


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_majority_is_the_commonest_of_k_with_ties_shared(k):
    answers = ["right"] * 3 + ["a"] * 2 + ["b"] + [None]
    wins = []
    for subset in combinations(answers, k):
        votes = {x: subset.count(x) for x in subset if x is not None}
        top = [x for x in votes if votes[x] == max(votes.values())]
        wins.append((top.count("right") / len(top)) if top else 0.0)
    votes = Votes.of({("right", True): 3, ("a", False): 2, ("b", False): 1, (None, False): 1})
    assert votes.n == 7
    found = metrics.majority([votes] * 40, [k], seed=1)[k]
    assert found.value == pytest.approx(np.mean(wins), abs=0.03)


def test_majority_beyond_the_samples_is_undefined():
    votes = Votes.of({("right", True): 3})
    assert np.isnan(metrics.majority([votes] * 5, [4])[4].value)
    assert metrics.majority([votes] * 5, [3])[3].value == 1
    with pytest.raises(InputError, match="no problems"):
        metrics.majority([], [1])


def test_cover_is_the_share_of_problems_above_the_threshold():
    p = np.r_[np.full(60, 0.9), np.full(40, 0.1)]
    counts = Counts.of([200] * 100, np.random.default_rng(0).binomial(200, p))
    found = metrics.cover(RateDistribution.of(counts), (0.5, 0.05))
    assert found[0.5].low <= 0.6 <= found[0.5].high
    assert found[0.05].value > 0.95
    with pytest.raises(InputError, match="Cover@tau"):
        metrics.cover(RateDistribution.of(counts), (1.0,))


def test_at_equal_cost_a_model_of_long_answers_gets_fewer_tries():
    base, rl = Counts.of([64] * 50, [16] * 50), Counts.of([64] * 50, [32] * 50)
    rows = metrics.equal_cost(base, rl, (Cost(100, 100, 100), Cost(400, 400, 400)))
    assert [(row["rl_tries"], row["base_tries"]) for row in rows] == [(1, 4), (2, 8), (4, 16), (8, 32), (16, 64)]
    assert rows[0]["base"] == pytest.approx(float(passk.pass_at_k(64, 16, 4)))
    assert rows[0]["difference"]["value"] == pytest.approx(0.5 - float(passk.pass_at_k(64, 16, 4)))


def test_at_equal_cost_unjudged_samples_widen_the_difference():
    cost = Cost(100, 100, 100)
    sure, open_ = (Counts.of([16] * 30, [4] * 30, unjudged=[u] * 30) for u in (0, 8))
    rl = Counts.of([16] * 30, [8] * 30)
    ends = [metrics.equal_cost(x, rl, (cost, cost))[0]["difference"] for x in (sure, open_)]
    assert ends[1]["low"] < ends[0]["low"] - 0.3
    ends = [metrics.equal_cost(rl, x, (cost, cost))[0]["difference"] for x in (sure, open_)]
    assert ends[1]["high"] > ends[0]["high"] + 0.3


def test_labels_divide_the_problems():
    parts = metrics.by_label(Counts.of([8] * 4, [8, 8, 0, 4]), ["b", "b", "a", "a"])
    assert list(parts) == ["a", "b"]
    assert (parts["a"].problems, parts["b"].problems) == (2, 2)
    assert (parts["a"].pass_at_1.value, parts["b"].pass_at_1.value) == pytest.approx((0.25, 1.0))
    with pytest.raises(InputError, match="labels"):
        metrics.by_label(Counts.of([8], [8]), [])


def test_clusters_of_equal_problems_widen_the_band_as_fewer_problems_would():
    r = np.random.default_rng(0)
    c = r.binomial(16, r.beta(1, 1, 40))
    few = passk.curve(Counts.of([16] * 40, c), [1])
    many = Counts.of([16] * 160, np.repeat(c, 4))
    clusters = np.repeat(np.arange(40), 4)
    clustered = passk.curve(many, [1], clusters=clusters)
    assert clustered.at(1).value == pytest.approx(few.at(1).value)
    assert clustered.at(1).low == pytest.approx(few.at(1).low, abs=1e-9)
    plain = passk.curve(many, [1])
    assert plain.high[0] - plain.low[0] < 0.6 * (clustered.high[0] - clustered.low[0])
    rows = r.random((160, 3))
    np.testing.assert_allclose(cluster_rows(rows, clusters).mean(axis=0), rows.mean(axis=0))


def test_clusters_cover_the_mean_over_problems():
    """Clusters of 1 to 9 problems that share their P."""
    r = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        sizes = r.integers(1, 10, 30)
        clusters = np.repeat(np.arange(30), sizes)
        p = np.repeat(r.beta(1, 1, 30), sizes)
        band = passk.curve(Counts.of([8] * len(p), r.binomial(8, p)), [1], clusters=clusters).at(1)
        inside += band.low <= 0.5 <= band.high
    assert inside >= 90


def test_the_design_effect_is_the_size_of_equal_clusters_and_1_of_unlike_problems():
    r = np.random.default_rng(4)
    copies = Counts.of([16] * 160, np.repeat(r.binomial(16, r.beta(1, 1, 40)), 4))
    assert design_effect(copies, np.repeat(np.arange(40), 4)) == pytest.approx(4, rel=0.05)
    assert design_effect(copies, np.arange(160)) == pytest.approx(1)
    assert design_effect(Counts.of([4] * 6, [2] * 6), np.array([0, 0, 0, 1, 1, 1])) == 3
    unjudged = Counts.of([16, 16, 0], [3, 9, 0])
    assert design_effect(unjudged, np.array([0, 1, 2])) == pytest.approx(1)


def test_five_problems_that_are_alike_tell_less_of_the_distribution_of_p_than_five():
    r = np.random.default_rng(2)
    p = np.repeat(r.beta(2, 2, 20), 5)
    base, rl = (Counts.of([16] * 100, r.binomial(16, x)) for x in (p, 1 - (1 - p) ** 3))
    plain, clustered = (
        equivalent_k(base, [rl], 4, 1024, clusters=clusters).k for clusters in (None, np.repeat(np.arange(20), 5))
    )
    assert clustered.low < plain.low <= plain.value <= plain.high < clustered.high


def test_compare_takes_clusters():
    r = np.random.default_rng(2)
    p = np.repeat(r.beta(1, 1, 20), 5)
    base, rl = (Counts.of([16] * 100, r.binomial(16, x)) for x in (p, np.repeat(r.beta(1.4, 1, 20), 5)))
    plain, clustered = compare(base, rl), compare(base, rl, clusters=np.repeat(np.arange(20), 5))
    width = [x.at_one_try.difference.high - x.at_one_try.difference.low for x in (plain, clustered)]
    assert width[1] > 1.3 * width[0]
    assert clustered.at_one_try.difference.value == pytest.approx(plain.at_one_try.difference.value)
    json.dumps(clustered.to_json(), allow_nan=False)
