"""pass@k beyond n: against truth that is known, and against what not to do."""

import numpy as np
import pytest

from goldpanner.errors import InputError
from goldpanner.measure import extrapolate, passk
from goldpanner.measure.mixture import Tally
from goldpanner.types import Counts

K = 10_000


def population(seed, m, b=0.3, zero=0.0, n=100):
    r = np.random.default_rng(seed)
    p = np.where(r.random(m) < zero, 0.0, r.beta(b, 1, m))
    truth = float(-np.expm1(K * np.log1p(-np.minimum(p, 1 - 1e-15))).mean())
    return p, Counts.of(np.full(m, n), r.binomial(n, p)), truth


@pytest.mark.parametrize(("zero", "most"), [(0.0, 0.03), (0.1, 0.05), (0.5, 0.075)])
def test_shape_average_beats_the_plug_in_and_covers(zero, most):
    errors, plug, hits = [], [], 0
    for seed in range(6):
        _, counts, truth = population(seed, 400, zero=zero)
        found = extrapolate.beyond_n(counts, [K], 0.9, seed, held_out=False)
        estimate = found.at(K)
        errors.append(abs(estimate.value - truth))
        plug.append(abs(found.models["plug-in"][0] - truth))
        hits += estimate.low <= truth <= estimate.high
    assert np.mean(errors) < most
    assert np.mean(errors) < np.mean(plug)
    assert hits >= 3


def test_power_law_continues_its_own_law_exactly():
    # counts whose unbiased curve is the law itself cannot be made; so fit the law's numbers through a stub of the curve
    k = np.unique(np.round(np.geomspace(1, 100, 30)).astype(int))
    law = np.exp(-np.exp(0.5 - 0.3 * np.log(k)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extrapolate, "unbiased", lambda tally, ks: law)
        found = extrapolate.power_law(Tally.of(np.array([100]), np.array([5])), np.array([1e4]))
    assert found[0] == pytest.approx(np.exp(-np.exp(0.5 - 0.3 * np.log(1e4))))


def test_unbiased_is_pass_at_k():
    n, c = np.array([10, 12, 30]), np.array([0, 3, 29])
    k = np.array([1, 2, 5, 10])
    expected = [np.mean([float(passk.pass_at_k(a, b, x)) for a, b in zip(n, c)]) for x in k]
    np.testing.assert_allclose(extrapolate.unbiased(Tally.of(n, c), k), expected)


def test_answers_are_monotone_in_k_and_agree_with_the_unbiased_curve_within_n():
    _, counts, _ = population(3, 200)
    ks = [1, 10, 100, 1000, 10_000, 1_000_000]
    found = extrapolate.beyond_n(counts, ks, held_out=False)
    values = [e.value for e in found.estimates]
    assert (np.diff(values) >= 0).all()
    unbiased = extrapolate.unbiased(Tally.judged(counts), np.array([1, 10, 100]))
    np.testing.assert_allclose(values[:3], unbiased, atol=0.01)


@pytest.mark.parametrize("n", [100, 10_000])
def test_no_success_at_all_is_not_zero(n):
    estimate = extrapolate.beyond_n(Counts.of([n] * 40, [0] * 40), [100_000], held_out=False).estimates[0]
    assert estimate.low < 1e-3
    assert estimate.high > 0.05, "0 of n says little of k = 100,000"


def test_all_right_is_one():
    estimate = extrapolate.beyond_n(Counts.of([50] * 40, [50] * 40), [1000], held_out=False).estimates[0]
    assert estimate.low > 0.999


def test_unequal_n_and_unjudged_samples_are_used():
    r = np.random.default_rng(0)
    n = r.integers(8, 200, 150)
    p = r.beta(0.4, 2, 150)
    u = r.binomial(n, 0.1)
    counts = Counts.of(n, r.binomial(n - u, p), unjudged=u)
    found = extrapolate.beyond_n(counts, [1000])
    truth = float(np.mean(1 - (1 - p) ** 1000))
    assert found.estimates[0].low <= truth <= found.estimates[0].high
    assert set(found.models) == {*extrapolate.MODELS, extrapolate.PLUG_IN}


def test_held_out_scores_every_model_and_the_plug_in_is_worst():
    _, counts, _ = population(5, 300)
    scores = extrapolate.beyond_n(counts, [K]).held_out
    assert set(scores) == {*extrapolate.CANDIDATES, extrapolate.PLUG_IN}
    assert max(scores, key=lambda name: scores[name].mean()) == "plug-in"
    few = extrapolate.beyond_n(Counts.of([4] * 5, [1] * 5), [10])
    assert (few.held_out, few.method) == ({}, "shape-average")


def test_held_out_truth_is_what_the_other_samples_show():
    """A model that returns the full samples' own pass@k has no error, one that is off by 0.1 has 0.1."""
    _, counts, _ = population(5, 60)
    tally = Tally.judged(counts)
    seen = []

    def predict(name, thinned, ks, seed, particles):
        seen.append((thinned.n.max(), ks.max()))
        return np.full(ks.shape, 0.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extrapolate, "predict", predict)
        patch.setattr(extrapolate, "unbiased", lambda tally, ks: np.full(ks.shape, 0.6))
        scores = extrapolate.score_held_out(tally, 0, repeats=3)
    assert set(seen) == {(25, 100), (10, 100)}
    for error in scores.values():
        np.testing.assert_allclose(error, [0.1] * 3)


def held_out(**errors):
    return {name: np.array(errors.get(name.replace("-", "_"), [0.5, 0.6, 0.5, 0.6])) for name in extrapolate.CANDIDATES}


def test_another_model_is_reported_only_when_it_is_surely_better():
    assert extrapolate.choose({}) == "shape-average"
    surely = held_out(shape_average=[0.05, 0.06, 0.05, 0.06], power_law=[0.01, 0.02, 0.01, 0.02])
    assert extrapolate.choose(surely) == "power-law"
    within_noise = held_out(shape_average=[0.05, 0.01, 0.05, 0.01], power_law=[0.01, 0.02, 0.01, 0.02])
    assert extrapolate.choose(within_noise) == "shape-average"
    assert extrapolate.choose(held_out(shape_average=[0.01] * 4)) == "shape-average"
    no_spread = held_out(shape_average=[0.0264] * 4, power_law=[0.0] * 4)
    assert extrapolate.choose(no_spread) == "shape-average", "problems that do not differ measure no error"


@pytest.mark.parametrize("c", [0, 16])
def test_problems_that_are_all_alike_keep_the_shape_average(c):
    found = extrapolate.beyond_n(Counts.of([16] * 20, [c] * 20), [64, 10_000])
    assert found.method == "shape-average"


def test_one_sample_a_problem_gives_no_power_law():
    found = extrapolate.beyond_n(Counts.of([1] * 20, [0, 1] * 10), [100])
    assert np.isnan(found.models["power-law"]).all()
    assert found.method == "shape-average"
    assert 0.5 < found.at(100).value < 1


def test_the_chosen_model_is_reported_with_a_bootstrap_over_problems(monkeypatch):
    _, counts, _ = population(8, 150)
    better = held_out(shape_average=[0.05, 0.06, 0.05, 0.06], power_law=[0.01, 0.02, 0.01, 0.02])
    monkeypatch.setattr(extrapolate, "score_held_out", lambda tally, seed: better)
    found = extrapolate.beyond_n(counts, [1000, K], 0.9)
    assert found.method == "power-law"
    assert [e.method for e in found.estimates] == ["power-law", "power-law"]
    assert [e.value for e in found.estimates] == found.models["power-law"].tolist()
    # the bootstrap written out; the interval holds it and the shape average's
    r = np.random.default_rng(0)
    again = [
        extrapolate.power_law(Tally.of(np.full(150, 100), counts.c[r.integers(0, 150, 150)]), np.array([1e4]))[0]
        for _ in range(400)
    ]
    low, high = np.quantile(again, [0.05, 0.95])
    estimate, default = found.at(K), extrapolate.beyond_n(counts, [K], 0.9, held_out=False).at(K)
    assert estimate.low == pytest.approx(min(low, default.low), abs=0.01)
    assert estimate.high == pytest.approx(max(high, default.high), abs=0.01)
    # unjudged samples widen it to what they could be
    r = np.random.default_rng(1)
    open_ = Counts.of(counts.n, counts.c, unjudged=np.minimum(r.integers(0, 9, 150), counts.n - counts.c))
    wide = extrapolate.beyond_n(open_, [K], 0.9).at(K)
    assert wide.low < estimate.low + 0.005
    assert wide.high > estimate.high


def test_same_seed_same_answer_other_seed_close():
    _, counts, _ = population(6, 100)
    one, two, three = (extrapolate.beyond_n(counts, [K], seed=s, held_out=False).at(K) for s in (1, 1, 2))
    assert one == two
    assert one.value == pytest.approx(three.value, abs=0.03)


def test_json_and_mistakes():
    _, counts, _ = population(7, 50)
    found = extrapolate.beyond_n(counts, [200, K], held_out=False)
    record = found.to_json()
    assert list(record) == ["200", "10000"]
    assert {"value", "low", "high", "method"} <= set(record["200"])
    with pytest.raises(InputError, match="pass@5 was not extrapolated"):
        found.at(5)
    with pytest.raises(InputError, match="integers >= 1"):
        extrapolate.beyond_n(counts, [0])


@pytest.mark.slow
@pytest.mark.parametrize(("zero", "most"), [(0.0, 0.02), (0.1, 0.04), (0.5, 0.055)])
def test_target_error_and_coverage_at_500_problems(zero, most):
    errors, hits = [], []
    for seed in range(40):
        _, counts, truth = population(1000 + seed, 500, b=(0.1, 0.2, 0.3, 0.5)[seed % 4], zero=zero)
        estimate = extrapolate.beyond_n(counts, [K], 0.9, seed, held_out=False).at(K)
        errors.append(abs(estimate.value - truth))
        hits.append(estimate.low <= truth <= estimate.high)
    assert np.mean(errors) <= most
    assert np.mean(hits) >= 0.75
