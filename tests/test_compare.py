import json
from math import comb
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.changes import SupportChange, changes, entry_p, support
from goldpanner.measure.compare import compare, with_origins
from goldpanner.measure.curves import align, crossover, difference
from goldpanner.measure.equivalent import equivalent_k_at_1
from goldpanner.measure.passk import Band
from goldpanner.measure.statements import Word
from goldpanner.types import Counts


def sampled(p, n=256, seed=0):
    return Counts.of([n] * len(p), np.random.default_rng(seed).binomial(n, p))


# the test on a pair of counts


def test_entry_null_is_the_known_one():
    """Under "nothing changed", 0/256 before and c/256 after: 0.5, 0.25, 0.124, 0.062, 0.031, 0.015."""
    k, c = 256, np.arange(1, 7)
    p = entry_p(np.full(6, k), np.full(6, k), c)
    np.testing.assert_allclose(p, [comb(k, int(x)) / comb(2 * k, int(x)) for x in c], rtol=1e-10)
    np.testing.assert_allclose(p, [0.5, 0.25, 0.124, 0.062, 0.031, 0.015], atol=6e-4)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 60), st.booleans())
def test_p_value_is_twice_fishers(n_base, n_rl, c, gain):
    c = min(c, n_rl if gain else n_base)
    pair = (0, c) if gain else (c, 0)
    found = changes(Counts.of([n_base], [pair[0]]), Counts.of([n_rl], [pair[1]]))
    table = [[pair[0], n_base - pair[0]], [pair[1], n_rl - pair[1]]]
    side = "less" if gain else "greater"
    expected = min(1.0, 2 * stats.fisher_exact(table, alternative=side).pvalue) if c else 1.0
    assert found.p_value[0] == pytest.approx(expected, rel=1e-6)


def test_one_lucky_sample_is_no_gain():
    found = changes(Counts.of([256] * 4, [0, 0, 3, 256]), Counts.of([256] * 4, [1, 60, 0, 256]))
    assert found.change.tolist() == ["gained", "gained", "lost", "kept"]
    assert found.of("gained", established=True) == ["1"]
    assert found.of("lost", established=True) == []
    assert found.of("lost") == ["2"]


def test_an_unjudged_sample_can_undo_a_gain():
    base, rl = Counts.of([64], [0], unjudged=[1]), Counts.of([64], [40])
    assert changes(base, rl).p_value[0] == 1
    assert changes(Counts.of([64], [0]), rl).established[0]
    assert changes(Counts.of([64], [0]), Counts.of([64], [40], unjudged=[24])).established[0]


def test_unequal_n_is_hypergeometric():
    """5 of 1,024 after 0 of 16 is what nothing would look like; 5 of 16 after 0 of 1,024 is not."""
    few_first = changes(Counts.of([16], [0]), Counts.of([1024], [5]))
    many_first = changes(Counts.of([1024], [0]), Counts.of([16], [5]))
    assert not few_first.established[0]
    assert many_first.established[0]


def test_false_discovery_rate_is_that_of_the_discrete_procedure():
    """Against the definition written out: q of the k-th = min over j >= k of S(p_(j)) / (j (1 - fdr))."""
    generator = np.random.default_rng(3)
    base, rl = generator.binomial(40, 0.06, 60), generator.binomial(40, 0.1, 60)
    found = changes(Counts.of([40] * 60, base), Counts.of([40] * 60, rl))
    smallest = [2 * comb(40, int(t)) / comb(80, int(t)) if 0 < t <= 40 else None for t in base + rl]
    p = np.sort(found.p_value)
    rate = [
        sum(x for x in smallest if x is not None and x <= p[j] * (1 + 1e-9)) / ((j + 1) * 0.95) for j in range(len(p))
    ]
    below = p <= 0.05
    expected = [min(rate[j : below.sum()]) for j in range(below.sum())]
    np.testing.assert_allclose(np.sort(found.q_value)[: below.sum()], expected, rtol=1e-6)
    assert (found.q_value >= found.p_value - 1e-12).all() or below.sum() > 1


def test_needed_is_the_first_count_that_is_established():
    others = [0, 1, 2, 0, 3, 1, 30, 40] * 4
    for c in range(1, 12):
        base = Counts.of([256] * 33, [*others, 0])
        found = changes(base, Counts.of([256] * 33, [*others, c]))
        assert found.established.any() == (c >= found.needed)


@pytest.mark.parametrize(("a", "b", "n"), [(0.2, 5, 256), (0.3, 0.3, 64), (1, 1, 16)])
def test_same_policy_declares_no_gain_and_no_loss(a, b, n):
    """A/A: at most 5% of runs, here of 400 (4 standard errors: 9.4%)."""
    generator = np.random.default_rng(n)
    declared = 0
    for _ in range(400):
        p = generator.beta(a, b, 60)
        first, second = (Counts.of([n] * 60, generator.binomial(n, p)) for _ in range(2))
        declared += bool(changes(first, second).established.any())
    assert declared / 400 < 0.094


# support measures


def test_measures_of_the_invisible_leash():
    change = SupportChange(kept=80, gained=5, lost=20)
    assert change.srr == 0.8
    assert change.ndr == 5 / 85
    assert change.sds == pytest.approx(2 * 0.8 * (5 / 85) / (0.8 + 5 / 85))
    assert change.nscr == -15 / 105
    empty = SupportChange(0, 0, 0)
    assert empty.to_json() == {"srr": None, "ndr": None, "sds": None, "nscr": None}
    assert SupportChange(3, 0, 0).sds == 0


def test_with_the_test_noise_counts_as_kept():
    found = changes(Counts.of([256] * 4, [0, 0, 3, 9]), Counts.of([256] * 4, [1, 60, 0, 9]))
    assert support(found) == SupportChange(kept=1, gained=2, lost=1)
    assert support(found, established=True) == SupportChange(kept=3, gained=1, lost=0)


# pairing


def test_pairs_by_id_whatever_the_order():
    base = Counts.of([8, 8, 8], [0, 4, 8], ids=["a", "b", "c"])
    rl = Counts.of([8, 8, 8], [8, 0, 4], ids=["c", "a", "b"])
    assert align(base, rl).c.tolist() == [0, 4, 8]
    np.testing.assert_allclose(compare(base, rl).difference.value, 0, atol=1e-12)


def test_mismatched_ids_are_named():
    base = Counts.of([8, 8], [1, 2], ids=["a", "left"])
    rl = Counts.of([8] * 9, [1] * 9, ids=["a", *(f"right{i}" for i in range(8))])
    with pytest.raises(InputError) as raised:
        compare(base, rl)
    said = str(raised.value)
    assert "only in base: left" in said
    assert "only in RL: right0" in said
    assert "and 3 more" in said


def test_nothing_to_compare():
    with pytest.raises(InputError, match="no problems"):
        compare(Counts.of([], []), Counts.of([], []))


# difference, crossover, equivalent k


def test_difference_is_paired():
    """The same problems twice: the band of the difference is far tighter than the two bands apart."""
    p = np.random.default_rng(0).beta(0.3, 0.3, 100)
    base, rl = sampled(p, 64, 1), sampled(p, 64, 2)
    gap, alone = difference(base, rl, [1, 8]), passk.curve(base, [1, 8])
    np.testing.assert_allclose(gap.value, passk.curve(rl, [1, 8]).value - alone.value, atol=1e-12)
    assert ((gap.high - gap.low) < 0.35 * (alone.high - alone.low)).all()


def test_unjudged_samples_widen_the_difference_both_ways():
    c = np.array([5, 0, 16, 9] * 6)
    base, rl = Counts.of([16] * 24, c), Counts.of([16] * 24, c)
    open_ = Counts.of([16] * 24, c, unjudged=np.minimum(4, 16 - c))
    plain, wide = difference(base, rl, [1, 4, 16]), difference(open_, open_, [1, 4, 16])
    assert (wide.low < plain.low).all()
    assert (wide.high > plain.high).all()


def band_of(value, low, high):
    k = np.arange(1, len(value) + 1)
    return Band(k, *(np.array(x, float) for x in (value, low, high)), 0.95, "given", True, 40)


def test_crossover_and_its_confidence_set():
    value = [0.4, 0.2, 0.1, -0.1, -0.2]
    found = crossover(band_of(value, np.array(value) - 0.15, np.array(value) + 0.15))
    assert found.value == pytest.approx(np.sqrt(12))  # halfway between 3 and 4 in log k
    assert (found.low, found.high) == (2, 5)


def test_crossover_may_lie_beyond_n_or_not_exist():
    ahead = np.array([0.3, 0.2, 0.1])
    beyond = crossover(band_of(ahead, ahead - 0.15, ahead + 0.15))
    assert (beyond.value, beyond.low, beyond.high) == (np.inf, 2, np.inf)
    assert beyond.to_json()["value"] is None
    assert np.isnan(crossover(band_of(-ahead, -ahead - 0.1, -ahead + 0.1)).value)


def test_equivalent_k_is_where_the_base_reaches_rls_pass_at_1():
    """RL whose pass@1 is the base's pass@8 by construction."""
    p = np.random.default_rng(1).beta(0.3, 2, 200)
    found = equivalent_k_at_1(sampled(p, 256, 1), sampled(1 - (1 - p) ** 8, 256, 2))
    assert found.low < 8 < found.high
    assert found.value == pytest.approx(8, rel=0.15)


def test_equivalent_k_at_its_ends():
    """1 where the base is no worse; infinite where n is too small to see it."""
    p = np.full(50, 0.2)
    assert equivalent_k_at_1(sampled(p, 64, 1), sampled(p / 2, 64, 2)).value == 1
    beyond = equivalent_k_at_1(sampled(p / 1000, 64, 1), sampled(p, 64, 2))
    assert (beyond.value, beyond.high) == (np.inf, np.inf)
    assert beyond.low > 1


@pytest.mark.slow
def test_equivalent_k_covers():
    generator = np.random.default_rng(2)
    inside = 0
    for rep in range(400):
        p = generator.beta(0.3, 2, 40)
        found = equivalent_k_at_1(sampled(p, 64, 2 * rep), sampled(1 - (1 - p) ** 8, 64, 2 * rep + 1))
        inside += found.low <= 8 <= found.high
    assert inside / 400 > 0.91


# the JSON contract


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 6), min_size=1, max_size=9))
def test_json_contract_holds_for_any_counts(rows):
    right, left = np.array(rows)[:, :3], np.array(rows)[:, 3:]
    base, rl = (Counts.of(x.sum(1), x[:, 0], unjudged=x[:, 1]) for x in (right, left))
    found = compare(base, rl)
    out = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert out["problems"] == len(rows) == sum(out["four_way"].values())
    assert set(out["four_way"]) == {"kept", "lost", "gained", "neither"}
    assert set(out["pass_at_k"]) == {"base", "rl", "difference"}
    estimates = [out["crossover_k"], out["equivalent_k"], out["equivalent_k_at_1"]]
    estimates += out["pass_at_k"]["difference"].values()
    assert all({"value", "low", "high"} <= set(e) for e in estimates)
    assert set(out["established"]) == {"lost", "gained"}
    assert out["words"]
    assert {*out["words"]} <= {*get_args(Word)}
    assert isinstance(out["summary"], str)


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (8, 0), (8, 8)])
def test_extremes_have_a_band_and_a_verdict(n, c):
    counts = Counts.of([n] * 20, [c] * 20)
    found = compare(counts, counts)
    assert (found.difference.value == 0).all()
    assert (found.difference.low < 0).all()
    assert (found.difference.high > 0).all()
    assert found.verdict == "no difference shown"


def test_the_origin_of_gained_problems_is_told_where_their_samples_were_scored():
    base, rl = Counts.of([64] * 3, [0, 0, 40], "abc"), Counts.of([64] * 3, [60, 50, 64], "abc")
    scored = {
        i: {"correct": np.arange(64) < c, "logp": np.full(64, np.log(p)), "own": np.full(64, np.log(c / 64))}
        for i, c, p in (("a", 60, 1e-5), ("c", 64, 0.5))
    }
    found = with_origins(compare(base, rl), scored, base, full_softmax=True)
    assert list(found.origin) == ["a"]  # b was not scored, c is no gain
    assert found.origin["a"].label == "amplified"
    assert "Origin of 1 of the gained problems, by importance sampling: 1 amplified" in found.summary
    assert "P = 1e-05 to 1e-05, or more" in found.summary
    assert found.to_json()["origin"]["a"]["p_base"]["value"] == pytest.approx(1e-5)

    truncated = with_origins(compare(base, rl), scored, base, full_softmax=False)
    assert truncated.origin["a"].label == "cannot say"
    found = compare(base, rl)
    assert with_origins(found, {}, base, full_softmax=True) is found


def test_curves_that_meet_where_everything_is_solved_do_not_cross():
    found = compare(Counts.of([1000] * 50, [100] * 50), Counts.of([1000] * 50, [651] * 50))
    assert np.isinf(found.crossover_k.value)
    assert "overtakes" not in found.summary


def test_each_curve_goes_as_far_as_its_own_samples():
    found = compare(Counts.of([64] * 20, range(20)), Counts.of([16] * 20, [8] * 20))
    assert (found.base.largest, found.rl.largest, found.difference.largest) == (64, 16, 16)
    assert found.to_json()["pass_at_k"]["difference"]["64"]["value"] is None
    assert "pass@16" in found.summary


def test_no_change_is_established_below_its_own_p_value():
    generator = np.random.default_rng(3)
    found = changes(sampled(generator.beta(0.3, 1, 500), 16, 1), sampled(generator.beta(0.5, 1, 500), 16, 2))
    assert found.established.any()
    assert (found.q_value >= found.p_value - 1e-12).all()


@pytest.mark.parametrize("problems", [12, 300])
def test_the_order_of_the_problems_does_not_matter(problems):
    r = np.random.default_rng(problems)
    n = np.full(problems, 16)
    c = r.binomial(16, r.beta(0.4, 1, problems)), r.binomial(16, r.beta(0.8, 0.6, problems))
    base, rl = (Counts.of(n, x) for x in c)
    order = r.permutation(problems)
    gap, shuffled = (difference(a, b, range(1, 17)) for a, b in ((base, rl), (base.select(order), rl.select(order))))
    np.testing.assert_allclose(shuffled.low, gap.low, atol=1e-12)
    np.testing.assert_allclose(shuffled.high, gap.high, atol=1e-12)
    one, other = (passk.curve(x) for x in (base, base.select(order)))
    np.testing.assert_allclose(one.low, other.low, atol=1e-12)
    np.testing.assert_allclose(one.high, other.high, atol=1e-12)
    assert crossover(gap).value == pytest.approx(crossover(shuffled).value, rel=1e-9, nan_ok=True)
