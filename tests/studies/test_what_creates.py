"""What creates: predictions flip with the data; exact P goes into the finding as it is."""

import math

import pytest

from goldpanner.studies.claims.composition_by_exposure import RATIOS
from goldpanner.studies.claims.composition_by_exposure import STUDY as COMPOSITION
from goldpanner.studies.claims.what_creates import ARMS, NUMBERS, STUDY
from goldpanner.studies.study import judge_results
from goldpanner.types import Estimate


def spread(p):
    return [math.log(p * f) for f in (0.98, 1.0, 1.02)]


def world(examples=0.9, teacher=0.8, rl=1e-12, manner=1e-11):
    alone = {arm: {"base": spread(1e-12), "rl": spread(rl), "control": spread(0.9), "hits": 0} for arm in ARMS}
    shared = {"base": spread(1e-3), "rl": spread(0.9), "control": spread(0.9), "weakest": spread(1e-2)}
    absent = {f"examples-{n}": spread(examples) for n in NUMBERS} | {
        "teacher": spread(teacher),
        "manner": spread(manner),
    }
    return {"seed": 0, "rollouts": {"shared": 1, "fact": 1, "alone": 38_400}, "examples_a_statement": 8.0,
            "shared": {"gap": shared, "no-gap": shared}, "alone": alone, "absent": absent, "story": {}}  # fmt: skip


def words(study, *results):
    return {name: prediction.word for name, prediction in judge_results(study, results).predictions.items()}


def test_examples_create_and_neither_rl_nor_the_manner_does():
    assert words(STUDY, world(), world()) == dict.fromkeys(
        ("examples-create", "rl-does-not", "manner-does-not"), "held"
    )


def test_every_prediction_flips():
    contrary = world(examples=0.1, teacher=0.01, rl=0.3, manner=0.5)
    assert set(words(STUDY, contrary, contrary).values()) == {"false"}
    assert words(STUDY, world(), contrary)["rl-does-not"] == "conditional"


def test_the_finding_quotes_exact_probabilities():
    text = judge_results(STUDY, [world()]).found["en"]
    assert "1e-12 before" in text
    assert "38,400 rollouts" in text


def corpora(gain):
    """Return a world in which RL adds `gain` at every depth where the text composes enough."""
    base = {f"d{d}": spread(0.1) for d in (1, 2, 3, 4)}
    made = {
        share: {
            "base": base,
            "rl": {name: [math.log(math.exp(v) + gain(share)) for v in logp] for name, logp in base.items()},
            "control": base,
        }
        for share in RATIOS
    }
    return {"seed": 0, "rollouts": 38_400, "corpora": made}


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        (lambda share: 0.3 if share == "16%" else 0.0, {"held"}),
        (lambda share: 0.0 if share == "16%" else 0.3, {"false"}),
    ],
)
def test_composition_by_exposure_flips_with_the_data(gain, outcome):
    assert set(words(COMPOSITION, corpora(gain), corpora(gain)).values()) == outcome


def test_values_are_told_by_share_and_depth():
    values = COMPOSITION.judge([corpora(lambda share: 0.3)]).values
    assert values["base"]["16% d3"] == pytest.approx([0.1])
    assert values["rl"]["0 d4"] == pytest.approx([0.4])
    assert isinstance(
        COMPOSITION.judge([corpora(lambda s: 0.3)]).effects["single-facts-do-not"][0].estimates[0], Estimate
    )
