"""The verdict follows the data: synthetic worlds of the predicted kind, of the opposite kind, and too small to tell."""

import math

import numpy as np
import pytest

from goldpanner import rng as streams
from goldpanner.studies import statistics
from goldpanner.studies.claims.weakest_fact import SPECTRA, STUDY, facts_known, needed, solved_by_decade, weakest
from goldpanner.studies.study import judge_results
from goldpanner.tasks import World, WorldConfig


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 300)


def spectrum(own, facts, solved, stated=None):
    after = np.where(solved, np.log(0.95), np.log(1e-6))
    stated = np.exp(facts) if stated is None else stated
    return {"own": own.tolist(), "weakest": facts.tolist(), "after": after.tolist(), "stated": list(map(float, stated))}


def world(decides, problems=300, seed=0, flipped=False):
    """A world's result. With the gap a problem is easy or its weakest fact is out of reach; without it, facts have P
    from 1e-4 to 1 and the own P is further lowered by the depth. `decides`: `weakest`, `own` or `chance`.
    """
    rng = np.random.default_rng(seed)
    gap_facts = np.where(rng.random(problems) < 0.6, np.log(0.8), np.log(1e-7)) + rng.normal(0, 0.2, problems)
    facts = {"gap": gap_facts, "no-gap": np.log(10) * rng.uniform(-4, 0, problems)}
    found = {}
    for name in SPECTRA:
        own = facts[name] - (1 if name == "gap" else 12) * rng.random(problems)
        if decides == "chance":
            solved = rng.random(problems) < 0.5
        else:
            score = facts[name] if decides == "weakest" else own
            solved = score > (np.log(1e-3) if decides == "weakest" else np.log(1e-4))
        found[name] = spectrum(own, facts[name], ~solved if flipped else solved)
    return found


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    found = words([world("weakest", seed=s) for s in range(3)])
    names = ("predicts", "beats-own-p", "equal-with-gap", "rare-stays", "rare-lifted")
    assert found == dict.fromkeys(names, "held")


def test_worlds_of_the_opposite_kind_flip_every_verdict():
    own = words([world("own", seed=s) for s in range(3)])
    assert own["beats-own-p"] == "false"
    assert own["rare-lifted"] == "false"
    flipped = words([world("weakest", seed=s, flipped=True) for s in range(3)])
    assert flipped["predicts"] == "false"
    assert flipped["rare-stays"] == "false"
    blind = [world("weakest", seed=s) for s in range(3)]
    for result in blind:  # the weakest fact is measured so badly that it says nothing
        result["gap"]["weakest"] = np.random.default_rng(9).permutation(result["gap"]["weakest"]).tolist()
    assert words(blind)["equal-with-gap"] == "false"


def test_few_problems_or_one_outcome_leave_it_undecided():
    found = words([world("chance", problems=12, seed=s) for s in range(3)])
    assert found["beats-own-p"] == "undecided"
    assert found["equal-with-gap"] == "undecided"
    nothing = world("weakest")
    for name in SPECTRA:
        nothing[name]["after"] = [-20.0] * len(nothing[name]["own"])
    assert words([nothing])["predicts"] == "undecided"
    easy = world("weakest")
    easy["no-gap"]["own"] = [-1.0] * len(easy["no-gap"]["own"])
    assert words([easy])["rare-lifted"] == "undecided"


class Certain:
    """Says every letter with a fixed P: that of a fact, which depends on (relation, letter asked about)."""

    def __init__(self, table):
        self.table = table

    def token_logprobs(self, problems, responses):
        return [
            np.array([-0.5, *(math.log(self.table[fact]) for fact in needed(problem)), -0.1]) for problem in problems
        ]


def test_facts_are_those_of_the_worked_answer_and_their_measure_is_the_mean_p():
    domain = World(WorldConfig())
    problems = domain.problems("world/d1", 300, streams.stream("test"))
    rng = np.random.default_rng(0)
    table = {(r, s): float(rng.uniform(0.01, 1)) for r in domain.relations for s in domain.symbols}
    known = facts_known(Certain(table), problems)
    assert {fact: math.exp(x) for fact, x in known.items()} == pytest.approx({fact: table[fact] for fact in known})
    for problem in domain.problems("world/d2", 20, streams.stream("test2")):
        facts = needed(problem)
        assert len(facts) == 6
        stated = [
            domain.reliability[domain.relations.index(relation), domain.symbols.index(letter)]
            for relation, letter in facts
        ]
        assert min(stated) == pytest.approx(problem.meta["weakest"])
        assert np.prod(stated) == pytest.approx(math.prod(problem.meta["reliability"]))
        assert weakest({fact: math.log(table[fact]) for fact in facts}, problem) == pytest.approx(
            math.log(min(table[fact] for fact in facts))
        )


def test_shares_by_decade_leave_out_thin_decades():
    logp = np.log([0.5] * 6 + [2e-3] * 5 + [1e-9] * 2)
    solved = np.array([True] * 6 + [True, False, False, False, False] + [True] * 2)
    assert solved_by_decade(logp, solved) == [{"x": -2.5, "y": 0.2}, {"x": -0.5, "y": 1.0}]


def test_the_page_has_its_record():
    kept = judge_results(STUDY, [world("weakest", seed=s) for s in range(3)])
    assert {p.word for p in kept.predictions.values()} == {"held"}
    assert "below 1e-3 alone" in " ".join(kept.found["en"].split())
    assert {row["series"] for row in kept.plots[0].rows} == {"own", "weakest"}
