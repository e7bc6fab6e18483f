"""How sentences are judged: synthetic records with a known boundary, reversed, switched off, and without a control."""

import math

import numpy as np
import pytest

from goldpanner.errors import InputError
from goldpanner.store.findings import ResultRecord
from goldpanner.studies import mission
from goldpanner.studies.boundary import Claim, ClaimRun, ClaimUnit, edges, judge_claim
from goldpanner.studies.primary import CLAIMS, at_depth
from synthetic_study import created, logp, reverse

CLAIM = Claim(lambda result, off: result, "below", needed=0.2)


def run(threshold, world=0, warm=0.5, xs=(0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0), control=True):
    return ClaimRun([ClaimUnit(x, x >= threshold, control) for x in xs], warm, world, world)


# --- the fit


def test_edges_are_the_neighbours_of_a_clean_boundary():
    assert edges(run(0.05).units) == (1e-2, 0.1)
    assert edges(run(0.05).units, falls=True) == (None, None)
    assert edges(reverse(run(0.05)).units, falls=True) == (1e-2, 0.1)


def test_a_side_that_was_never_reached_has_no_edge():
    assert edges(run(100.0).units) == (10.0, None)
    assert edges(run(0.0).units) == (None, 0.0)


def test_many_units_far_below_do_not_hide_a_rise():
    units = [ClaimUnit(1e-3, False)] * 1000 + [ClaimUnit(1.0, True)] * 10
    assert edges(units) == (1e-3, 1.0)


def test_one_exception_widens_the_boundary():
    units = [ClaimUnit(x, x >= 4) for x in range(8)]
    units[1] = ClaimUnit(1, True)
    low, high = edges(units)
    assert (low, high) == (0, 4)


@pytest.mark.parametrize("seed", range(5))
def test_edges_of_a_logistic_rise_lie_about_its_tenths(seed):
    draw = np.random.default_rng(seed)
    x = 10 ** draw.uniform(-3, 3, 4000)
    units = [ClaimUnit(float(v), bool(draw.random() < 1 / (1 + v**-1.0))) for v in x]
    low, high = edges(units)
    assert 1 / 9 / 3 < low < 3 / 9  # the share is .1 at x = 1/9 and .9 at x = 9
    assert 3 < high < 27


def test_no_unit_and_no_number_are_refused():
    with pytest.raises(InputError, match="x >= 0"):
        edges([])
    with pytest.raises(InputError, match="x >= 0"):
        edges([ClaimUnit(math.nan, True)])


# --- the boxes


def test_the_interval_is_the_spread_between_worlds():
    record = judge_claim(CLAIM, [run(0.05, 0), run(0.5, 1), run(5.0, 2)])
    assert (record.low, record.high, record.bracketed) == (1e-2, 10.0, 3)
    assert record.known == ("below", "above")
    below, above = record.box("exploration", "below"), record.box("exploration", "above")
    assert (below.units, below.outcomes, below.runs) == (9, 0, 3)
    assert (above.units, above.outcomes, above.runs) == (3, 3, 3)


def test_a_run_counts_once_however_many_units_it_has():
    many = ClaimRun([*run(0.05).units] * 100, 0.5, 0)
    one = judge_claim(CLAIM, [run(0.05), run(5.0, 1)])
    assert judge_claim(CLAIM, [many, run(5.0, 1)]).low == one.low
    assert judge_claim(CLAIM, [many, run(5.0, 1)]).box("exploration", "above").runs == 2


def test_reversed_data_change_the_boxes():
    runs = [run(0.05), run(0.5, 1)]
    record, turned = judge_claim(CLAIM, runs), judge_claim(CLAIM, [reverse(r) for r in runs])
    assert record.known == ("below", "above")
    assert turned.known == ()
    assert (turned.low, turned.high) == (None, None)


def test_a_treatment_that_did_not_take_gives_evidence_for_nothing():
    record = judge_claim(CLAIM, [run(0.05, warm=0.1)])
    assert record.known == ()
    assert not record.runs[0].took
    assert record.least is None


def test_nothing_rises_is_worth_nothing_without_a_control_that_rose():
    for control in (None, False):
        record = judge_claim(CLAIM, [run(100.0, control=control)])
        assert record.known == ()
        assert not record.controlled
    assert judge_claim(CLAIM, [run(100.0)]).known == ("below",)


def test_a_boundary_that_no_run_brackets_has_one_edge():
    record = judge_claim(CLAIM, [run(100.0), run(100.0, 1)])
    assert (record.low, record.high, record.bracketed) == (10.0, None, 0)


def test_fresh_worlds_confirm_and_do_not_move_the_boundary():
    record = judge_claim(CLAIM, [run(0.05), run(1e-3, 100), run(0.05, 101)])
    assert (record.low, record.high) == (1e-2, 0.1)
    box = record.box("confirmation", "below")
    assert (box.units, box.outcomes, box.runs) == (6, 2, 2)  # the claim fails in world 100, and that is shown


def test_the_course_counts_every_unit_once():
    record = judge_claim(CLAIM, [run(0.05), run(0.5, 100)])
    for phase, rise in (("exploration", 0.1), ("confirmation", 1.0)):
        points = [point for point in record.course if point.phase == phase]
        assert sum(point.units for point in points) == 6
        assert [point.x for point in points] == pytest.approx([0, 1e-3, 1e-2, 0.1, 1, 10])
        assert [point.outcomes for point in points] == [int(x >= rise) for x in (0, 1e-3, 1e-2, 0.1, 1, 10)]
        assert all(point.control_outcomes == point.controls == 1 for point in points)


# --- the primary claims, on made results


def cold_starts():
    levels = {}
    for name, style, start, end in (("warm", 0.05, 0.03, 0.9), ("tepid", 1e-3, 1e-3, 0.85), ("cold", 1e-5, 1e-6, 1e-6)):
        arm = {"before": logp(start), "after": logp(end), "style": logp(style)}
        levels[name] = {"0": arm, "24": {**arm, "after": logp(0.9)}}
    return {"levels": levels}


def compositions(seed):
    """A world in which RL lifts the depths that a hundredth of the documents reach, and examples teach depth 2."""
    shares = {"16%": 0.16, "3%": 0.03, "0.04%": 4e-4, "0": 0.0}
    corpora = {}
    for name, share in shares.items():
        reach = {f"d{d}": at_depth(share, d) >= 0.01 for d in (2, 3, 4)}
        corpora[name] = {
            "base": {d: logp(0.2 if enough else 1e-11) for d, enough in reach.items()},
            "rl": {d: logp(0.9 if enough else 1e-11) for d, enough in reach.items()},
            "control": {} if share else {"d2": logp(0.9), "d3": logp(1e-9), "d4": logp(1e-9)},
        }
    return {"seed": seed, "rollouts": 38_400, "corpora": corpora}


def results(worlds=(0, 1)):
    made = {"what-creates": created, "cold-start": lambda w: cold_starts(), "composition-by-exposure": compositions}
    return {
        name: [ResultRecord(id=f"{name}-w{w}", study=name, world=w, seconds=1.0, method="", versions={}, result=make(w))
               for w in worlds]
        for name, make in made.items()
    }  # fmt: skip


def judged(rows):
    return {name: mission.judge_sentence(name, sentence, rows) for name, sentence in mission.sentences().items()}


def test_every_claim_has_words_and_every_word_a_claim():
    assert set(CLAIMS) == {name for name, sentence in mission.sentences().items() if sentence.claim}


def test_each_sentence_finds_its_boundary():
    found = {name: boundary for name, (boundary, _) in judged(results()).items() if boundary}
    assert set(found) == set(CLAIMS)
    for name, boundary in found.items():
        assert boundary.known == ("below", "above"), name
        assert boundary.bracketed == 2, name
    assert (found["composes"].low, found["composes"].high) == (at_depth(0.16, 4), at_depth(0.03, 2))
    assert (found["no-invention"].low, found["no-invention"].high) == (0.0003, 0.002)
    assert (found["form-only"].low, found["form-only"].high) == (1.0, 8.0)
    assert found["reweights"].low == pytest.approx(1_440 * 1e-5)
    assert found["all-wrong"].low == 0


def test_with_rl_switched_off_no_sentence_about_rl_gets_evidence():
    off = {name: record for name, (_, record) in judged(results()).items() if record is not None}
    assert set(off) == set(CLAIMS) - {"form-only"}
    for name, record in off.items():
        assert record.known == (), name
        assert not any(run.took for run in record.runs), name


@pytest.mark.parametrize("name", CLAIMS)
def test_each_sentences_boxes_change_when_its_own_data_are_reversed(name):
    claim, rows = CLAIMS[name], results()[mission.sentences()[name].claim.study]
    runs = [claim.units(row.result, False) for row in rows]
    record, turned = judge_claim(claim, runs), judge_claim(claim, [reverse(r) for r in runs])
    assert record.known == ("below", "above")
    assert turned.known != record.known
    assert [b.outcomes for b in turned.boxes] != [b.outcomes for b in record.boxes]
