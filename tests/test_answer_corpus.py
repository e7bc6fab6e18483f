"""Right and wrong answers by type, half of them held out, and hostile completions: none is paid, none takes long."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from goldpanner.types import Cause, Completion, Outcome, Problem
from goldpanner.verify import Math, Number

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "answers.jsonl").read_text().splitlines()]
VERIFIERS = {"number": Number(), "math": Math()}


def test_the_corpus_is_what_it_says():
    assert len(ROWS) >= 600
    assert len({(row["answer"], row["text"]) for row in ROWS}) == len(ROWS)
    parts = Counter(row["part"] for row in ROWS)
    assert abs(parts["build"] - parts["held-out"]) < 0.02 * len(ROWS)
    golds = {part: {row["answer"] for row in ROWS if row["part"] == part} for part in parts}
    assert not golds["build"] & golds["held-out"], "no right answer is in both halves"
    assert len({row["form"] for row in ROWS}) >= 13
    assert {row["right"] for row in ROWS} == {True, False}


@pytest.mark.parametrize("part", ["build", "held-out"])
@pytest.mark.parametrize("name", VERIFIERS)
def test_every_right_answer_is_read_and_no_wrong_one_is_paid(name, part):
    rows = [row for row in ROWS if row["part"] == part]
    pairs = [(Problem("corpus", "q", row["answer"]), Completion(row["text"])) for row in rows]
    for row, verdict in zip(rows, VERIFIERS[name].judge_many(pairs), strict=True):
        assert verdict.correct == row["right"], (row, verdict)


HOSTILE = [json.loads(line) for line in (Path(__file__).parent / "data" / "hostile.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", VERIFIERS)
def test_no_hostile_completion_is_paid_and_none_takes_long(name):
    assert len(HOSTILE) >= 115
    for answer, text in ((row["answer"], row["text"]) for row in HOSTILE):
        began = time.monotonic()
        verdict = VERIFIERS[name](Problem("t", "q", answer), Completion(text))
        assert not verdict.correct, (answer, text[:100], verdict)
        assert time.monotonic() - began < 8, (answer, text[:100])


def test_a_power_of_ten_does_not_begin_after_a_fraction():
    for text in (r"-\frac1e+1", r"1-\frac1e"):
        assert Number()(Problem("t", "q", r"1-\frac{1}{e}"), Completion(f"\\boxed{{{text}}}")).correct
    assert Number()(Problem("t", "q", "2000"), Completion(r"\boxed{2e3}")).correct
    assert Number()(Problem("t", "q", r"\frac{2000}{7}"), Completion(r"\boxed{\frac{2e3}{7}}")).correct


def test_a_number_beyond_all_bounds_is_no_near_miss_of_a_decimal():
    verdict = Number()(Problem("t", "q", "1.25"), Completion(r"\boxed{1.25 + 9^{9^{9}}}"))
    assert verdict.outcome is Outcome.WRONG or verdict.cause is Cause.MODEL
