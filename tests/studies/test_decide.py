"""The one rule by which every study's verdict is reached."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.studies.decide import Effect, decide
from goldpanner.types import Estimate


def estimate(value, half=0.01):
    return Estimate(value, value - half, value + half, 0.95, "test")


def effect(*values, condition="here", low=0.1, high=math.inf, half=0.01):
    return Effect(condition, [estimate(v, half) for v in values], low, high)


def test_held_where_every_world_lies_in_the_range():
    decision = decide([effect(0.2, 0.3, 0.15)])
    assert (decision.word, decision.yes, decision.more) == ("held", ("here",), 1.0)


def test_false_where_every_world_lies_outside():
    assert decide([effect(0.0, -0.3, 0.05)]).word == "false"


def test_a_range_with_two_edges_is_left_on_either_side():
    assert decide([effect(-0.5, 0.9, low=-0.05, high=0.05)]).word == "false"


def test_worlds_that_contradict_each_other_make_it_conditional():
    decision = decide([effect(0.2, 0.0, 0.105)])  # the third is open; two contradict
    assert (decision.word, decision.mixed) == ("conditional", ("here",))


def test_conditions_that_contradict_each_other_make_it_conditional():
    decision = decide([effect(0.2, condition="a"), effect(0.0, condition="b"), effect(0.1, condition="c")])
    assert decision.word == "conditional"
    assert (decision.yes, decision.no, decision.open) == (("a",), ("b",), ("c",))


def test_one_open_world_leaves_it_undecided_and_says_what_it_takes():
    # 0.12 +- 0.04 crosses 0.1 at a distance of half an arm: four times the data halve the arm
    decision = decide([Effect("here", [estimate(0.3), estimate(0.12, 0.04)], low=0.1)])
    assert decision.word == "undecided"
    assert decision.more == pytest.approx(4.0)


def test_a_value_on_the_edge_is_never_settled_by_more_data():
    assert decide([effect(0.1)]).more == math.inf


def test_an_undefined_estimate_is_open():
    decision = decide([Effect("here", [Estimate.undefined("none")], low=0.1)])
    assert (decision.word, decision.more) == ("undecided", math.inf)


def test_an_asymmetric_interval_uses_the_arm_that_crosses():
    crossing = Estimate(0.5, 0.0, 0.6, 0.95, "test")
    assert decide([Effect("here", [crossing], low=0.25)]).more == pytest.approx(4.0)


def test_a_range_that_nothing_contradicts_is_refused():
    with pytest.raises(InputError, match="nothing can contradict"):
        Effect("here", [estimate(0.0)])
    with pytest.raises(InputError, match="nothing can contradict"):
        Effect("here", [estimate(0.0)], low=1.0, high=0.0)


def test_no_estimate_and_no_effect_are_refused():
    with pytest.raises(InputError, match="no estimate"):
        Effect("here", [], low=0.0)
    with pytest.raises(InputError, match="no effect"):
        decide([])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.floats(0.001, 0.5))
def test_the_contrary_prediction_gets_the_contrary_verdict(values, half):
    above, below = effect(*values, half=half), effect(*values, low=-math.inf, high=0.1, half=half)
    one, other = decide([above]).word, decide([below]).word
    if not any(abs(v - half - 0.1) < 1e-12 or abs(v + half - 0.1) < 1e-12 for v in values):
        assert other == {"held": "false", "false": "held"}.get(one, one)


def test_effects_as_json_have_no_infinities():
    record = effect(0.1).record()
    assert record.high is None
    assert record.more is None
    assert record.state == "open"
