"""Verifiers: three states, never an exception, a reason for everything that is not CORRECT."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import ChainAnswer, ChainProcess, Exact, Verifier

CHAIN = "oak c a t river k e i"
PROBLEM = Problem("world/d2", "Q oak river f q b", "k e i", {"chain": CHAIN, "depth": 2})
ANSWER, PROCESS, EXACT = ChainAnswer(), ChainProcess(), Exact()
GSM = Exact(("nfkc", "spaces", "commas", "period"), r"####(.*)")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
texts = st.text() | st.lists(st.sampled_from([*"abckei", "oak", "river", "hmm", "####"])).map(" ".join)


def judge(verifier: Verifier, text: str, problem: Problem = PROBLEM, **completion: Any):
    return verifier(problem, Completion(text, **completion))


def test_canonical_chain_is_correct_for_both() -> None:
    for verifier in (ANSWER, PROCESS):
        verdict = judge(verifier, CHAIN)
        assert verdict.correct
        assert verdict.extracted == "k e i"
        assert verdict.verifier == verifier.id
        assert not verdict.reason


@pytest.mark.parametrize("text", ["k e i", "hmm hmm k e i", "oak c a x river k e i", "river k e i"])
def test_lucky_answer_by_another_route_shows_as_the_difference(text: str) -> None:
    assert judge(ANSWER, text).correct
    verdict = judge(PROCESS, text)
    assert verdict.outcome is Outcome.WRONG
    assert verdict.reason.endswith("the answer is right all the same")


@pytest.mark.parametrize(
    ("text", "extracted", "answer_reason", "process_reason"),
    [
        ("oak c a t", "c a t", "expected 'k e i'", "stopped after step 1 of 2"),
        ("oak c a t river k e x", "k e x", "expected 'k e i'", "step 2: expected 'river k e i', found 'river k e x'"),
        ("oak c a t river k e i oak a a a", "a a a", "expected 'k e i'", "went on after step 2, the last"),
        (
            "oak c a t river k e i i",
            "k e i i",
            "expected 'k e i'",
            "step 2: expected 'river k e i', found 'river k e i i'",
        ),
        ("oak c a t river", None, "no state at the end", "step 2: expected 'river k e i', found 'river'"),
        ("", None, "no state at the end", "stopped after step 0 of 2"),
    ],
)
def test_wrong_says_where(text: str, extracted: str | None, answer_reason: str, process_reason: str) -> None:
    for verifier, reason in ((ANSWER, answer_reason), (PROCESS, process_reason)):
        verdict = judge(verifier, text)
        assert verdict.outcome is Outcome.WRONG
        assert (verdict.extracted, verdict.reason) == (extracted, reason)


@pytest.mark.parametrize("verifier", [ANSWER, PROCESS, EXACT, GSM])
def test_cut_completion_is_wrong_and_says_so(verifier: Verifier) -> None:
    verdict = judge(verifier, CHAIN, finish="length")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.reason == "cut at max_tokens: no answer"


@pytest.mark.parametrize("verifier", [ANSWER, PROCESS, EXACT, GSM])
def test_failed_policy_is_unjudged(verifier: Verifier) -> None:
    verdict = judge(verifier, "HTTP 503", finish="error")
    assert verdict.outcome is Outcome.UNJUDGED
    assert "HTTP 503" in verdict.reason


def test_problem_without_what_a_verifier_needs_is_unjudged() -> None:
    for verifier, problem in (
        (ANSWER, Problem("t", "p", "")),
        (ANSWER, Problem("t", "p", "forty two")),
        (PROCESS, Problem("t", "p", "k e i")),
        (PROCESS, Problem("t", "p", "k e i", {"chain": 7})),
        (EXACT, Problem("t", "p", "  ")),
    ):
        verdict = judge(verifier, CHAIN, problem)
        assert verdict.outcome is Outcome.UNJUDGED
        assert verdict.reason.startswith("the problem has no")


@settings(deadline=None)
@given(texts, texts, st.dictionaries(st.sampled_from(["chain", "depth", "x"]), json_values) | json_values)
def test_never_raises_and_always_says_why(text: str, answer: str, meta: Any) -> None:
    for verifier in (ANSWER, PROCESS, EXACT, GSM):
        for finish in ("stop", "length", "error"):
            verdict = verifier(Problem("t", "p", answer, meta), Completion(text, finish=finish))
            assert verdict.outcome in Outcome
            assert verdict.correct == (verdict.reason == "")


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"abc", "oak", "river"]), min_size=1).map(" ".join), texts)
def test_process_is_stricter_than_answer(chain: str, text: str) -> None:
    state = chain.split()[-1]
    problem = Problem("t", "p", state, {"chain": f"{chain} oak {state}"} if len(state) == 1 else {})
    if judge(PROCESS, text, problem).correct:
        assert judge(ANSWER, text, problem).correct


def test_exact_match_normalises_as_its_id_says() -> None:
    problem = Problem("t", "p", "1,234")
    assert judge(GSM, "so 1,000 + 234\n#### 1234.", problem).correct
    assert judge(GSM, "#### 7 #### no\n####  １２３４", problem).correct, (
        "the last match counts; NFKC folds wide digits"
    )
    assert judge(GSM, "#### 1235", problem).outcome is Outcome.WRONG
    assert GSM.id.startswith("exact:nfkc+spaces+commas+period:")
    assert GSM.id != Exact(GSM.steps, r"answer: (.*)").id
    assert EXACT.id == "exact:nfkc+spaces@1"
    assert not judge(EXACT, "paris", Problem("t", "p", "Paris")).correct
    assert judge(Exact(("casefold",)), "PARIS", Problem("t", "p", "Paris")).correct


def test_answer_that_cannot_be_read_is_unjudged_not_wrong() -> None:
    verdict = judge(GSM, "I think it is 1234", Problem("t", "p", "1234"))
    assert verdict.outcome is Outcome.UNJUDGED
    assert "####" in verdict.reason


def test_exact_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match="no normalisation is called 'lower'"):
        Exact(("lower",))
    with pytest.raises(InputError, match="does not compile"):
        Exact(pattern="(")


def test_they_are_verifiers() -> None:
    assert all(isinstance(verifier, Verifier) for verifier in (ANSWER, PROCESS, EXACT))
