"""The tables of docs/verifiers.md, executed."""

import re
from pathlib import Path

import pytest

from goldpanner.types import Completion, Problem, Verdict
from goldpanner.verify import ChainAnswer, Countdown, Exact, Math, Number, Verifier
from goldpanner.verify.references import right_answer

TEXT = (Path(__file__).parent.parent / "docs" / "verifiers.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([^`|]*)\| `([^`]+)` \| `([^`]+)` \| ([A-Z]+)(?:, (ours|model))? \|$", re.MULTILINE)
TYPED = ROW.findall(TEXT)
ALGEBRA = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| ([A-Z]+) \|$", TEXT, re.MULTILINE)
OTHERS = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| `([^`]+)` \| ([A-Z]+)(?:, (ours|model))? \|$", TEXT, re.MULTILINE)


def said(verdict: Verdict) -> tuple[str, str]:
    return str(verdict.outcome).upper(), str(verdict.cause or "")


@pytest.mark.parametrize(("_", "right", "answer", "outcome", "cause"), TYPED)
def test_what_is_accepted_by_type(_: str, right: str, answer: str, outcome: str, cause: str) -> None:
    for verifier in (Number(), Math()):
        verdict = verifier(Problem("t", "q", right), Completion(f"\\boxed{{{answer}}}"))
        assert said(verdict) == (outcome, cause), verdict


def test_every_type_has_its_rows() -> None:
    kinds = {found.type for _, right, *_ in TYPED if (found := right_answer(right)) is not None}
    assert kinds == {
        *("number", "formula", "option", "text", "date or time", "interval"),
        *("list", "set", "tuple", "matrix", "equation"),
    }
    assert len(TYPED) > 80


def test_what_takes_a_computer_algebra_system() -> None:
    assert len(ALGEBRA) == 3
    for right, answer, outcome in ALGEBRA:
        completion = Completion(f"\\boxed{{{answer}}}")
        assert said(Math(seconds=10)(Problem("t", "q", right), completion)) == (outcome, "")
        assert said(Number()(Problem("t", "q", right), completion)) == ("UNJUDGED", "ours")


def test_the_other_verifiers() -> None:
    known: dict[str, Verifier] = {"Exact": Exact(), "Countdown": Countdown(), "ChainAnswer": ChainAnswer()}
    assert {name for name, *_ in OTHERS} == set(known)
    for name, right, text, outcome, cause in OTHERS:
        problem = Problem("t", "q", right, {"numbers": [3, 5], "target": 8})
        assert said(known[name](problem, Completion(text))) == (outcome, cause), (name, text)
