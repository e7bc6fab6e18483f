"""What else could make the counts: each correction against simulated truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.measure import corrections
from goldpanner.measure.corrections import VerifierErrors
from goldpanner.measure.intervals import proportion
from goldpanner.types import Counts, SamplingParams


@pytest.mark.parametrize(
    ("params", "named"),
    [
        (SamplingParams(top_p=0.95), "top_p = 0.95"),
        (SamplingParams(top_k=50), "top_k = 50"),
        (SamplingParams(temperature=0.6), "temperature = 0.6"),
    ],
)
def test_truncated_softmax_is_not_about_support(params, named):
    reason = corrections.support_refusal(params)
    assert named in reason
    assert "sample again" in reason
    assert "as asked" in corrections.support_refusal(params, override=True)


def test_full_softmax_may_speak():
    assert corrections.support_refusal(SamplingParams()) is None


def test_guess_floor_is_the_chance_of_the_others_answers():
    answers = {"a": ["x", "x", "y", None], "b": ["x", "y"], "c": ["z"]}
    floor = corrections.guess_floor(answers, {"a": "x", "b": "y", "c": "q"})
    assert floor["a"] == pytest.approx((0.5 + 0.0) / 2)
    assert floor["b"] == pytest.approx((0.25 + 0.0) / 2)
    assert floor["c"] == 0.0
    assert np.isnan(corrections.guess_floor({"a": ["x"]}, {"a": "x"})["a"])
    assert corrections.guess_floor({}, {}) == {}
    with pytest.raises(InputError, match="no right answer"):
        corrections.guess_floor({"a": ["x"]}, {})


def test_chance_correction_recovers_skill():
    r = np.random.default_rng(0)
    skill = r.beta(0.3, 2, 3000)
    g = 0.25
    counts = Counts.of(np.full(3000, 40), r.binomial(40, skill + (1 - skill) * g))
    found = corrections.chance_corrected(counts, g, [1, 4])
    for k in (1, 4):
        truth = np.mean(1 - (1 - skill) ** k)
        assert found[k].value == pytest.approx(truth, abs=0.02)
        assert found[k].low <= truth <= found[k].high


def test_pure_guessing_is_corrected_to_zero_and_no_floor_changes_nothing():
    r = np.random.default_rng(1)
    counts = Counts.of(np.full(500, 30), r.binomial(30, 0.25, 500))
    assert corrections.chance_corrected(counts, 0.25, [8])[8].value < 0.1
    plain = corrections.chance_corrected(counts, 0.0, [8])[8]
    assert plain.value == pytest.approx(1 - np.mean((1 - 0.25) ** 8), abs=0.02)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        corrections.chance_corrected(counts, 1.0, [1])


def test_chance_correction_takes_a_floor_per_problem_and_k_beyond_n_is_undefined():
    counts = Counts.of([10, 10], [5, 0])
    found = corrections.chance_corrected(counts, np.array([0.5, 0.0]), [1, 50])
    assert found[1].value == pytest.approx((0.0 + 0.0) / 2)
    assert np.isnan(found[50].value)
    unjudged = Counts.of([4], [0], unjudged=[4])
    assert np.isnan(corrections.chance_corrected(unjudged, 0.1, [1])[1].value)


def test_pooled_share_is_exact_for_one_problem_and_wider_for_alike_samples():
    one = corrections.pooled_share(np.array([50]), np.array([0]))
    assert (one.value, one.low) == (0.0, 0.0)
    assert one.high == pytest.approx(1 - 0.025 ** (1 / 50))
    alike = corrections.pooled_share(np.full(10, 100), np.array([0, 100] * 5))
    mixed = corrections.pooled_share(np.full(10, 100), np.full(10, 50))
    assert alike.high - alike.low > 4 * (mixed.high - mixed.low)
    assert np.isnan(corrections.pooled_share(np.array([], int), np.array([], int)).value)
    wide = corrections.pooled_share(np.array([10]), np.array([3]), unknown=np.array([5]))
    assert wide.value == 0.6
    assert wide.high > 0.8


def test_pooled_share_covers_with_clusters():
    r = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        n = r.integers(20, 60, 60)
        found = corrections.pooled_share(n, r.binomial(n, r.beta(1, 4, 60)))
        hits += found.low <= 0.2 <= found.high
    assert 0.9 <= hits / 200 <= 0.995


def test_parse_split_multiplies_to_pass_at_1():
    n, parsed, c = np.array([10, 20]), np.array([5, 20]), np.array([1, 14])
    split = corrections.parse_split(n, c, parsed)
    assert split.parses.value * split.correct_given_parsed.value == pytest.approx(15 / 30)
    assert split.parses.value == pytest.approx(25 / 30)
    assert np.isnan(corrections.parse_split(n, np.array([0, 0]), np.array([0, 0])).correct_given_parsed.value)
    with pytest.raises(InputError, match="problem 1"):
        corrections.parse_split(n, np.array([1, 21]), parsed)


def test_truncated_share():
    counts = Counts.of([10, 10], [0, 0], truncated=[4, 6])
    assert corrections.truncated_share(counts).value == 0.5


def test_chance_correction_at_a_k_where_every_guess_hits():
    """(1 - g)^k underflows: what a blind guess reaches for certain says nothing of knowing, and raises no warning."""
    counts = Counts.of([10_000] * 20, [2500] * 19 + [0])
    found = corrections.chance_corrected(counts, 0.25, [1, 10_000])
    assert found[1].value == 0
    assert (found[10_000].value, found[10_000].low, found[10_000].high) == (0, 0, 1)
    assert corrections.chance_corrected(Counts.of([9_000] * 20, [9_000] * 20), 0.25, [9_000])[9_000].value == 1


def test_guess_floor_takes_answers_with_their_numbers():
    truth = {"a": "x", "b": "y", "c": "x"}
    listed = {"a": ["x", "x", "y", None], "b": ["x", "y"], "c": ["z"]}
    counted = {"a": {"x": 2, "y": 1, None: 1}, "b": {"x": 1, "y": 1}, "c": {"z": 1}}
    assert corrections.guess_floor(listed, truth) == corrections.guess_floor(counted, truth)


def test_truncated_share_is_unknown_where_no_finish_reason_is_known():
    assert np.isnan(corrections.truncated_share(Counts.of([10, 10], [0, 0])).value)
    partly = corrections.truncated_share(Counts.of([10, 10], [0, 0], truncated=[2, 3], finish_unknown=[5, 5]))
    assert partly.value == 0.5
    assert partly.low < 0.25 < 0.75 < partly.high, "the unknown ones may all be whole, or all be cut"


def test_rogan_gladen_recovers_the_true_rate_and_covers():
    hits, values = 0, []
    for seed in range(100):
        r = np.random.default_rng(seed)
        p = r.beta(1, 3, 80)
        seen = p * 0.9 + (1 - p) * 0.05
        counts = Counts.of(np.full(80, 32), r.binomial(32, seen))
        audit = VerifierErrors(int(r.binomial(200, 0.05)), 200, int(r.binomial(200, 0.1)), 200)
        found = corrections.rogan_gladen(counts, audit, seed=seed, draws=500)
        values.append(found.value)
        hits += found.low <= 0.25 <= found.high
    assert np.mean(values) == pytest.approx(0.25, abs=0.01)
    assert 88 <= hits <= 100


def test_a_perfect_well_audited_verifier_changes_nothing_and_a_coin_says_nothing():
    counts = Counts.of([100] * 30, [20] * 30)
    perfect = corrections.rogan_gladen(counts, VerifierErrors(0, 10**6, 0, 10**6))
    assert perfect.value == pytest.approx(0.2)
    assert np.isnan(corrections.rogan_gladen(counts, VerifierErrors(50, 100, 60, 100)).value)
    with pytest.raises(InputError, match="false positives"):
        VerifierErrors(5, 4, 0, 10)
    with pytest.raises(InputError, match="audited >= 1"):
        VerifierErrors(0, 0, 0, 10)


def test_every_problems_p_is_corrected_and_its_interval_covers():
    r = np.random.default_rng(1)
    p, inside = r.beta(0.5, 1, 60), []
    for _ in range(60):
        audit = VerifierErrors(int(r.binomial(300, 0.05)), 300, int(r.binomial(300, 0.1)), 300)
        unjudged = r.integers(0, 3, 60)
        c = r.binomial(64 - unjudged, p * 0.9 + (1 - p) * 0.05)
        value, low, high = corrections.verified_p(Counts.of([64] * 60, c, unjudged=unjudged), audit)
        assert ((low <= value) & (value <= high)).all()
        inside.append((low <= p) & (p <= high))
    assert np.mean(inside) > 0.95
    assert high.max() - low.min() > 0.5, "and it is not all of [0, 1]"
    assert (high - low).mean() < 0.5


def test_a_verifier_that_may_be_a_coin_says_nothing_of_a_problem():
    counts = Counts.of([100, 100], [20, 90])
    value, low, high = corrections.verified_p(counts, VerifierErrors(50, 100, 60, 100))
    assert np.isnan(value).all()
    assert (low.tolist(), high.tolist()) == ([0, 0], [1, 1])
    perfect = corrections.verified_p(counts, VerifierErrors(0, 10**7, 0, 10**7))
    np.testing.assert_allclose(perfect[0], [0.2, 0.9])
    exact = proportion(counts.c, counts.n, level=0.975)
    np.testing.assert_allclose(perfect[1], exact[0], atol=1e-5)
    np.testing.assert_allclose(perfect[2], exact[1], atol=1e-5)


def test_verified_pass_at_k_is_not_fooled_by_false_positives():
    r = np.random.default_rng(3)
    p = np.where(r.random(150) < 0.6, 0.0, r.beta(2, 4, 150))
    counts = Counts.of(np.full(150, 64), r.binomial(64, p + (1 - p) * 0.02))
    truth = float(np.mean(1 - (1 - p) ** 64))
    observed = float(np.mean(counts.c > 0))
    found = corrections.verified_pass_at_k(counts, VerifierErrors(20, 1000, 0, 1000), [1, 64], audits=6)
    assert observed > truth + 0.2
    assert found[64].low <= truth <= found[64].high
    assert found[64].high < observed
    assert found[1].value == pytest.approx(p.mean(), abs=0.03)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=10))
def test_any_share_lies_in_its_interval(rows):
    n = np.array([max(a, b) for a, b in rows])
    x = np.array([min(a, b) for a, b in rows])
    found = corrections.pooled_share(n, x)
    if n.sum():
        assert 0 <= found.low <= found.value <= found.high <= 1
    else:
        assert np.isnan(found.value)
