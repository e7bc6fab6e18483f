"""Origin of a gained problem: importance sampling on scripted densities with known P_base."""

import re

import numpy as np
import pytest
from scipy.stats import genpareto

from goldpanner.errors import InputError
from goldpanner.measure import origin


def scripted(r, n, p_base, routes=1, spread=0.0, missed=0.0, p_rl=0.6):
    """n RL samples of a problem with known densities; a share `missed` of the base's mass is out of RL's reach."""
    rl = p_rl * r.dirichlet(np.full(routes, 2.0))
    base = rl * np.exp(spread * r.standard_normal(routes))
    base *= p_base * (1 - missed) / base.sum()
    pick = r.choice(routes + 1, n, p=[*rl, 1 - rl.sum()])
    densities = np.log([*base, 1 - p_base]), np.log([*rl, 1 - rl.sum()])
    return {"correct": pick < routes, "logp_base": densities[0][pick], "logp_rl": densities[1][pick]}


@pytest.mark.parametrize(("routes", "spread"), [(1, 0.0), (40, 0.5), (200, 1.0), (2000, 2.0), (2000, 4.0)])
def test_within_a_factor_of_two_wherever_reliable_and_never_falsely_new(routes, spread):
    r = np.random.default_rng(routes + int(spread))
    reliable = 0
    for _ in range(200):
        p_base = 10 ** r.uniform(-12, -3)
        base_c = int(r.binomial(256, p_base))
        found = origin.origin(**scripted(r, 256, p_base, routes, spread), base_n=256, base_c=base_c)
        assert found.label != "new"
        if found.diagnostics.reliable:
            reliable += 1
            assert 0.5 <= found.p_base.value / p_base <= 2
            assert found.label == "amplified"
        elif not base_c:
            assert found.label == "cannot say"
    assert reliable > 100 if spread <= 1 else reliable < 20


@pytest.mark.parametrize("p_rl", [0.3, 0.6, 0.98])
def test_the_estimate_is_the_formula_and_its_interval_covers(p_rl):
    r = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        drawn = scripted(r, 200, 1e-9, 30, 0.5, p_rl=p_rl)
        found = origin.origin(**drawn)
        ratio = np.exp(drawn["logp_base"] - drawn["logp_rl"]) * drawn["correct"]
        assert found.p_base.value == pytest.approx(ratio.mean())
        hits += found.p_base.low <= 1e-9 <= found.p_base.high
    assert 0.9 <= hits / 200 <= 0.99


def test_the_interval_does_not_vanish_where_all_samples_are_right_and_alike():
    found = origin.origin(np.ones(40, bool), np.full(40, np.log(1e-6)), np.zeros(40)).p_base
    assert found.value == pytest.approx(1e-6)
    assert found.low == pytest.approx(1e-6 * 0.025 ** (1 / 40))  # of the exact interval of 40 of 40


def test_a_missed_route_makes_a_lower_bound_not_a_false_claim():
    r = np.random.default_rng(1)
    for _ in range(100):
        p_base = 10 ** r.uniform(-8, -3)
        base_c = int(r.binomial(256, p_base))
        found = origin.origin(**scripted(r, 256, p_base, missed=0.999), base_n=256, base_c=base_c)
        assert found.label == "amplified"
        assert found.p_base.low <= p_base <= found.upper
        assert base_c or "or more" in found.summary


def test_new_needs_the_base_to_have_nothing_on_these_routes_and_states_its_bound():
    r = np.random.default_rng(2)
    drawn = scripted(r, 128, 1e-40)
    found = origin.origin(**drawn, base_n=6000, problems=10)
    assert found.label == "new"
    assert found.upper == pytest.approx(-np.log(0.05 / 10) / 6000, rel=0.05)
    assert f"{found.upper:.2g}, below 1/1,024" in found.summary
    zero = {**drawn, "logp_base": np.where(drawn["correct"], -np.inf, drawn["logp_base"])}
    assert origin.origin(**zero, base_n=6000, problems=10).label == "new"
    assert origin.origin(**drawn).label == "cannot say", (
        "without the base's own samples nothing bounds its other routes"
    )


def test_false_new_never_even_when_the_base_was_unlucky():
    r = np.random.default_rng(3)
    false = 0
    for _ in range(1000):
        p_base = 10 ** r.uniform(-3, -1)  # on a route that RL never takes; RL's own route has nothing
        drawn = scripted(r, 64, 1e-40)
        found = origin.origin(**drawn, base_n=4000, base_c=int(r.binomial(4000, p_base)))
        false += found.label == "new" and p_base > found.upper
    assert false <= 3  # 5% of the few that are near the bound


@pytest.mark.parametrize(
    ("base_n", "problems", "rollouts"), [(0, 1, 1024), (1, 1, 1024), (8, 1, 1024), (256, 1, 1024), (3070, 20, 1024)]
)
def test_base_samples_that_say_nothing_cannot_say(base_n, problems, rollouts):
    """64 right samples whose routes have e-80 under the base: how many of the base's would be enough is named."""
    drawn = {"correct": np.ones(64, bool), "logp_base": np.full(64, -184.0), "logp_rl": np.full(64, -0.1)}
    found = origin.origin(**drawn, base_n=base_n, problems=problems, rollouts=rollouts)
    assert found.label == "cannot say"
    needed = int(re.search(r"([\d,]+) samples of the base, none correct", found.summary)[1].replace(",", ""))
    assert needed == pytest.approx(rollouts * np.log(problems / 0.05), rel=0.01)
    assert origin.origin(**drawn, base_n=needed, problems=problems, rollouts=rollouts).label == "new"
    assert origin.origin(**drawn, base_n=needed - 2, problems=problems, rollouts=rollouts).label == "cannot say"


def test_truncated_sampling_cannot_say():
    drawn = scripted(np.random.default_rng(4), 256, 1e-6)
    found = origin.origin(**drawn, base_n=256, full_softmax=False)
    assert found.label == "cannot say"
    assert "truncation" in found.summary
    assert found.to_json()["label"] == "cannot say"


def test_the_base_that_solved_it_itself_had_it():
    drawn = scripted(np.random.default_rng(5), 8, 1e-2)
    assert origin.origin(**drawn, base_n=64, base_c=1).label == "amplified"


def test_too_few_correct_or_contradicting_densities_cannot_say():
    r = np.random.default_rng(6)
    few = scripted(r, 16, 1e-6)
    assert origin.origin(**few, base_n=256).label == "cannot say"
    none = origin.origin(np.zeros(50, bool), np.full(50, np.nan), np.full(50, -1.0), base_n=256)
    assert none.label == "cannot say"
    assert (none.p_base.value, none.p_base.low, none.p_base.high) == (0.0, 0.0, none.upper)
    wrong = {"correct": np.ones(200, bool), "logp_base": np.full(200, -1.0), "logp_rl": np.full(200, -9.0)}
    assert "do not belong" in origin.origin(**wrong, base_n=64).summary
    contradiction = {"correct": np.ones(200, bool), "logp_base": np.full(200, -1.0), "logp_rl": np.full(200, -0.5)}
    assert "contradict" in origin.origin(**contradiction, base_n=4000).summary


def test_log_probabilities_far_below_the_smallest_float_do_not_underflow():
    r = np.random.default_rng(7)
    n = 200
    drawn = {"correct": r.random(n) < 0.5, "logp_base": np.full(n, -900.0), "logp_rl": np.full(n, -870.0)}
    found = origin.origin(**drawn, base_n=256)
    assert found.p_base.value == pytest.approx(drawn["correct"].mean() * np.exp(-30), rel=1e-9)


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.9])
def test_pareto_tail_finds_the_shape(shape):
    found = [
        origin.pareto_tail(genpareto.rvs(shape, size=2000, random_state=np.random.default_rng(s))) for s in range(40)
    ]
    assert np.mean(found) == pytest.approx(shape, abs=0.12)
    assert np.isnan(origin.pareto_tail(np.ones(10)))
    assert origin.pareto_tail(np.ones(100)) == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"correct": np.array([], bool), "logp_base": np.array([]), "logp_rl": np.array([])}, "no RL samples"),
        ({"logp_base": np.array([-1.0])}, "shapes"),
        ({"logp_base": np.array([np.nan, -1.0])}, "logp_base of correct sample 0"),
        ({"logp_base": np.array([0.5, -1.0])}, "<= 0"),
        ({"logp_rl": np.array([-np.inf, -1.0])}, "recompute"),
        ({"base_n": 3, "base_c": 4}, "0 <= c <= n"),
    ],
)
def test_mistakes_are_named(changes, message):
    given = {"correct": np.array([True, False]), "logp_base": np.array([-2.0, -1.0]), "logp_rl": np.array([-1.0, -1.0])}
    with pytest.raises(InputError, match=message):
        origin.origin(**{**given, **changes})


def test_long_answers_are_told_up_to_which_length_the_weights_hold():
    """Each of 400 tokens adds .3 nats of spread: cut to the share that is named, the standard error is as wanted."""
    r = np.random.default_rng(3)
    steps = 0.3 * r.standard_normal((40, 256, 400))

    def scored(run, tokens):
        weight = steps[run, :, :tokens].sum(1) - 0.045 * tokens
        return origin.origin(np.ones(256, bool), weight - 500.0, np.full(256, -500.0))

    long = [scored(run, 400) for run in range(40)]
    assert all(x.label == "cannot say" and re.search(r"answers of \d% of this length or less", x.summary) for x in long)
    share = np.array([origin.bearable_length(steps[run].sum(1)) for run in range(40)])
    assert share.mean() == pytest.approx(np.log1p(256 * 0.04) / 36, rel=0.2)
    shorter = [scored(run, int(0.8 * 400 * share[run])) for run in range(40)]
    assert sum("standard error" in x.summary for x in shorter) <= 4
    assert np.isinf(origin.bearable_length(np.zeros(64)))
    assert np.isnan(origin.bearable_length(np.array([-np.inf, 0.0])))
