"""Attacks on the verdict, by verifier and kind: none is paid. Right answers that look like them: each is."""

import json
from collections import Counter
from pathlib import Path

import pytest

from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify import ChainAnswer, Code, Countdown, Exact, Limits, Math, Number, Verifier

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "attacks.jsonl").read_text().splitlines()]
ANSWERS: dict[str, Verifier] = {"number": Number(), "math": Math()}
OTHERS: dict[str, Verifier] = {"exact": Exact(), "countdown": Countdown(), "chain": ChainAnswer()}
LAYOUTS: dict[str, list[object]] = {
    "calls": [{"call": "add", "args": [1, 2], "returns": 3}, {"call": "add", "args": [3, 4], "returns": 7}],
    "asserts": ["assert add(1, 2) == 3", "assert add(3, 4) == 7"],
    "check": ["def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(3, 4) == 7\n\ncheck(add)"],
    "iterating": ["assert all(map(lambda pair: add(*pair) == sum(pair), [(1, 2), (3, 4)]))"],
    "unittest": [
        "import unittest\n\nclass TestAdd(unittest.TestCase):\n    def test_add(self):\n"
        "        self.assertEqual(add(1, 2), 3)\n        self.assertEqual(add(3, 4), 7)\n"
    ],
    "pytest": [
        "import pytest\n\ndef test_add():\n    assert add(1, 2) == pytest.approx(3)\n    assert add(3, 4) == 7\n"
    ],
    "script": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "3 4\n", "stdout": "7\n"}],
}
"""Tests of programs that add two numbers."""


def rows(verifier):
    return [row for row in ROWS if row["verifier"] == verifier]


def check(row, verdict: Verdict):
    assert verdict.correct == row["right"], (row, verdict)


def test_the_corpus_is_what_it_says():
    assert len({(row["verifier"], row["answer"], row["text"]) for row in ROWS}) == len(ROWS)
    attacks = Counter(row["verifier"] for row in ROWS if not row["right"])
    assert attacks.total() >= 700
    assert set(attacks) == {"answer", "code", *OTHERS}
    assert sum(row["right"] for row in ROWS) >= 150
    assert len({row["kind"] for row in ROWS}) >= 20


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name):
    chosen = rows("answer")
    pairs = [(Problem("attack", "q", row["answer"]), Completion(row["text"])) for row in chosen]
    for row, verdict in zip(chosen, ANSWERS[name].judge_many(pairs), strict=True):
        check(row, verdict)


@pytest.mark.parametrize("name", OTHERS)
def test_other_texts(name):
    for row in rows(name):
        problem = Problem("attack", "q", row["answer"], {"numbers": [3, 5, 7], "target": 26})
        check(row, OTHERS[name](problem, Completion(row["text"])))


@pytest.fixture(scope="module")
def code():
    return Code(Limits(seconds=1, memory_mb=256), workers=2)


def test_programs(code):
    chosen = rows("code")
    pairs = [(Problem("attack", "q", "", {"tests": LAYOUTS[row["answer"]]}), Completion(row["text"])) for row in chosen]
    for row, verdict in zip(chosen, code.judge_many(pairs), strict=True):
        check(row, verdict)
        if verdict.outcome is Outcome.UNJUDGED:
            assert verdict.cause is Cause.MODEL, (row, verdict)
