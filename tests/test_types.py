"""The nouns refuse what cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.types import Counts, Estimate, Problem, SamplingParams


def test_a_problem_is_its_content():
    one, same = Problem("t", "p", "a", {"x": 1, "y": 2}), Problem("t", "p", "a", {"y": 2, "x": 1})
    assert one.id == same.id
    assert len({one.id, Problem("t", "p", "b").id, Problem("u", "p", "a").id, Problem("t", "p", "a").id}) == 4


def test_sampling_params_hash_every_field_and_default_to_the_full_softmax():
    base = SamplingParams()
    assert base.full_softmax
    others = [
        SamplingParams(temperature=0.5),
        SamplingParams(top_p=0.9),
        SamplingParams(top_k=5),
        SamplingParams(max_tokens=9),
        SamplingParams(stop=("x",)),
        SamplingParams(template="chat"),
    ]
    assert len({p.hash for p in [base, *others]}) == 7
    assert not any(p.full_softmax for p in others[:3])


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}, {"max_tokens": 0}])
def test_sampling_params_out_of_range(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SamplingParams(**wrong)


@pytest.mark.parametrize(
    ("n", "c", "u", "ids", "says"),
    [
        ([4], [5], [0], ["a"], "more than its n"),
        ([4], [3], [2], ["a"], "c \\+ unjudged"),
        ([4], [-1], [0], ["a"], "negative"),
        ([4, 4], [1, 1], [0, 0], ["a", "a"], "stands twice"),
        ([4, 4], [1], [0, 0], ["a", "b"], "shape"),
    ],
)
def test_counts_that_cannot_be(n, c, u, ids, says):
    with pytest.raises(InputError, match=says):
        Counts.of(n, c, ids, u)


def test_an_estimate_needs_an_interval_that_holds_it():
    with pytest.raises(InputError):
        Estimate(0.5, 0.6, 0.9, 0.95, "m")
    with pytest.raises(InputError):
        Estimate(0.5, float("nan"), float("nan"), 0.95, "m")
    with pytest.raises(InputError):
        Estimate(0.5, 0.4, 0.6, 1.0, "m")
    assert Estimate.undefined("m").to_json()["value"] is None
    assert Estimate(float("inf"), 3.0, float("inf"), 0.95, "m").to_json()["low"] == 3.0


def test_streams_are_independent_and_repeatable():
    assert rng.stream("a", 1).random() == rng.stream("a", 1).random()
    assert len({rng.stream("a", 1).random(), rng.stream("a", 2).random(), rng.stream("b", 1).random()}) == 3


@given(st.integers(0, 2**40), st.integers(0, 10**9), st.integers(1, 40), st.integers(1, 70))
def test_a_row_of_uniforms_is_its_own(seed, start, count, width):
    rows = rng.sample_uniforms("problem", seed, range(start, start + count), width)
    alone = rng.sample_uniforms("problem", seed, np.array([start + count - 1]), width + 3)
    assert np.array_equal(rows[-1], alone[0, :width])
    assert ((rows >= 0) & (rows < 1)).all()


def test_rows_do_not_overlap():
    rows = rng.sample_uniforms("problem", 0, range(200), 300)
    assert len(np.unique(rows)) == rows.size
