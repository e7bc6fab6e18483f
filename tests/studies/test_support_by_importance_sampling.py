"""Verdicts of the importance-sampling study on synthetic tables; its known routes against their formula."""

import numpy as np
import pytest

from goldpanner.measure.origin import origin
from goldpanner.studies.claims.support_by_importance_sampling import (
    PROPOSALS,
    STUDY,
    known_routes,
    support_estimate,
    worlds_columns,
)
from goldpanner.studies.study import judge_results
from goldpanner.types import Completion, Outcome, Problem, Sample, Verdict

LOG10 = np.log(10)


def world(seed=0, problems=240, error=0.01, off=0.0, junk=1e-5, solved=0.6, flag=True, new=False, narrow=False):
    """A world's result: exact P from 1e-9 to 1e-3, estimates off by `error` decades, none where RL solves nothing.

    `off`: decades by which the unsolved ones are wrong if they are not flagged; `junk`: P of the lucky guesses.
    """
    rng = np.random.default_rng(seed)
    logp = rng.uniform(-9, -3, problems) * LOG10
    good = np.arange(problems) < solved * problems
    found = {"base": logp.tolist(), "routes": np.logaddexp(logp, np.log(junk)).tolist(), "draws": 256, "proposals": {}}
    for name in PROPOSALS:
        rows = []
        for p, ok in zip(np.exp(logp), good):
            value = p * 10 ** (rng.normal(0, error) if ok else off)
            sure = bool(ok or not flag)
            width = 10 ** (0.2 * error if narrow else 3 * error)
            label = "amplified" if sure else "cannot say"
            row = {"value": value if sure else 0.0, "low": value / width, "high": value * width, "sure": sure}
            row["label"] = "new" if new else label
            rows.append(row)
        process = [dict(row) for row in rows]
        found["proposals"][name] = {
            "rl": np.where(good, np.log(0.9), -20.0).tolist(), "process": process, "answer": rows
        }  # fmt: skip
    return found


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world(seed) for seed in range(3)])
    assert found == dict.fromkeys(found, "held")
    assert len(found) == 8


def test_the_opposite_flips_every_verdict():
    wide = words([world(seed, error=0.5, narrow=True) for seed in range(3)])
    assert (wide["accurate"], wide["covers"]) == ("false", "false")
    unsolved = words([world(seed, solved=0.05) for seed in range(3)])
    assert unsolved["tiny-solved"] == "false"
    unwarned = words([world(seed, flag=False, off=-6) for seed in range(3)])
    assert unwarned["warned"] == "false"
    invented = words([world(seed, new=True) for seed in range(3)])
    assert (invented["no-false-new"], invented["had-it"]) == ("false", "false")
    assert words([world(seed, junk=1e-30) for seed in range(3)])["unseen-routes"] == "false"


def test_an_error_that_grows_with_rarity_is_not_flat():
    results = [world(seed) for seed in range(3)]
    for result in results:
        for name in PROPOSALS:
            for logp, row in zip(result["base"], result["proposals"][name]["process"]):
                row["value"] *= 10 ** (0.5 if logp < np.log(1e-4) else 0.0)
    assert words(results)["flat"] == "false"


def test_few_problems_leave_it_undecided():
    found = words([world(seed, problems=4) for seed in range(3)])
    undecided = {name for name, word in found.items() if word == "undecided"}
    assert {"covers", "warned", "no-false-new", "tiny-solved", "had-it"} <= undecided
    assert set(words([world(problems=2, solved=0)]).values()) == {"undecided"}


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world(seed) for seed in range(3)])
    assert "240 / 240 / 240" in kept.found["en"]
    assert {row["panel"] for row in kept.plots[0].rows} == set(PROPOSALS)


class Listed:
    """Log P by response."""

    def __init__(self, table):
        self.table = table

    def logprobs(self, problems, responses):
        return np.array([self.table[response] for response in responses])


def test_known_routes_add_up_the_chain_and_the_guesses():
    problem = Problem("world/d1", "Q oak f q b", "c a t", {"chain": "oak c a t"})
    p = {"oak c a t": 1e-6, "c a t": 1e-5, "hmm c a t": 3e-6, "hmm hmm c a t": 2e-6}
    policy = Listed({text: np.log(value) for text, value in p.items()})
    assert np.exp(known_routes(policy, [problem], fillers=2)) == pytest.approx(sum(p.values()))


def test_the_estimate_is_the_origin_of_the_right_samples_alone():
    problem = Problem("world/d1", "Q oak f q b", "c a t")
    texts = [(1, 2)] * 60 + [(3,)] * 40
    drawn = [
        Sample("p", "rl", "x", 0, i, Completion("", text, -0.5), Verdict(Outcome.WRONG, "v"))
        for i, text in enumerate(texts)
    ]

    def verifier(_, completion):
        return Verdict(Outcome.CORRECT if completion.tokens == (1, 2) else Outcome.WRONG, "v")

    said = support_estimate(Listed({(1, 2): -9.0}), problem, drawn, verifier)
    right = np.arange(100) < 60
    whole = origin(right, np.where(right, -9.0, np.nan), np.full(100, -0.5), base_n=100, base_c=0)
    assert said["value"] == pytest.approx(0.6 * np.exp(-8.5))
    assert (said["label"], said["sure"], said["high"]) == (whole.label, True, whole.p_base.high)


def test_an_estimate_of_nothing_counts_as_wrong_by_far():
    result = world(problems=10, solved=0.5)
    table = worlds_columns(result, "weak")
    assert (table["error"][5:] > 10).all()
    assert not table["sure"][5:].any()
