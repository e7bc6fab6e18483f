"""`judge`: a second verifier on what is stored, where it disagrees, and nothing drawn or judged twice."""

import json

import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.sampling.collect import collect
from goldpanner.sampling.goal import Goal
from goldpanner.sampling.second_judge import judge_again
from goldpanner.store import Store
from goldpanner.tasks.catalog import task
from goldpanner.types import Outcome
from goldpanner.verify import Exact, Number


def call(*arguments):
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        return str(result.exception)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def store(tmp_path):
    """Half of the answers are right, half of these in a sentence: `exact` fails them, `number` does not."""
    place = Store(tmp_path / "s")

    def said(problem):
        return {problem.answer: 0.5, f"The answer is {problem.answer}.": 0.5}

    policy = ScriptedPolicy.with_p(0.5, right=said, name="talker")
    collect(policy, task("arithmetic/add-1d1d"), place, Goal(most=24), problems=6)
    return place


def test_it_judges_what_is_stored_and_says_where_the_two_differ(store):
    n = len(store.samples())
    result = judge_again(store, Exact())
    assert (result.new, sum(sum(row.values()) for row in result.table.values())) == (n, n)
    sentences = sum("answer" in s.completion.text and s.verdict.correct for s in store.samples())
    assert result.table[Outcome.CORRECT][Outcome.WRONG] == len(result.disagreements) == sentences > 10
    assert all(each.outcomes == (Outcome.CORRECT, Outcome.WRONG) for each in result.disagreements)
    assert len(store.samples()) == n
    again = judge_again(store, Exact())
    assert (again.new, again.table) == (0, result.table)
    assert [each.to_json() for each in again.disagreements] == [each.to_json() for each in result.disagreements]
    counts = store.counts(store.samples()[0].policy, verifier=Exact().id)
    assert counts.c.sum() == sum(row[Outcome.CORRECT] for row in result.table.values())


def test_the_table_and_the_texts_are_printed(store):
    text = call("judge", store.root, "--verifier", "exact", "--show", 2)
    assert "144 completions, " in text
    assert "A = number:wrong-if-missing@3+within-1e-06\nB = exact:nfkc+spaces@1" in text
    assert text.count("right answer:") == 2
    assert "  A correct   '" in text
    assert "B wrong     'The answer is " in text
    assert "more: --show" in text
    record = json.loads(call("judge", store.root, "talker", "--verifier", "exact", "--json"))
    assert record["new"] == 0
    assert set(record["table"]) == {"correct", "wrong", "unjudged"}
    first = record["disagreements"][0]
    assert first["text"] == f"The answer is {first['answer']}."
    assert first["first"]["extracted"] == first["answer"]


def test_what_cannot_be_judged_again(store, tmp_path):
    with pytest.raises(InputError, match="no completion that another verifier than number:wrong-if-missing"):
        judge_again(store, Number(missing="wrong"))
    assert "no verifier is called" in call("judge", store.root, "--verifier", "numbr")
    assert "there is no store" in call("judge", tmp_path / "none", "--verifier", "exact")
    assert "no completion that another verifier" in call("judge", store.root, "--verifier", "exact", "--task", "nope")


def test_unjudged_against_judged_comes_last(store):
    def half(completions, **_):
        return [None if "answer" in text else float(text == "7") for text in completions]

    from goldpanner.verify import Reward

    result = judge_again(store, Reward(half))
    silent = [Outcome.UNJUDGED in each.outcomes for each in result.disagreements]
    assert silent == sorted(silent)
    assert 0 < sum(silent) < len(silent)


def test_pass_at_k_where_a_further_verifier_agrees_stands_beside(store):
    """A verifier of the way to the answer, say: the process beside the outcome."""
    assert json.loads(call("measure", store.root, "--json"))["confirmed"] == {}
    table = judge_again(store, Exact()).table
    found = json.loads(call("measure", store.root, "--json"))["confirmed"][Exact().id]
    assert found["1"]["value"] == pytest.approx(table[Outcome.CORRECT][Outcome.CORRECT] / 144)
    assert found["24"]["value"] > found["1"]["value"]
    compared = json.loads(call("compare", "talker", "talker", "--store", store.root, "--json"))["corrected"]
    assert {row["what"] for row in compared} == {
        f"where {Exact().id} agrees",
        "less lucky guesses, by its answers to other problems",
    }
    alone = json.loads(call("measure", store.root, "--json"))["less_own_guesses"]
    guessed = {row["k"]: row["base"]["value"] for row in compared if row["what"].startswith("less")}
    assert guessed == {int(k): pytest.approx(e["value"]) for k, e in alone.items()}
