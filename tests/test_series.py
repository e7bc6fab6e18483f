"""Several models against one base, and power before data."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.measure import power
from goldpanner.measure import series as measure_series
from goldpanner.measure.compare import compare
from goldpanner.measure.curves import difference
from goldpanner.measure.equivalent import equivalent_k
from goldpanner.measure.posterior import RateDistribution
from goldpanner.measure.series import series
from goldpanner.measure.statements import statement_at
from goldpanner.types import Counts


def sampled(p, n, seed):
    return Counts.of([n] * len(p), np.random.default_rng(seed).binomial(n, p))


P = np.random.default_rng(3).beta(0.5, 1.0, 120)


def best_of(k):
    return 1 - (1 - P) ** k


def test_a_series_says_of_every_stage_what_compare_says_of_it_alone():
    base, late = sampled(P, 64, 0), sampled(best_of(5), 64, 2)
    found = series(("base", base), {"early": [sampled(best_of(2), 64, 1)], "late": [late]})
    alone = compare(base, late)
    stage = found.stages[1]
    assert stage.words == alone.words
    assert stage.at_one_try.difference.value == pytest.approx(alone.at_one_try.difference.value)
    assert stage.at_one_try.difference.low < alone.at_one_try.difference.low, "two stages: wider for both together"
    assert (stage.changes.rose == alone.changes.rose).all()
    assert stage.covered == pytest.approx((late.c[base.c > 0] > 0).mean())
    assert "early: sharpened" in found.summary or "early: open" in found.summary
    json.dumps(found.to_json(), allow_nan=False)


def test_the_base_is_not_compared_with_itself(monkeypatch):
    asked = []

    def counted(base, seeds, *options):
        asked.append(len(seeds))
        return equivalent_k(base, seeds, *options)

    monkeypatch.setattr("goldpanner.measure.series.equivalent_k", counted)
    found = series(("base", sampled(P, 16, 0)), {"rl": [sampled(best_of(3), 16, 1)]})
    assert asked == [1]
    assert found.base.curve.at(1).value == pytest.approx(found.stages[0].at_one_try.base.value)
    assert found.base.words == ("no difference shown",)


def test_seeds_of_one_recipe_are_a_mean_and_a_spread():
    base = sampled(P, 32, 0)
    seeds = [sampled(best_of(k), 32, int(k)) for k in (2, 4, 8)]
    found = series(("base", base), {"rl": seeds}).stages[0]
    ones = [float((x.c / x.n).mean()) for x in seeds]
    assert found.at_one_try.rl.value == pytest.approx(np.mean(ones))
    deviation, low, high = found.spread[1]
    assert (low, high) == pytest.approx((min(ones), max(ones)))
    assert deviation == pytest.approx(np.std(ones, ddof=1))
    assert found.changes.rl.n.tolist() == [96] * 120
    assert not series(("base", base), {"rl": seeds[:1]}).stages[0].spread


def test_seeds_that_solve_different_problems_are_no_better_together_than_each():
    """Each seed solves its own half for certain: their mean pass@K is one half, and so are no mixed groups."""
    base = sampled(np.full(60, 0.02), 32, 0)
    halves = [Counts.of([32] * 60, np.where(np.arange(60) % 2 == i, 32, 0)) for i in (0, 1)]
    found = series(("base", base), {"rl": halves}, group=8).stages[0]
    assert found.at_k_tries.rl.value == pytest.approx(0.5)
    assert found.equivalent_k.k.high < 100, "half of the problems takes the base 35 tries, all of them over 200"
    assert found.mixed.value < 0.1
    assert found.at_group.value == pytest.approx(0.5, abs=0.05)


def test_false_differences_over_a_whole_series_are_rare(monkeypatch):
    """Ten copies of the base: one of them is said to differ in at most 5% of series (here 3 of 20 at most).

    The statements come from the bands; the posterior of every copy, which takes most of the time, is left out.
    """
    needed, rates = (
        equivalent_k(sampled(P, 16, 0), [sampled(P, 16, 0)], 16, 1024),
        RateDistribution.of(sampled(P, 16, 0)),
    )
    monkeypatch.setattr(measure_series, "equivalent_k", lambda *given: needed)
    monkeypatch.setattr(measure_series.RateDistribution, "of", lambda counts: rates)
    wrong = 0
    for seed in range(20):
        stages = {str(i): [sampled(P, 16, 100 * seed + i)] for i in range(1, 11)}
        found = series(("base", sampled(P, 16, 100 * seed)), stages)
        wrong += any(stage.at_one_try.sign or stage.at_k_tries.sign for stage in found.stages)
    assert wrong <= 3


def test_where_rl_would_start_best_is_said_with_its_doubt():
    base = sampled(np.full(200, 0.002), 64, 0)
    warm, hot = sampled(np.full(200, 0.2), 64, 1), sampled(np.full(200, 0.99), 64, 2)
    found = series(("base", base), {"warm": [warm], "hot": [hot]}, group=8)
    assert found.start.startswith("Groups of 8 would be mixed most often from warm")
    assert "do not tell" not in found.start
    twice = series(("base", base), {"a": [warm], "b": [sampled(np.full(200, 0.2), 64, 5)]}, group=8)
    assert "the samples do not tell it from" in twice.start


def test_unjudged_samples_widen_a_stage():
    base, rl = Counts.of([16] * 30, [4] * 30), Counts.of([16] * 30, [8] * 30)
    open_ = Counts.of([16] * 30, [8] * 30, unjudged=[8] * 30)
    sure, wide = (series(("base", base), {"rl": [x]}).stages[0].at_one_try.difference for x in (rl, open_))
    assert wide.high > sure.high + 0.3
    assert wide.low <= sure.low


def test_other_problems_are_refused():
    with pytest.raises(InputError, match="same problems"):
        series(("base", Counts.of([4], [1], ["a"])), {"rl": [Counts.of([4], [1], ["b"])]})
    with pytest.raises(InputError, match="at least one model"):
        series(("base", Counts.of([4], [1])), {})


# power


def test_power_is_what_compare_reaches():
    """The number of problems for 80%: pairs of that size are shown to differ in about 80% of runs."""
    population = power.population_of("beta:0.5,1")
    (need,) = power.required(population, 0.08, [1], [16])
    tries = power.exponent_for(population, 1, 0.08)
    r = np.random.default_rng(0)
    shown = 0
    for _ in range(100):
        p = r.beta(0.5, 1, need.problems)
        base, rl = (Counts.of([16] * len(p), r.binomial(16, x)) for x in (p, 1 - (1 - p) ** tries))
        gap = difference(base, rl, [1, 2, 4, 8, 16])  # the band by which `compare` says better or worse
        shown += statement_at(1, gap, gap, gap).sign == 1
    assert 65 <= shown <= 95


def test_more_problems_for_smaller_changes_and_fewer_samples():
    population = power.population_of("all:0.25")
    needs = {
        (row.size, row.samples): row.problems
        for s in (0.02, 0.1)
        for row in power.required(population, s, [1], [4, 64])
    }
    assert needs[0.02, 4] > needs[0.02, 64]
    assert needs[0.02, 4] > 10 * needs[0.1, 4]
    seen = power.sensitivity(population, needs[0.1, 4], 4, [1])
    assert seen[0].rise == pytest.approx(0.1, rel=0.05)


def test_a_change_that_cannot_be_is_said_to_be_none():
    population = power.population_of("all:0.9")
    assert power.required(population, 0.2, [1], [8])[0].problems is None
    assert power.required(population, -0.2, [1], [8])[0].problems is not None


@pytest.mark.parametrize("shape", ["", "all:2", "beta:1", "beta:0,1", "normal:1,2", "all:x", "uniform:1"])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(InputError, match="--shape"):
        power.population_of(shape)


# the commands


def write(path, p, n, seed):
    counts = sampled(p, n, seed)
    rows = zip(counts.ids, counts.n.tolist(), counts.c.tolist())
    path.write_text("".join(json.dumps({"id": i, "n": n, "c": c}) + "\n" for i, n, c in rows))
    return str(path)


def test_commands_of_series_and_power(tmp_path):
    def run(*words, code=0):
        result = CliRunner().invoke(application(), list(words))
        if code:
            return str(result.exception)
        assert result.exit_code == 0, result.exception
        return result.stdout

    files = [write(tmp_path / f"{i}.jsonl", best_of(k), 32, i) for i, k in enumerate((1, 2, 4, 5))]
    page = tmp_path / "page.html"
    text = run("compare", files[0], f"sft={files[1]}", f"rl={files[2]},{files[3]}", "--html", str(page))
    assert "between the 2 seeds of rl" in text
    assert "Groups of 16 would be mixed most often from" in text
    assert "Every problem over the models" in page.read_text()
    out = json.loads(run("compare", files[0], f"rl={files[2]},{files[3]}", "--json"))
    assert [stage["seeds"] for stage in out["stages"]] == [2]
    assert "about two models" in run("compare", *files[:3], "--fail-on", "worse", code=2)
    assert "named twice" in run("compare", files[0], files[1], files[1], code=2)

    assert "problems" in run("power", "--shape", "beta:0.5,1", "--size", "0.05", "--tries", "1,8")
    rows = json.loads(run("power", files[0], "--size", "-0.05", "--tries", "1", "--json"))["required"]
    assert all(row["problems"] > 10 for row in rows)
    assert "rise" in run("power", "--shape", "all:0.25", "--problems", "100", "--samples", "16", "--tries", "1,8")
    assert "one of the two" in run("power", code=2)
