"""What `compare` says, on models whose true P is known: the small version of `benchmarks/truth_words.py`."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.changes import adjusted, changes, fisher_p
from goldpanner.measure.compare import compare
from goldpanner.measure.corrections import VerifierErrors
from goldpanner.measure.equivalent import equivalent_k
from goldpanner.measure.gate import gate, parse_conditions
from goldpanner.measure.thresholds import NEAR
from goldpanner.report.summary import comparison_markdown
from goldpanner.types import Counts

MATH_500 = Path(__file__).parents[2] / "shared" / "data" / "math500_base_rl_counts.csv"


def sampled(p, n, seed):
    return Counts.of([n] * len(p), np.random.default_rng(seed).binomial(n, p))


def told(base, rl, n, seed=0, **options):
    return compare(sampled(base, n, 2 * seed), sampled(rl, n, 2 * seed + 1), **options)


def best_of(p, k):
    return 1 - (1 - p) ** k


HALF = np.where(np.arange(200) < 100, 0.5, 0.01)
BROAD = np.random.default_rng(5).beta(0.5, 1.0, 200)
NEW = np.where(np.arange(200) < 24, 0.0, BROAD)
AMPLIFIED = np.where(np.arange(200) < 24, 0.7, best_of(BROAD, 6))


# the three statements


def test_what_the_base_reaches_with_more_tries_is_sharpened():
    """The base needs 390 tries: .5 and .01 against .9 everywhere."""
    found = told(HALF, np.full(200, 0.9), 256)
    assert found.words == ("sharpened",)
    assert found.at_one_try.word == "better"
    assert found.equivalent_k.k.low <= 390 <= found.equivalent_k.k.high
    assert "no more than 1,024" in found.summary
    few = told(HALF, np.full(200, 0.9), 64)
    assert few.at_k_tries.word == "higher"
    assert set(few.words) <= {"sharpened", "open"}


@pytest.mark.parametrize("n", [32, 64])
def test_problems_that_the_base_never_solves_are_no_sharpening(n):
    found = told(NEW, AMPLIFIED, n)
    assert found.at_k_tries.word == "higher"
    assert found.changes.count("gained", established=True) >= 12
    assert "sharpened" not in found.words
    assert set(found.words) <= {"open", "expanded"}


def test_what_the_base_does_not_reach_is_expanded_and_the_number_of_tries_is_named():
    found = told(NEW, AMPLIFIED, 256)
    assert found.words == ("expanded",)
    assert np.isinf(found.equivalent_k.k.high)
    assert "needs more than 1,024 tries" in found.summary
    assert told(NEW, AMPLIFIED, 256, within=1_000_000).words == ("open",)


def test_an_open_question_names_what_would_decide():
    found = told(NEW, AMPLIFIED, 32)
    assert found.words == ("open",)
    assert "samples of the base on the" in found.summary
    assert "goldpanner score" in found.summary


def test_lower_is_said_beside_better():
    p = np.random.default_rng(1).beta(0.4, 1.2, 300)
    lost = np.where((p < 0.15) & (np.arange(300) % 2 == 0), p / 300, best_of(p, 5))
    found = told(p, lost, 128)
    assert (found.at_one_try.word, found.at_k_tries.word) == ("better", "lower")
    assert found.words == ("sharpened", "narrowed")
    assert found.summary.startswith("Sharpened and narrowed.")


def test_who_fell_is_said_though_nobody_is_lost():
    base, rl = np.full(100, 0.6), np.where(np.arange(100) < 30, 0.02, 0.8)
    found = told(base, rl, 64)
    assert found.changes.fell[:30].all()
    assert not found.changes.fell[30:].any()
    assert found.changes.rose[30:].sum() > 30
    assert "30 fell" in found.summary
    row = found.to_json()["per_problem"][0]
    assert (row["direction"], row["base_n"]) == ("fell", 64)
    assert found.to_json()["fell"][0] in {str(i) for i in range(30)}


def test_only_worse_at_one_try_is_worse():
    p = np.full(100, 0.5)
    found = told(p, np.full(100, 0.3), 64)
    assert found.words == ("worse",)


def test_the_same_model_twice_shows_nothing():
    words = [told(BROAD, BROAD, 64, seed).verdict for seed in range(25)]
    assert words.count("no difference shown") >= 21  # 95% of 25 less 2.5 standard errors


def test_few_problems_leave_it_undecided():
    found = told(np.full(3, 0.4), np.full(3, 0.5), 8)
    assert found.verdict == "no difference shown"
    assert found.at_one_try.undecided
    assert "could go unseen" in found.summary
    assert not told(np.full(400, 0.4), np.full(400, 0.4), 64).at_one_try.undecided


def test_unjudged_samples_count_both_ways():
    base, rl = Counts.of([8] * 30, [4] * 30), Counts.of([8] * 30, [0] * 30, unjudged=[8] * 30)
    found = compare(base, rl)
    assert found.verdict == "no difference shown"
    assert "240 samples are unjudged" in found.summary
    json.dumps(found.to_json(), allow_nan=False)
    sure, open_ = Counts.of([64] * 30, [10] * 30), Counts.of([64] * 30, [10] * 30, unjudged=[30] * 30)
    rl = Counts.of([64] * 30, [40] * 30)
    assert compare(sure, rl).changes.rose.all()
    assert not compare(open_, rl).changes.rose.any()


def test_a_curve_without_common_samples_says_so():
    found = compare(Counts.of([0, 8], [0, 4]), Counts.of([8, 8], [4, 4]))
    assert found.at_k_tries.k == 0
    assert found.verdict == "no difference shown"
    json.dumps(found.to_json(), allow_nan=False)


# equivalent k


def true_least(base, rl, tries):
    ks = np.arange(1, 5000)
    target = best_of(rl, tries).mean() - NEAR
    return int(ks[np.argmax([best_of(base, k).mean() >= target for k in ks])])


@pytest.mark.parametrize(
    ("base", "rl", "n"),
    [
        (HALF, np.full(200, 0.9), 64),
        (np.full(100, 0.25), best_of(np.full(100, 0.25), 4), 16),
        (np.random.default_rng(0).beta(2, 2, 150), best_of(np.random.default_rng(0).beta(2, 2, 150), 3), 8),
    ],
)
def test_equivalent_k_covers_the_truth(base, rl, n):
    truth = true_least(base, rl, n)
    ends = [equivalent_k(sampled(base, n, s), [sampled(rl, n, s + 99)], n, 1024).k for s in range(8)]
    assert sum(e.low / 1.04 <= truth <= e.high * 1.04 for e in ends) >= 7


def test_one_sample_a_problem_leaves_the_tries_wide_open():
    """Nothing is known of the spread: all at .25, or a quarter always solved."""
    found = equivalent_k(sampled(np.full(200, 0.25), 1, 0), [sampled(np.full(200, 0.7), 1, 1)], 1, 1024)
    assert found.k.low < 5
    assert found.k.high > 1024


def test_the_verifiers_errors_are_undone():
    """A base that knows nothing, passed by a verifier that accepts 2% of wrong answers."""
    base, rl = sampled(np.full(200, 0.02), 256, 0), sampled(np.full(200, 0.9), 256, 1)
    plain = compare(base, rl)
    audited = compare(base, rl, verifier=VerifierErrors(20, 1000, 0, 1000))
    assert audited.equivalent_k.k.high > 10 * plain.equivalent_k.k.high
    assert {each.what for each in audited.corrected} == {"as a perfect verifier sees it"}
    assert audited.corrected[0].base.value < 0.01


def test_systems_as_run_get_no_words_on_support():
    found = told(HALF, np.full(200, 0.9), 64, refused="drawn with temperature = 0.6")
    assert found.words == ("better", "higher")
    assert found.summary.startswith("Two systems are compared as they were run (drawn with temperature = 0.6).")
    spoken = told(HALF, np.full(200, 0.9), 256, refused="drawn with temperature = 0.6", allow_truncated_sampling=True)
    assert spoken.words == ("sharpened",)


# tests problem by problem


def test_fisher_is_the_exact_test():
    r = np.random.default_rng(0)
    n, m = r.integers(0, 40, 300), r.integers(0, 60, 300)
    c, d = r.binomial(n, 0.4), r.binomial(m, r.random(300))
    expected = [stats.fisher_exact([[a, b - a], [x, y - x]]).pvalue for a, b, x, y in zip(c, n, d, m)]
    np.testing.assert_allclose(fisher_p(c, n, d, m), expected, rtol=1e-9)


def test_adjusted_is_benjamini_hochberg():
    p = np.random.default_rng(1).random(200) ** 3
    np.testing.assert_allclose(adjusted(p), stats.false_discovery_control(p), rtol=1e-12)


def test_risen_and_fallen_problems_are_seldom_false():
    r = np.random.default_rng(2)
    shares = []
    for _ in range(60):
        p = r.beta(1, 1, 100)
        q = np.where(np.arange(100) < 50, np.clip(p + 0.3, 0, 1), p)
        found = changes(*(Counts.of([64] * 100, r.binomial(64, x)) for x in (p, q)))
        listed = found.rose | found.fell
        shares.append((listed[50:].sum() + found.fell[:50].sum()) / max(listed.sum(), 1))
    assert np.mean(shares) < 0.05


# a public pair


@pytest.mark.skipif(not MATH_500.exists(), reason="the public counts are not here")
def test_math_500():
    """Public counts of a replication of arXiv 2504.13837 (128 samples each): what moved, and in which direction."""
    rows = np.loadtxt(MATH_500, delimiter=",", skiprows=1, dtype=np.int64)
    base, rl = (Counts.of(rows[:, 3], rows[:, at]) for at in (1, 2))
    found = compare(base, rl)
    assert found.four_way == {"kept": 462, "gained": 3, "lost": 19, "neither": 16}
    assert (int(found.changes.rose.sum()), int(found.changes.fell.sum())) == (313, 23)
    assert passk.mean_value(base, np.array([1]))[0] == pytest.approx(0.6139, abs=5e-5)
    assert passk.mean_value(rl, np.array([1]))[0] == pytest.approx(0.7793, abs=5e-5)
    assert found.equivalent_k_at_1.value == pytest.approx(2.87, abs=0.005)
    gap = found.at_k_tries.difference
    np.testing.assert_allclose([gap.value, gap.low, gap.high], [-0.032, -0.057, -0.007], atol=0.002)
    assert found.words == ("sharpened", "narrowed")


# the gate


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("narrowed", 0),
        ("worse", 0),
        ("fell>2%", 1),
        ("fell>40%", 0),
        ("fell>29", 1),
        ("rose", 1),
        ("lost", 0),
        ("narrowed,fell", 1),
    ],
)
def test_gate_passes_and_fails(text, code):
    found = told(np.full(100, 0.6), np.where(np.arange(100) < 30, 0.1, 0.8), 64)
    assert gate(found, parse_conditions(text)).exit_code == code


def test_gate_says_undecided_only_where_it_is_asked():
    few = told(np.full(10, 0.5), np.full(10, 0.5), 4)
    assert gate(few, parse_conditions("narrowed,fell")).exit_code == 0
    result = gate(few, parse_conditions("narrowed,fell,undecided"))
    assert result.exit_code == 3
    assert {each.outcome for each in result.results} == {"undecided"}
    many = told(np.full(500, 0.5), np.full(500, 0.5), 64)
    assert gate(many, parse_conditions("worse,narrowed,fell,undecided")).exit_code == 0


@pytest.mark.parametrize(
    ("base", "rl", "outcome"), [(0.5, 0.42, "fails"), (0.5, 0.5, "holds"), (0.5, 0.475, "undecided")]
)
def test_gate_on_a_drop_of_a_size(base, rl, outcome):
    counts = [Counts.of([64] * 200, [int(64 * p)] * 200) for p in (base, rl)]
    spread = np.random.default_rng(0).permutation(np.arange(200) % 21 - 10), np.arange(200) % 21 - 10
    noisy = [Counts.of([64] * 200, np.clip(x.c + more, 0, 64)) for x, more in zip(counts, spread)]
    (only,) = gate(compare(*noisy), parse_conditions("worse>0.025")).results
    assert only.outcome == outcome


@pytest.mark.parametrize("text", ["fallen", "fell>", "fell>x", "fell<2%", "sharpened>2", "undecided", "", "1.2.3"])
def test_gate_refuses_what_is_no_condition(text):
    with pytest.raises(InputError, match="--fail-on"):
        parse_conditions(text)


def test_summary_as_markdown_holds_the_answer_and_hostile_texts():
    found = told(np.full(40, 0.6), np.where(np.arange(40) < 10, 0.02, 0.8), 64)
    text = comparison_markdown(found, "a|b", "rl", gate(found, parse_conditions("fell")), lambda i: f"x|{i}\n<script>")
    assert found.verdict in text
    assert "| fell | fails |" in text
    assert "x\\|" in text
    assert "<script" not in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| x")}
    assert widths == {4}
