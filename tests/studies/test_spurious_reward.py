"""Verdicts of the spurious-reward study on synthetic models; form and facts against the tokens."""

from types import SimpleNamespace

import numpy as np
import pytest

from goldpanner.studies.claims.spurious_reward import ARMS, SETS, STUDY, route_parts
from goldpanner.studies.study import judge_results
from goldpanner.types import Problem

BASE = {"form": 0.35, "known": 0.9, "contested": 0.4}


def world(seed=0, problems=200, **arms):
    """A world's result. Of the facts 60% are known, 20% contested, 20% out of reach; arms change BASE."""
    draw = np.random.default_rng(seed)
    kind = draw.permutation(
        np.repeat(
            ["known", "contested", "absent"], [problems * 6 // 10, problems * 2 // 10, problems - problems * 8 // 10]
        )
    )
    found = {}
    for name in ("base", *ARMS):
        now = {**BASE, "absent": 1e-12, **arms.get(name.replace("-", "_"), {})}
        facts = np.array([now[k] for k in kind]) * draw.uniform(0.9, 1, problems)
        form = now["form"] * draw.uniform(0.9, 1, problems)
        columns = {"form": np.log(form).tolist(), "facts": np.log(facts).tolist()}
        found[name] = {"parts": dict.fromkeys(SETS, columns), "clipped": 0.1}
    return found


PREDICTED = {
    "true": {"form": 0.99, "contested": 0.95},
    "format": {"form": 0.99},
    "coin": {"form": 0.3},
    "coin_clipped": {},
}
CREATED = {"form": 0.36, "known": 0.99, "contested": 0.99, "absent": 0.9}
OPPOSITE = {
    "true": {"form": 0.99, "contested": 0.38},
    "format": {"form": 0.36},
    "coin": CREATED | {"form": 0.9},
    "coin_clipped": CREATED | {"form": 0.9},
}


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world(seed, **PREDICTED) for seed in range(3)])
    assert found == dict.fromkeys(found, "held")
    assert len(found) == 7


def test_the_opposite_flips_every_verdict():
    found = words([world(seed, **OPPOSITE) for seed in range(3)])
    assert {
        found[n] for n in ("format-lifts", "format-share", "format-is-form", "facts-need-truth", "coin-lifts-nothing")
    } == {"false"}
    created = words(
        [world(seed, true=PREDICTED["true"], format=CREATED, coin=CREATED, coin_clipped=CREATED) for seed in range(3)]
    )
    assert (created["no-facts"], created["no-expansion"]) == ("false", "false")


def test_few_problems_leave_it_undecided():
    found = words([world(seed, problems=6, **PREDICTED) for seed in range(3)])
    assert {found["format-share"], found["facts-need-truth"]} == {"undecided"}


def test_a_true_reward_without_gain_has_no_shares():
    found = words([world(seed, true={"form": 0.2}, format={"form": 0.99}) for seed in range(3)])
    assert found["format-share"] == "undecided"


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(seed, **PREDICTED) for seed in range(3)])
    assert {p.word for p in kept.predictions.values()} == {"held"}
    assert {row["series"] for row in kept.plots[0].rows} == {"base", *ARMS}


def test_form_and_facts_are_the_tokens_of_each_kind():
    problem = Problem("world/d2", "Q oak river f q b", "k e i", {"chain": "oak c a t river k e i"})
    logp = -np.arange(1.0, 10.0)

    def token_logprobs(problems, responses):
        assert responses == ["oak c a t river k e i"]
        return [logp]

    found = route_parts(SimpleNamespace(policy=SimpleNamespace(token_logprobs=token_logprobs)), [problem])
    assert found["form"] == [pytest.approx(logp[[0, 4, 8]].sum())]
    assert found["facts"] == [pytest.approx(logp[[1, 2, 3, 5, 6, 7]].sum())]
