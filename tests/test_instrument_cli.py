"""`measure`, `compare` and `plan` as a stranger tries them: odd names, logs judged anew, refusals."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from goldpanner.errors import InputError
from goldpanner.store import Store
from goldpanner.store.find import find_policy
from goldpanner.store.schema import PolicyRecord
from test_cli import application, call, is_estimate, runner, write_counts

FIXTURES = Path(__file__).parent / "interop" / "fixtures"


def words(*arguments):
    """What a command says, whatever the width of the terminal."""
    return " ".join(call(*arguments).split())


def lm_eval_log(folder, target, texts):
    row = {
        "doc_id": 0,
        "doc": {},
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": "How many?", "arg_1": {"do_sample": True}}},
        "resps": [texts],
        "filtered_resps": [texts[0]],
        "filter": "none",
        "metrics": ["exact_match"],
        "exact_match": 1.0,
    }
    path = folder / "samples_toy_2026-01-01T00-00-00.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


@pytest.mark.parametrize("target", ["18", "16 - 3 = 13.\nThen 13 + 5.\n#### 18"])
@pytest.mark.parametrize(
    ("verifier", "correct", "unjudged"),
    [("exact", 0, 0), ("number", 2, 1), ("math", 2, 1), ("math:wrong-if-missing", 2, 0)],
)
def test_a_log_is_judged_anew_by_the_verifier_that_is_named(tmp_path, target, verifier, correct, unjudged):
    if verifier.startswith("math"):
        pytest.importorskip("math_verify")
    texts = ["So 13 + 5.\nThe answer is 18.", "Well,\n#### 18.0", "The answer is 17.", "No idea.\nNone at all."]
    report = json.loads(call("import", lm_eval_log(tmp_path, target, texts), "--rescore", verifier, "--json"))
    assert (report["samples"], report["correct"], report["unjudged"]) == (4, correct, unjudged)


def test_a_log_is_judged_anew_by_a_function_of_ones_own(tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text(
        "def right(completions, answer, **kwargs):\n    return [float(a in c) for c, a in zip(completions, answer)]\n"
    )
    log = lm_eval_log(tmp_path, "18", ["it is 18", "it is 7"])
    assert json.loads(call("import", log, "--rescore", f"{reward}:right", "--json"))["correct"] == 1


def test_judging_anew_without_a_right_answer_or_a_known_verifier_is_refused():
    log = FIXTURES / "trl" / "every_step" / "completions_00001.parquet"
    assert "does not say the right answer" in call("measure", log, "--rescore", "exact", code=2)
    assert "no verifier is called 'gold'; give number," in call("measure", log, "--rescore", "gold", code=2)


def test_names_from_a_file_are_shown_as_they_are_and_cannot_format_the_terminal(tmp_path):
    names = ["[/b]", "[red]x", "a\x1b[31mb", "two\nlines", "日本"]
    file = tmp_path / "[b]x[b].jsonl"
    file.write_text("".join(json.dumps({"id": name, "n": 16, "c": 4 * i}) + "\n" for i, name in enumerate(names)))
    shown = ("[/b]", "[red]x", "a\ufffd[31mb", "two\ufffdlines", "日本")
    text = call("measure", file)
    assert text.startswith("[b]x[b]: 5 problems")
    assert all(name in text for name in shown)
    assert all(name in call("plan", file) for name in shown)
    call("compare", file, file)
    solved = tmp_path / "rl.jsonl"
    solved.write_text("".join(json.dumps({"id": name, "n": 16, "c": 16}) + "\n" for name in names))
    assert "rose: 3 of 3, the largest changes first problem base RL [/b] 0/16 16/16" in words("compare", file, solved)


def test_plan_advises_by_what_it_found_and_says_what_its_classes_are(tmp_path):
    right, wrong = (write_counts(tmp_path / f"{c}.jsonl", [16] * 20, [c] * 20) for c in (16, 0))
    assert "few groups would be mixed. Harder problems." in words("plan", right)
    assert "SFT first, or easier problems" in words("plan", wrong)
    mixed = write_counts(
        tmp_path / "mixed.jsonl",
        [16] * 20,
        range(17),
    )
    thresholds = json.loads(call("plan", mixed, "--json"))["thresholds"]
    assert f"{thresholds['later_below']:.4g} {thresholds['solved_above']:.4g}" in words("plan", mixed)


def test_a_page_is_not_about_support_unless_asked(tmp_path):
    (tmp_path / "results.jsonl").write_text((FIXTURES / "verifiers" / "results.jsonl").read_text())
    meta = json.loads((FIXTURES / "verifiers" / "metadata.json").read_text())
    meta["sampling_args"]["top_p"] = 0.9
    (tmp_path / "metadata.json").write_text(json.dumps(meta))
    page, log = tmp_path / "page.html", tmp_path / "results.jsonl"
    assert "not reached within n" not in words("measure", log, "--html", page)
    assert "top_p = 0.9" in page.read_text()
    assert "were not reached" not in page.read_text()
    assert "not reached within n" in words("measure", log, "--html", page, "--allow-truncated-sampling")
    assert "were not reached" in page.read_text()
    assert "shown nevertheless, as asked" in page.read_text()


def test_what_a_log_lacks_is_said_where_it_is_measured_too():
    result = runner.invoke(application(), ["measure", str(FIXTURES / "trl" / "every_step"), "--step", "1", "--json"])
    assert json.loads(result.stdout)["problems"] == 2
    assert "skipped 24: not of training step 1" in result.stderr
    assert "warning: TRL writes this log" in result.stderr


def test_an_inspect_log_holds_the_tasks_that_were_asked_for(tmp_path):
    pytest.importorskip("inspect_ai")
    store = tmp_path / "store"
    for task in ("arithmetic/add-1d1d", "arithmetic/add-2d2d"):
        call("sample", "scripted:0.5", task, "--store", store, "-n", "2", "--problems", "3")
    words = ("export", "scripted:0.5", tmp_path / "x.eval", "--store", store, "--for", "inspect")
    assert "come from 2 params ids" in call(*words, code=2), "the tasks are put differently"
    assert call(*words, "--task", "arithmetic/add-2d2d").startswith("6 samples")
    assert "no samples to write" in call(*words, "--task", "nope", code=2)


def test_what_export_does_not_use_is_refused(tmp_path):
    store = tmp_path / "store"
    words = ("sample", "scripted:0.5", "arithmetic/add-2d2d", "--store", store, "-n", "2", "--problems", "4")
    drawn = json.loads(call(*words, "--json"))
    line = ("export", drawn["policy"], tmp_path / "x", "--store", store)
    assert "--low, --rows: a problem set is chosen by it" in call(*line, "--low", "0.1", "--rows", "4", code=2)
    assert "--verdicts-of exact" in call(*line, "--for", "inspect", "--verdicts-of", "exact", code=2)
    assert "--for trl writes Parquet, not x.jsonl; give x.parquet" in call(
        "export", drawn["policy"], tmp_path / "x.jsonl", "--store", store, "--for", "trl", code=2
    )
    assert not list(tmp_path.glob("x*"))


def test_export_says_how_many_problems_its_rows_are_of(tmp_path):
    store = tmp_path / "store"
    drawn = json.loads(
        call("sample", "scripted:0.5", "countdown/3", "--store", store, "-n", "2", "--problems", "8", "--json")
    )
    line = ("export", drawn["policy"], tmp_path / "x.parquet", "--store", store, "--for", "trl")
    assert call(*line, "--rows", 5).startswith("5 of 8 problems, 5 rows")
    assert call(*line, "--rows", 20).startswith("8 of 8 problems, 20 rows")


@pytest.mark.parametrize("n", [1, 2])
def test_guessing_is_taken_out_of_a_handful_of_samples(tmp_path, n):
    file = write_counts(tmp_path / "c.jsonl", [n] * 8, [0, 1] * 4)
    corrected = json.loads(call("measure", file, "--answer-space", "4", "--json"))["chance_corrected"]
    assert list(corrected) == [str(k) for k in sorted({1, n})]
    assert corrected["1"]["value"] == pytest.approx(1 - (1 - 0.5 / n) / 0.75)


def test_a_verifiers_audit_is_carried_into_every_problems_p(tmp_path):
    file = write_counts(tmp_path / "c.jsonl", [64] * 8, [0, 1, 3, 10, 30, 50, 60, 64])
    found = json.loads(call("measure", file, "--false-positive", "10/200", "--false-negative", "4/200", "--json"))
    plain = json.loads(call("measure", file, "--json"))
    rows = found["per_problem"]
    assert rows[1]["p_verified"]["value"] == 0, "1 of 64 is what 5% false positives make"
    assert rows[4]["p_verified"]["value"] == pytest.approx((30 / 64 - 0.05) / 0.93)
    assert rows[4]["p_verified"]["low"] < rows[4]["p_verified"]["value"] < rows[4]["p_verified"]["high"]
    assert is_estimate(found["rogan_gladen"])
    assert plain["rogan_gladen"] is None
    assert "p_verified" not in plain["per_problem"][0]
    assert "(Rogan-Gladen)" in words("measure", file, "--false-positive", "10/200", "--false-negative", "4/200")


@pytest.mark.parametrize("share", ["²/5", "-1/5", "5", "1/", "/5", "1/2/3"])
def test_an_audit_that_is_no_share_is_named(tmp_path, share):
    file = write_counts(tmp_path / "c.jsonl", [4, 4], [1, 2])
    said = call("measure", file, "--false-positive", share, "--false-negative", "1/9", code=2)
    assert f"--false-positive is {share!r}; write errors/audited" in said


def test_a_policy_goes_by_its_whole_id_even_where_another_begins_with_it(tmp_path):
    store = Store(tmp_path)
    for name in ("rl@1", "rl@10"):
        store.put(PolicyRecord(id=name, name=name))
    assert find_policy(store, "rl@1") == "rl@1"
    with pytest.raises(InputError, match="2 policies"):
        find_policy(store, "rl@")


@pytest.mark.parametrize("k", [17, 20, 100, 100_000])
@pytest.mark.parametrize("c", [[16] * 5, [0, 1, 2, 8, 16], [1] * 5])
def test_pass_at_k_does_not_fall_where_the_samples_end(tmp_path, k, c):
    file = tmp_path / "counts.jsonl"
    file.write_text("".join(json.dumps({"id": f"p{i}", "n": 16, "c": x}) + "\n" for i, x in enumerate(c)))
    found = json.loads(call("measure", file, "--k", f"16,{k}", "--json"))["pass_at_k_of"]["these_problems"]
    assert found[str(k)]["value"] >= found["16"]["value"]
    assert found[str(k)]["high"] >= found[str(k)]["value"] >= found[str(k)]["low"]


def test_an_enormous_n_is_measured(tmp_path):
    file = tmp_path / "counts.jsonl"
    file.write_text(json.dumps({"id": "a", "n": 10**12, "c": 5}) + "\n")
    assert json.loads(call("measure", file, "--k", "1,100,10000", "--json"))["pass_at_k_of"]["problems_like_these"][
        "1"
    ]["value"] == pytest.approx(5e-12, rel=1e-3)


def test_files_that_do_not_name_their_model_are_not_pooled(tmp_path):
    source = next((FIXTURES / "evalplus").glob("*eval_results.json"))
    for model in ("a", "b"):
        (tmp_path / f"{model}_eval_results.json").write_bytes(source.read_bytes())
    assert "whether one model wrote them" in call("measure", tmp_path, code=2)
    (tmp_path / "b_eval_results.json").unlink()
    assert "164 problems" in call("measure", tmp_path)


def test_letters_that_the_terminal_lacks_and_a_reader_that_left(tmp_path):
    file = tmp_path / "counts.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"日本{i}", "n": 9, "c": i % 9}) + "\n" for i in range(300)), encoding="utf-8"
    )
    program = f"{shlex.quote(sys.executable)} -m goldpanner.cli measure {shlex.quote(str(file))}"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    shown = subprocess.run(program, shell=True, capture_output=True, env=environment, check=False)
    assert shown.returncode == 0, shown.stderr
    assert b"\\u65e5" in shown.stdout
    left = subprocess.run(
        ["bash", "-c", f"{program} | true; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False
    )
    assert left.returncode == 141, left.stderr
    assert b"Traceback" not in left.stderr


def test_a_result_is_broken_down_and_clustered_by_a_column_or_a_file(tmp_path):
    from goldpanner.store import Store
    from goldpanner.types import Completion, Outcome, Problem, Sample, Verdict

    problems = [Problem("t", str(i), "7", {"subject": "ab"[i % 2]}) for i in range(8)]
    store = Store(tmp_path)
    store.put_problems(problems)
    for policy, right in (("base", 2), ("rl", 6)):
        rows = [
            Sample(p.id, policy, "x", 0, i, Completion(word, tokens=(1,) * (3 if word == "7" else 9)),
                   Verdict(Outcome.CORRECT if word == "7" else Outcome.WRONG, "v@1", word), "t")
            for p in problems for i, word in enumerate("7" * right + "8" * (8 - right))
        ]  # fmt: skip
        store.append(rows)
    shown = json.loads(
        call("measure", "base", "--store", tmp_path, "--by", "subject", "--clusters", "subject", "--json")
    )
    assert {label: part["problems"] for label, part in shown["by"].items()} == {"a": 4, "b": 4}
    assert shown["majority"]["4"]["value"] < shown["majority"]["1"]["value"] < 0.3
    assert shown["tokens"] == {"mean": 7.5, "right": 3.0, "wrong": 9.0}
    assert "a 4" in words("measure", "base", "--store", tmp_path, "--by", "subject")
    compared = json.loads(call("compare", "base", "rl", "--store", tmp_path, "--clusters", "subject", "--json"))
    assert compared["tokens_a_try"]["rl"]["mean"] == 4.5
    assert (compared["at_equal_cost"][0]["rl_tries"], compared["at_equal_cost"][0]["base_tries"]) == (2, 1)
    assert "there are: subject, task" in call("measure", "base", "--store", tmp_path, "--by", "level", code=2)

    counts = write_counts(tmp_path / "c.jsonl", [4] * 3, [1, 2, 3])
    labels = tmp_path / "labels.csv"
    labels.write_text("id,kind\np0,x\np1,y\np2,y\n")
    assert json.loads(call("measure", counts, "--by", labels, "--json"))["by"]["y"]["problems"] == 2
    labels.write_text("p0,x\n")
    assert "has no label for 2 problems" in call("measure", counts, "--by", labels, code=2)
