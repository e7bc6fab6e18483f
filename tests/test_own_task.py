"""A data file of one's own: who judges it, and that no two verifiers' verdicts are ever counted together."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError
from goldpanner.policies import resolve
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.store import Store
from goldpanner.tasks.catalog import task
from goldpanner.types import Completion
from goldpanner.verify.named import named_verifier

REWARDS = """
def says(prompts, completions, answer, **_):
    return [float(a in text) for text, a in zip(completions, answer)]
def like_trl(completions, solution):
    return [float(right in text) for text, right in zip(completions, solution)]
def half(completions, **_):
    return [0.5] * len(completions)
"""


def call(*arguments, code=0):
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        assert code == 2, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout if "--json" in arguments else result.output


def write(path, answers):
    rows = [{"question": f"Question {i}?", "answer": answer} for i, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Six problems whose answers are numbers, and a policy that answers `scripted:P` in sentences."""

    def talker(name, **_):
        p = float(name.removeprefix("scripted:"))
        return ScriptedPolicy.with_p(p, right=lambda x: {f"I think the answer is {x.answer}.": 1.0}, name=name)

    monkeypatch.setattr(resolve, "load_policy", talker)
    (tmp_path / "rewards.py").write_text(REWARDS)
    return write(tmp_path / "mine.jsonl", range(2, 8))


@pytest.mark.parametrize("text", ["The answer is 2.", "so \\boxed{2}", "2.", " 2"])
def test_a_file_of_numbers_is_judged_by_the_number_that_is_declared(file, text):
    own = task(str(file))
    assert own.verifiers()[0](own.problems(1)[0], Completion(text)).correct


def test_who_judges_depends_on_every_answer_of_the_file(tmp_path):
    def judge(path, columns=None):
        own = task(str(path), columns=columns)
        (verifier,) = own.verifiers()
        assert own.note.startswith(f"judged by {verifier.id.partition('@')[0].partition(':nfkc')[0]} (")
        return verifier.id

    numbers = write(tmp_path / "a.jsonl", [1, "-2.5", "3/4", "1,000", "\\frac{1}{2}"])
    assert judge(numbers) == "number:wrong-if-missing@3+within-1e-06"
    assert task(str(numbers), verifier="math").note == "", "whoever names a verifier needs no note"
    assert judge(write(tmp_path / "b.jsonl", [1, 2, "Paris"])) == "number:wrong-if-missing@3+within-1e-06", "row by row"
    assert judge(write(tmp_path / "b.jsonl", ["Paris", "Rome"])) == "exact:nfkc+spaces@1", "the whole text"
    assert judge(write(tmp_path / "b.jsonl", ["Paris", "x^2"])).startswith("math:wrong-if-missing@4")
    (tmp_path / "c.jsonl").write_text('{"prompt": "?", "final": 3, "answer": "x"}\n')
    assert judge(tmp_path / "c.jsonl", "question=prompt,answer=final") == "number:wrong-if-missing@3+within-1e-06"


def test_it_is_told_who_judges(file):
    words = ("sample", "scripted:1", file, "--store", file.parent / "s", "-n", 4)
    told = call(*words)
    assert "judged by number:wrong-if-missing (every answer is a number); --verifier" in told
    assert "24 samples of 6 problems: 24 correct, 0 unjudged" in told
    assert "judged by number:wrong-if-missing@3+within-1e-06" in told
    named = call(*words, "--verifier", "exact")
    assert "24 stored samples" in named
    assert "every answer" not in named
    assert ": 0 correct, 0 unjudged" in named


def test_another_verifier_judges_what_is_stored_and_draws_nothing_twice(file):
    store = file.parent / "s"
    words = ("sample", "scripted:0.5", file, "--store", store, "--json", "-n")
    exact = json.loads(call(*words, 8, "--verifier", "exact"))
    assert (exact["verifier"], exact["n"], exact["correct"]) == ("exact:nfkc+spaces@1", 48, 0)
    number = json.loads(call(*words, 8))
    assert (number["verifier"], number["n"]) == ("number:wrong-if-missing@3+within-1e-06", 48)
    assert number["unjudged"] == 0
    says = json.loads(call(*words, 12, "--verifier", f"{file.parent}/rewards.py:says"))
    assert says["n"] == 72, "topped up"
    assert len(Store(store).samples()) == 72
    again = json.loads(call(*words, 12))
    assert again["n"] == 72
    assert again["correct"] == says["correct"] > number["correct"]
    fresh = ("sample", "scripted:0.5", file, "--store", file.parent / "fresh", "--json", "-n")
    assert json.loads(call(*fresh, 12)) == again, "as if one verifier had judged from the start"
    assert "say which with verifier= (--verdicts-of)" in call("measure", again["policy"], "--store", store, code=2)


def test_the_next_command_measures_what_was_drawn(file):
    words = ("sample", "scripted:0.5", file, "--store", file.parent / "s", "-n", 8)
    half = ("--verifier", f"{file.parent}/rewards.py:half", "--threshold", 0.5, "--no-rehearsal")
    for more in ((), ("--template", "chat"), half):
        told = call(*words, *more)
        command = shlex.split(told.split("next: goldpanner ")[1])
        assert ("--params" in command, "--verdicts-of" in command) == (bool(more), "--threshold" in more)
        found = json.loads(call(*command, "--json"))
        assert found["samples"] == 48
    assert found["pass_at_k"]["1"]["value"] == 1.0, "the reward's verdicts, not those of the first verifier"
    other = write(file.parent / "other.jsonl", [1, 2, 3])
    assert "--task other" in call("sample", "scripted:0.5", other, "--store", file.parent / "s", "-n", 8)
    measure = ("measure", "scripted:0.5", "--store", file.parent / "s", "--json", "--task")
    assert json.loads(call(*measure, other)) == json.loads(call(*measure, "other")), "a data file is a task here, too"


def test_a_goal_counts_the_verdicts_of_the_verifier_in_use(file):
    words = ("sample", "scripted:1", file, "--store", file.parent / "s", "--json", "--until", "settled")
    exact = json.loads(call(*words, "--verifier", "exact"))
    assert exact["settled"]["rare"] == 6
    number = json.loads(call(*words))
    assert number["settled"]["easy"] == 6
    base = ("sample", "scripted:0.0", file, "--store", file.parent / "s", "--json", "-n", 64, "--verifier", "exact")
    call(*base)
    against = ("sample", "scripted:1", file, "--store", file.parent / "s", "--json", "--until", "settled")
    same = json.loads(call(*against, "--against", "scripted:0.0", "--verifier", "exact"))
    assert same["settled"]["no material change"] == 6, "whole texts: both are never right"
    risen = json.loads(call(*against, "--against", "scripted:0.0", "--verifier", "number:wrong-if-missing"))
    assert risen["settled"]["rose"] == 6, "the base's samples are judged by the same verifier"


def test_models_judged_by_different_verifiers_are_not_compared(file):
    store = ("--store", file.parent / "s")
    call("sample", "scripted:0.2", file, *store, "-n", 8, "--verifier", "exact")
    call("sample", "scripted:0.9", file, *store, "-n", 8)
    compared = ("compare", "scripted:0.2", "scripted:0.9", *store)
    assert "judged by exact:nfkc+spaces@1, RL (scripted:0.9) by number:wrong-if-missing@3+within-1e-06" in call(
        *compared, code=2
    )
    call("sample", "scripted:0.2", file, *store, "-n", 8)
    assert "RL is better" in call(*compared, "--verdicts-of", "number:wrong-if-missing@3+within-1e-06")


@pytest.mark.parametrize("drawn_by", ["exact", "number:wrong-if-missing"])
def test_origins_are_told_from_the_verdicts_that_are_counted_alone(file, drawn_by):
    store = Store(file.parent / "s")
    ids = []
    for p in (0.0, 0.7):
        words = ("sample", f"scripted:{p}", file, "--store", store.root, "-n", 40, "--json")
        call(*words, "--verifier", drawn_by)
        ids.append(json.loads(call(*words, "--verifier", "number:wrong-if-missing"))["policy"])
    store.append_scores(ids[0], [(sample, -1.0) for sample in store.samples(policy=ids[1])])
    counted = ("--verdicts-of", "number:wrong-if-missing@3+within-1e-06")
    found = json.loads(call("compare", *ids, "--store", store.root, *counted, "--json"))
    assert len(found["origin"]) == (0 if drawn_by == "exact" else 6), "all six are gained"


def test_a_reward_function_finds_the_answer_under_the_name_of_its_column(file):
    file.write_text(file.read_text().replace('"answer"', '"solution"'))
    words = (
        "sample",
        "scripted:1",
        file,
        "--columns",
        "answer=solution",
        "--store",
        file.parent / "s",
        "-n",
        4,
        "--json",
    )
    found = json.loads(call(*words, "--verifier", f"{file.parent}/rewards.py:like_trl"))
    assert (found["n"], found["correct"]) == (24, 24)


def test_mistakes_say_what_to_do(file, monkeypatch):
    words = ("sample", "scripted:1", file, "--store", file.parent / "s", "-n", 4)
    assert "no verifier is called 'numbr'" in call(*words, "--verifier", "numbr", code=2)
    assert "has no function 'nope'; there are says, like_trl, half" in call(
        *words, "--verifier", f"{file.parent}/rewards.py:nope", code=2
    )
    assert "number is none; leave it out" in call(*words, "--verifier", "number", "--threshold", 0.5, code=2)
    assert "name it with --verifier" in call(*words, "--threshold", 0.5, code=2)
    assert "is a data file itself" in call(*words, "--data", file, code=2)
    half = ("--verifier", f"{file.parent}/rewards.py:half")
    assert "neither 0 nor 1; name a threshold" in call(*words, *half, code=2)
    assert "neither 0 nor 1; name a threshold" in call(*words, *half, "--no-rehearsal")
    monkeypatch.chdir(file.parent)
    for nothing in ("nosuch.jsonl", "./nosuch", "/nosuch/place"):
        assert "there is no such file" in call("sample", "scripted:1", nothing, *words[3:], code=2)
    refused = call("sample", "scripted:1", "my-set/test", *words[3:], code=2)
    assert "no data lies there; did you mean" in refused
    assert len(refused) < 200
    with pytest.raises(InputError, match="no verifier is called"):
        named_verifier("gsm8k/test")


def test_a_policys_name_in_the_store_comes_before_a_file(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    (file.parent / "scripted:0.5").mkdir()
    call("sample", "scripted:0.5", file, "--store", "s", "-n", 8)
    assert json.loads(call("measure", "scripted:0.5", "--store", "s", "--json"))["samples"] == 48
    assert "folder" in call("measure", "scripted:0.5", code=2), "without a store it is the folder"
