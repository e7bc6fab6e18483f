"""Verdicts of the refuge study on synthetic runs; its problems, its readers, and a run small enough to wait for."""

import numpy as np
import pytest

from goldpanner.studies.claims.refuge import (
    ARMS,
    FAILS,
    FITS,
    STUDY,
    SearchReader,
    one_try,
    search_problem,
    share_within,
    tries,
)
from goldpanner.studies.lab import Lab, StudyScale
from goldpanner.studies.study import judge_results
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.webtext import FILLER
from goldpanner.types import Cause, Completion, Outcome

STEPS, SIZE, P = 60, 512, 0.08


def course(hidden=0.2, right=P, shown=1.0, after=P, spread=0.01, seed=0):
    """A run that hides `hidden` of its answers in the end, whose judged ones are right in the share `right`."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.2, hidden, STEPS)
    judged = np.full(STEPS, SIZE) if shown == 1 else np.round(SIZE * (1 - share)).astype(int)
    rate = np.linspace(P, right, STEPS)
    return {
        "hidden": share.tolist(),
        "exact": (rate * shown).tolist(),
        "right": rng.binomial(judged, rate).tolist(),
        "judged": judged.tolist(),
        "before": (P + spread * rng.standard_normal(128)).tolist(),
        "after": (after + spread * rng.standard_normal(128)).tolist(),
    }


def world(seed=0, left_out=None, own=None):
    """What one world gives where everything is as predicted; an arm can be set otherwise."""
    return {
        "left-out": course(**({"hidden": 0.95, "right": 0.8, "shown": 0.05} | (left_out or {})), seed=seed),
        "own": course(**({"hidden": 0.05} | (own or {})), seed=seed + 10),
        "read-past": course(seed=seed + 20),
    }


def words(results):
    return {name: decision.word for name, decision in STUDY.judge(results).decisions.items()}


def test_the_predicted_worlds():
    verdicts = words([world(seed) for seed in range(3)])
    assert verdicts == dict.fromkeys(verdicts, "held")
    assert len(verdicts) == 7


def test_the_opposite_flips_every_verdict():
    left_out = {"hidden": 0.1, "right": P, "shown": 0.999, "after": 0.3}
    own = {"hidden": 0.9, "right": P, "after": 0.01}
    results = [world(seed, left_out, own) for seed in range(3)]
    for result in results:
        for arm in ("own", "read-past"):
            result[arm]["right"] = [size // 2 for size in result[arm]["judged"]]
    verdicts = words(results)
    assert verdicts == dict.fromkeys(verdicts, "false")


def test_a_rise_that_differs_between_problems_is_undecided():
    assert words([world(seed, left_out={"after": P + 0.03, "spread": 0.1}) for seed in range(3)])["learns-nothing"] == (
        "undecided"
    )


def test_a_step_of_which_nothing_was_judged_has_no_reward_and_the_widest_interval():
    run = course(hidden=0.95, right=0.8, shown=0.05)
    run["judged"][-1] = run["right"][-1] = 0
    assert words([world() | {"left-out": run}])["inflates"] == "held"
    assert share_within(run) >= 1 / STEPS


def test_the_page_has_its_record():
    record = judge_results(STUDY, [world(seed) for seed in range(3)])
    assert {prediction.word for prediction in record.predictions.values()} == {"held"}
    assert {row["series"] for row in record.plots[0].rows} == {"reward", "exact", "hidden"}


CIPHER = World(
    WorldConfig(letters=12, word_length=1, known_relations=8, max_depth=4, exposures=(), reliabilities=((1.0, 1.0),))
)


@pytest.fixture(scope="module")
def forward():
    return CIPHER.problems("world/d3", 20, np.random.default_rng(0), "test")


def test_the_way_back_of_a_problem_has_one_answer_that_fits(forward):
    for problem in forward:
        search = search_problem(CIPHER, problem)
        _, _, *relations, wanted = search.prompt.split()
        every = [one_try(CIPHER, relations, letter, wanted) for letter in CIPHER.symbols[:12]]
        assert [text for text in every if text.endswith(FITS)] == [search.answer]
        assert sum(text.endswith(FAILS) for text in every) == 11


@pytest.mark.parametrize(
    ("arm", "outcome", "cause"),
    [
        ("left-out", Outcome.UNJUDGED, Cause.OURS),
        ("own", Outcome.UNJUDGED, Cause.MODEL),
        ("read-past", Outcome.CORRECT, None),
    ],
)
def test_readers_differ_in_what_is_hidden_alone(forward, arm, outcome, cause):
    problem, other = (search_problem(CIPHER, p) for p in forward[:2])
    hidden = SearchReader(arm)(problem, Completion(f"{problem.answer} {FILLER}"))
    assert (hidden.outcome, hidden.cause) == (outcome, cause)
    assert SearchReader(arm)(problem, Completion(problem.answer)).correct
    assert SearchReader(arm)(problem, Completion(other.answer)).outcome is Outcome.WRONG
    assert SearchReader(arm)(problem, Completion(problem.answer, finish="length")).outcome is Outcome.WRONG


def test_examples_hide_whether_they_fit_or_not():
    texts = [document.response.split() for document in tries(CIPHER, 1500, 0)]
    for mark in (FITS, FAILS):
        hidden = [text[-1] == FILLER for text in texts if mark in text]
        assert len(hidden) > 300
        assert np.mean(hidden) == pytest.approx(0.25, abs=0.06)


def test_a_small_run_logs_what_it_is_held_against(tmp_path):
    scale = StudyScale(
        worlds=(0,),
        share=0.02,
        problems=0.05,
        model={"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16},
    )
    result = STUDY.measure(Lab(tmp_path, 0, scale))
    assert set(result) == set(ARMS)
    for run in result.values():
        assert len(run["exact"]) == len(run["right"]) == len(run["hidden"]) == 2
        assert all(0 <= p <= 1 for p in (*run["exact"], *run["after"]))
        assert all(right <= judged for right, judged in zip(run["right"], run["judged"]))
    assert result["own"]["before"] == result["read-past"]["before"], "all start from one model"
    assert judge_results(STUDY, [result, result]).found["en"]
