"""`verify-check` and what `measure` makes of it: rates of known verifiers, forms named, mistakes told."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import GoldpannerError

runner = CliRunner()


def call(*arguments, code=0):
    result = runner.invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        assert code == 2, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def checks(*arguments):
    return json.loads(call("verify-check", *arguments, "--problems", 8, "--json"))["checks"]


def test_rates_per_form_with_intervals():
    (strict,) = checks("arithmetic/add-2d2d", "--verifier", "number")
    assert strict["false_positive"]["value"] == strict["false_negative"]["value"] == 0.0
    assert 0 < strict["false_positive"]["high"] < 0.02
    (lenient,) = checks("number:flexible")
    failing = [form for form in lenient["forms"] if not form["right"] and form["errors"]["value"]]
    assert [form["form"] for form in failing] == ["hidden in prose, last"]
    assert failing[0]["errors"]["low"] < 1.0 == failing[0]["errors"]["high"]
    text = call("verify-check", "number:flexible", "--problems", 8)
    assert "[63%, 100%] of 8 'hidden in prose, last'" in text


def test_the_forms_that_are_not_read_are_named(tmp_path: Path):
    code = tmp_path / "mine.py"
    code.write_text(
        "def some(completions, **_):\n    return [None if 'x =' in text else 1.0 for text in completions]\n"
    )
    assert "forms not read: 'equation' (8 of 8)" in call("verify-check", f"{code}:some", "--problems", 8)


def test_a_function_that_judges_nothing_is_told_with_its_reason(tmp_path: Path):
    code = tmp_path / "mine.py"
    code.write_text(
        "import sys\nimport numpy as np\n"
        "def bad(prompts, **_):\n    raise ValueError('boom')\n"
        "def array(prompts, **_):\n    return np.ones(len(prompts))\n"
        "def leaves(prompts, **_):\n    sys.exit(3)\n"
        "def some(completions, **_):\n    return [1.0 if 'x' in text else None for text in completions]\n"
    )
    for name, reason in (("bad", "ValueError: boom"), ("array", "returned ndarray"), ("leaves", "SystemExit: 3")):
        told = call("verify-check", f"{code}:{name}", "--problems", 8, code=2)
        assert "judged none of" in told
        assert reason in told
    assert "of these: the reward is None: not applicable" in call("verify-check", f"{code}:some", "--problems", 8)
    (found,) = checks(f"{code}:some")
    assert list(found["unread_because"]) == ["the reward is None: not applicable"]


def test_a_data_file_is_checked_with_the_verifier_that_judges_it(tmp_path: Path):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"question": f"{i}?", "answer": i}) + "\n" for i in range(8)))
    (found,) = checks(file)
    assert (found["verifier"], found["tasks"]) == ("number:wrong-if-missing@3+within-1e-06", ["mine"])


@pytest.mark.parametrize("task", ["world/d2", "countdown/3", "column-addition/2d"])
def test_tasks_judged_by_the_whole_text_pass_their_worked_answers(task):
    for found in checks(task):
        assert found["tasks"] == [task]
        assert found["false_negative"]["value"] == 0.0
        assert found["unread"]["value"] == 0.0


def test_a_function_of_ones_own_and_a_corpus_of_ones_own(tmp_path: Path):
    code = tmp_path / "mine.py"
    code.write_text("def yes(completions, **_):\n    return [1.0] * len(completions)\n")
    (found,) = checks(f"{code}:yes")
    assert (found["false_positive"]["value"], found["false_negative"]["value"]) == (1.0, 0.0)
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"answer": "4", "text": "The answer is 4.", "right": True}, {"answer": "4", "text": "5", "right": False}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (found,) = checks("gsm8k/test", "--cases", corpus)
    assert found["errors"] == {"false_positive": 0, "wrong": 1, "false_negative": 0, "right": 1}
    (found,) = checks("number", "--cases", corpus)
    assert found["verifier"] == "number@3+within-1e-06"


def test_what_is_kept_corrects_what_is_measured(tmp_path: Path):
    drawn = ("--store", tmp_path, "-n", 16, "--problems", 12)
    call("sample", "scripted:0.3", "arithmetic/add-2d2d", *drawn, "--no-rehearsal")
    missing = call("measure", "scripted:0.3", "--store", tmp_path, "--checked", code=2)
    assert "verify-check arithmetic/add-2d2d" in missing
    text = call("verify-check", "arithmetic/add-2d2d", "--store", tmp_path)
    by_hand = text.split(f"--store {tmp_path} ")[1].split()
    taken = json.loads(call("measure", "scripted:0.3", "--store", tmp_path, "--checked", "--json"))
    given = json.loads(call("measure", "scripted:0.3", "--store", tmp_path, *by_hand, "--json"))
    assert taken["verifier_corrected"]
    call("sample", "scripted:0.3", "arithmetic/add-2d2d", "--store", tmp_path / "other", "-n", 4, "--problems", 12)
    quick = json.loads(call("measure", "scripted:0.3", "--store", tmp_path / "other", "--checked", "--json"))
    assert quick["verifier_corrected"], "the rehearsal before the sampling is kept, too"
    assert taken == given


def test_mistakes(tmp_path: Path):
    assert "did you mean" in call("verify-check", "numbr", code=2)
    assert "leave out --verifier" in call("verify-check", "number", "--verifier", "exact", code=2)
    assert "no verifier is called" in call("verify-check", "world/d2", "--verifier", "numbr", code=2)
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("")
    assert "no task is called" in call("verify-check", "numbr", "--cases", corpus, code=2)
    assert "there is no case" in call("verify-check", "number", "--cases", corpus, code=2)
    counts = tmp_path / "counts.jsonl"
    counts.write_text('{"id": "a", "n": 4, "c": 1}\n')
    assert "is a file" in call("measure", counts, "--checked", code=2)


def test_sampling_until_settled_says_where_everything_stands(tmp_path: Path):
    drawn = ("--store", tmp_path, "--problems", 12, "--json")
    found = json.loads(call("sample", "scripted:0.4", "world/d2", *drawn, "--until", "settled"))
    assert found["settled"] == {"rare": 0, "reachable": 12, "easy": 0, "open": 0}
    assert found["open"] == 0
    assert found["n"] < 12 * 64
    again = json.loads(call("sample", "scripted:0.4", "world/d2", *drawn, "--until", "settled"))
    assert again == found
    more = json.loads(call("sample", "scripted:0.4", "world/d2", *drawn, "--group", 16, "--budget", 5))
    assert (more["n"], sum(more["settled"].values())) == (found["n"], 12), (
        "the budget is of all samples, these included"
    )
    narrow = json.loads(call("sample", "scripted:0.4", "world/d2", *drawn, "--until", "halfwidth<0.1", "-n", 70))
    assert (narrow["n"], narrow["open"]) == (840, 12)
    few = json.loads(call("sample", "scripted:0.4", "world/d1", *drawn, "--budget", 40))
    assert (few["n"], few["problems"], few["open"]) == (40, 3, 12)
    assert "write settled, or halfwidth" in call("sample", "scripted:0.4", "world/d1", *drawn, "--until", "x", code=2)
