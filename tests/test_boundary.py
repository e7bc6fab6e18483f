import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.measure.boundary import boundary
from goldpanner.types import Counts


def test_three_states():
    """A success is reached, judged failures are not reached within n, unjudged samples leave it open."""
    found = boundary(Counts.of([256, 256, 256, 0, 4], [1, 0, 0, 0, 0], unjudged=[0, 0, 1, 0, 4]))
    assert found.state.tolist() == ["reached", "not_reached", "unresolved", "unresolved", "unresolved"]
    assert found.to_json() == {"reached": 1, "not_reached": 1, "unresolved": 3}
    assert found.bound[1] == pytest.approx(1 - 0.05 ** (1 / 256))
    assert np.isnan(found.bound[[0, 2, 3, 4]]).all()
    assert np.isnan(found.value[[3, 4]]).all()
    assert found.ids("not_reached") == ["1"]


def test_a_stratum_needs_its_interval():
    found = boundary(Counts.of([256] * 6, [256, 210, 100, 15, 3, 0]))
    assert found.stratum.tolist() == ["easy", "unresolved", "reachable", "unresolved", "rare", "not_reached"]
    few = boundary(Counts.of([4] * 5, [0, 1, 2, 3, 4]))
    assert few.stratum.tolist() == ["not_reached"] + ["unresolved"] * 4
    assert sum(found.strata.values()) == 6


def test_unjudged_samples_can_undo_a_stratum():
    plain = boundary(Counts.of([256], [240]))
    doubtful = boundary(Counts.of([256], [200], unjudged=[40]))
    assert plain.stratum[0] == "easy"
    assert doubtful.stratum[0] == "unresolved"
    assert doubtful.state[0] == "reached"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=20))
def test_every_problem_has_one_state_and_one_stratum(rows):
    c, u, wrong = (np.array(x) for x in zip(*rows))
    found = boundary(Counts.of(c + u + wrong, c, unjudged=u))
    assert sum(found.states.values()) == sum(found.strata.values()) == len(rows)
    assert (found.low <= found.high).all()
    assert ((found.state == "not_reached") == (found.stratum == "not_reached")).all()
    assert not (found.state == "reached")[c == 0].any()
    assert not (found.state == "not_reached")[(c > 0) | (u > 0)].any()


def test_thresholds_are_checked_and_kept():
    with pytest.raises(InputError, match="rare = 0.5, easy = 0.2"):
        boundary(Counts.of([4], [1]), easy=0.2, rare=0.5)
    found = boundary(Counts.of([256], [100]), easy=0.25, rare=0.1)
    assert (found.stratum[0], found.easy, found.rare) == ("easy", 0.25, 0.1)
