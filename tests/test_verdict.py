"""The story's verdict follows the numbers: opposite data, opposite words; the same data, the same words."""

import numpy as np
import pytest

from goldpanner.runs import conclude
from goldpanner.runs.cells import Measured, agreement, exact_gap
from goldpanner.types import Counts, Problem

TASK, SIZE, N = "world/d1", 120, 256


def measured(p, seed):
    """A stage whose exact P are `p` and whose counts were drawn from them."""
    ids = [f"p{i:03}" for i in range(len(p))]
    c = np.random.default_rng(seed).binomial(N, p)
    counts = Counts.of([N] * len(p), c, ids)
    logp = {TASK: dict(zip(ids, np.log(np.maximum(p, 1e-60))))}
    return Measured({TASK: counts}, {TASK: counts}, logp)


def paragraph(before, after):
    base, rl = measured(before, 3), measured(after, 4)
    arm = conclude.Arm.of("base", "rl", [TASK], {"base": base, "rl": rl})
    return conclude.headline(arm), conclude.arm_paragraph(arm), arm.comparison.verdict


REACHED = np.r_[np.full(80, 0.3), np.full(40, 1e-9)]


def test_mass_moved_onto_what_was_there_is_sharpening():
    headline, text, word = paragraph(REACHED, np.r_[np.full(80, 0.95), np.full(40, 1e-9)])
    assert word == "sharpened"
    assert "sharpened what was there" in headline
    assert "pass@1 0.20 → 0.63" in headline
    assert "0 of the 40 problems that stood below P = 1e-06" in text


def test_new_problems_solved_is_expansion():
    headline, text, word = paragraph(REACHED, np.full(120, 0.9))
    assert word == "expanded"
    assert "expanded the boundary" in headline
    assert "40 of the 40 problems that stood below P = 1e-06" in text


def test_problems_lost_are_not_called_sharpening_alone():
    headline, _, word = paragraph(REACHED, np.r_[np.full(40, 0.3), np.full(80, 1e-9)])
    assert "narrowed" in word
    assert "narrowed the boundary" in headline


def test_gains_against_losses_leave_the_curves_where_they_were():
    headline, _, word = paragraph(REACHED, np.r_[np.full(40, 1e-9), np.full(80, 0.3)])
    assert word == "no difference shown"
    assert "no difference to pass@k" in headline


def test_better_once_and_lower_with_many_tries_is_both():
    headline, _, word = paragraph(REACHED, np.r_[np.full(60, 0.95), np.full(60, 1e-9)])
    assert word == "sharpened and narrowed"
    assert "sharpened what was there and narrowed the boundary" in headline


def test_nothing_done_is_nothing_shown():
    headline, _, word = paragraph(REACHED, REACHED)
    assert word == "no difference shown"
    assert "made no difference" in headline


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (np.full(9, 0.1), np.full(9, 0.9), "base reaches with k = 22 samples"),
        (np.full(9, 1e-9), np.full(9, 0.9), "more than base reaches with k = 1,000,000"),
        (np.r_[np.full(5, 0.3), np.full(4, 0.01)], np.r_[np.full(5, 0.9), np.full(4, 1e-9)], "on base is ahead"),
        (np.full(9, 0.1), np.full(9, 0.9), "no k up to 1e6 puts base ahead"),
        (np.full(9, 0.4), np.full(9, 0.1), "not above that of base"),
        (np.full(9, 0.4), np.full(9, 0.4), "not above that of base"),
    ],
)
def test_equivalent_k_and_crossover_of_exact_curves(before, after, says):
    assert says in conclude.equivalent_sentence(np.log(before), np.log(after), "base")


def test_why_problems_were_not_reached():
    ids = [f"p{i:03}" for i in range(SIZE)]
    weakest = [0.99] * 80 + [0.0] * 40
    problems = {i: Problem(TASK, i, "a", {"weakest": w}) for i, w in zip(ids, weakest)}
    text = conclude.unreached_paragraph("rl", [TASK], measured(REACHED, 0), problems)
    assert "40 of 120" in text
    assert "100% of them need a fact" in text
    assert "of the reached ones 0% do" in text
    plain = {i: Problem(TASK, i, "a") for i in ids}
    assert "need a fact" not in conclude.unreached_paragraph("rl", [TASK], measured(REACHED, 0), plain)


def test_agreement_is_found_and_its_absence_too():
    honest = {"base": measured(REACHED, 3)}
    assert conclude.agreement_paragraph(agreement(honest)).startswith("Sampled and exact agree")
    stage = measured(REACHED, 3)
    wrong = Measured(stage.counts, stage.process, {TASK: {i: lp - 1.0 for i, lp in stage.logp[TASK].items()}})
    assert conclude.agreement_paragraph(agreement({"base": wrong})).startswith("Sampled and exact DISAGREE")


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    p = 0.98 * rng.beta(0.5, 0.5, 400)
    found = exact_gap(np.log(p), np.log(p + 0.01 * rng.uniform(0.5, 1.5, 400)), 1)
    assert found.low <= 0.01 <= found.high
    assert found.high - found.low < 0.003, "the same problems before and after: their spread cancels"
