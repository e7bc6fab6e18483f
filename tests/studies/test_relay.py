"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import math

import numpy as np
import pytest

from goldpanner.studies.claims.relay import DEPTHS, MIXES, SPECTRA, STUDY, rise, window
from goldpanner.studies.study import judge_results

STEPS = 40


def world(gains, problems=100, spread=0.3, seed=0):
    """A world's result; `gains` maps (spectrum, mix) to the nats that log P rises by within 10 steps, 0 if missing."""
    rng = np.random.default_rng(seed)
    found = {}
    for spectrum in SPECTRA:
        found[spectrum] = {}
        for mix in MIXES:
            found[spectrum][mix] = {}
            for depth in DEPTHS:
                start = rng.uniform(-40, -25, problems)
                end = gains.get((spectrum, mix), 0) + rng.normal(0, spread, problems)
                ramp = np.minimum(np.arange(STEPS + 1) / 10, 1)
                found[spectrum][mix][depth] = (start + ramp[:, None] * end).tolist()
    return found


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


EXPECTED = {("no-gap", "easier"): 8, ("no-gap", "short"): 1}


def test_the_predicted_worlds():
    found = words([world(EXPECTED, seed=s) for s in range(3)])
    names = ("relay-without-gap", "no-relay-with-gap", "wrong-mixes", "more-than-short")
    assert found == dict.fromkeys(names, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    contrary = {("gap", "easier"): 8, ("no-gap", "short"): 8, ("no-gap", "foreign"): 8, ("no-gap", "easier"): -2}
    found = words([world(contrary, seed=s) for s in range(3)])
    assert found == dict.fromkeys(found, "false")


def test_a_control_that_does_as_well_makes_it_conditional():
    found = words([world(EXPECTED | {("no-gap", "short"): 6}, seed=s) for s in range(3)])
    assert found["wrong-mixes"] == "conditional"


def test_wide_spread_few_hard_problems_or_no_window_leave_it_undecided():
    wide = {("no-gap", "easier"): 4, ("gap", "easier"): 2, ("no-gap", "short"): 2, ("no-gap", "foreign"): 2}
    found = words([world(wide, problems=10, spread=8, seed=s) for s in range(3)])
    assert found["relay-without-gap"] == found["no-relay-with-gap"] == "undecided"
    few = words([world(EXPECTED, problems=3)])
    assert few == dict.fromkeys(few, "undecided")
    none = words([world(EXPECTED, problems=0)])
    assert none == dict.fromkeys(none, "undecided")


def test_what_rises_after_the_first_expected_success_does_not_count():
    """All of the rise lies behind the step at which the shadow rollouts would have met a success."""
    logp = np.full((41, 50), math.log(1e-7))
    logp[5:] = math.log(0.5)
    assert window(logp) == 4
    assert rise(logp, window(logp)).value == 0
    logp[0] = math.log(0.1)
    assert window(logp) == -1
    assert math.isnan(rise(logp, -1).value)


def test_the_window_ends_where_the_expected_successes_reach_one():
    p = 1 / (768 * 10.5)  # ten steps' shadow rollouts expect 10 / 10.5 successes, eleven more than one
    assert window(np.full((41, 8), math.log(p))) == 9
    assert window(np.full((41, 8), math.log(1e-12))) == 40
    mixed = np.tile(np.log([2 * p, 1e-30]), (41, 1))  # the budget is spread evenly
    assert window(mixed) == 9


def test_the_rise_is_paired_over_problems():
    logp = np.array([np.linspace(-90, -20, 20), np.linspace(-90, -20, 20) + 3.0])
    found = rise(logp, 1)
    assert found.value == pytest.approx(3.0)
    assert found.high - found.low < 1e-9


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(EXPECTED, seed=s) for s in range(3)])
    assert {p.word for p in kept.predictions.values()} == {"held"}
    assert len(kept.plots[0].rows) == 3 * len(SPECTRA) * len(DEPTHS) * len(MIXES) * (STEPS + 1)
