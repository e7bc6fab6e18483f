"""The command line as people meet it: known answers in, the JSON contract out, mistakes told without a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from goldpanner import __version__
from goldpanner.cli import application
from goldpanner.errors import GoldpannerError
from goldpanner.store.schema import ParamsRecord, PolicyRecord
from synthetic_run import write_run

runner = CliRunner()


def call(*arguments, code=0):
    result = runner.invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        assert code == 2, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def write_counts(path, n, c, **more):
    rows = [{"id": f"p{i}", "n": int(a), "c": int(b)} for i, (a, b) in enumerate(zip(n, c))]
    for name, values in more.items():
        for row, value in zip(rows, values):
            row[name] = int(value)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def pilot(tmp_path):
    p = np.random.default_rng(0).beta(0.4, 1.0, 60)
    return write_counts(tmp_path / "base.jsonl", [64] * 60, np.random.default_rng(1).binomial(64, p))


def is_estimate(thing):
    return {"value", "low", "high"} <= set(thing)


def test_version_and_help():
    assert call("--version").strip() == f"goldpanner {__version__}"
    text = call("--help")
    for command in (
        "run",
        "sample",
        "measure",
        "compare",
        "plan",
        "import",
        "export",
        "train",
        "report",
        "tasks",
        "store",
    ):
        assert command in text
    for command in ("run", "sample", "measure", "compare", "plan", "import", "export", "report", "tasks"):
        assert "Example: goldpanner" in call(command, "--help")


def test_the_shell_completes_commands_options_and_choices():
    code = "import sys; sys.argv[0] = 'goldpanner'; from goldpanner.cli import main; main()"
    for typed, completed in (("sam", "sample"), ("train grpo --en", "--engine"), ("train grpo --engine ", "trl")):
        words = {"COMP_WORDS": f"goldpanner {typed}", "COMP_CWORD": str(len(f"goldpanner {typed}".split(" ")) - 1)}
        environment = {**os.environ, **words, "_GOLDPANNER_COMPLETE": "complete_bash"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert completed in done.stdout.split(), done.stderr


def test_measure_keeps_the_json_contract(pilot):
    found = json.loads(call("measure", pilot, "--k", "1,100,10000", "--json"))
    assert found["problems"] == 60
    assert is_estimate(found["pass_at_k"]["1"])
    assert found["pass_at_k"]["10000"] == {"value": None, "low": None, "high": None}
    for k in ("1", "100", "10000"):
        assert is_estimate(found["pass_at_k_of"]["these_problems"][k])
        assert found["pass_at_k_of"]["these_problems"][k]["method"]
    for shares in found["groups"].values():
        assert {"mixed", "all_wrong", "all_correct"} <= set(shares)
        assert abs(sum(shares[s]["value"] for s in ("mixed", "all_wrong", "all_correct")) - 1) < 0.02
    assert set(found["boundary"]) == {"reached", "not_reached", "unresolved"}
    assert sum(found["boundary"].values()) == 60


def test_compare_keeps_the_json_contract(pilot, tmp_path):
    rng = np.random.default_rng(2)
    rl = write_counts(tmp_path / "rl.jsonl", [64] * 60, rng.binomial(64, rng.beta(0.9, 0.6, 60)))
    found = json.loads(call("compare", pilot, rl, "--json"))
    assert found["problems"] == 60
    for part in ("base", "rl", "difference"):
        assert is_estimate(found["pass_at_k"][part]["1"])
        assert is_estimate(found["pass_at_k"][part]["64"])
    assert is_estimate(found["crossover_k"])
    assert is_estimate(found["equivalent_k"])
    assert sum(found["four_way"][name] for name in ("kept", "lost", "gained", "neither")) == 60
    assert set(found["established"]) >= {"lost", "gained"}
    assert found["verdict"]
    assert found["summary"]


def test_plan_sorts_every_problem(pilot):
    found = json.loads(call("plan", pilot, "--json"))
    assert sum(found["assigned"].values()) == 60
    assert found["recommended_G"] in (2, 4, 8, 16, 32, 64, 128, 256)


def test_a_policy_of_known_p_through_the_whole_command_line(tmp_path):
    """Known answer: p = .3 is sampled, stored, exported, measured; the interval covers it at every step."""
    store = tmp_path / "store"
    drawn = json.loads(
        call("sample", "scripted:0.3", "world/d2", "--store", store, "-n", 64, "--problems", 40, "--json")
    )
    assert drawn["n"] == 64 * 40
    again = json.loads(
        call("sample", "scripted:0.3", "world/d2", "--store", store, "-n", 64, "--problems", 40, "--json")
    )
    assert again == drawn, "drawing the same again draws nothing"
    out = tmp_path / "counts.jsonl"
    call("export", drawn["policy"], out, "--store", store)
    for what in ((out,), (drawn["policy"], "--store", store)):
        found = json.loads(call("measure", *what, "--json"))
        one = found["pass_at_k"]["1"]
        assert one["low"] <= 0.3 <= one["high"]
        assert found["pass_at_k"]["16"]["low"] <= 1 - 0.7**16 <= found["pass_at_k"]["16"]["high"]
        inside = [p["p"]["low"] <= 0.3 <= p["p"]["high"] for p in found["per_problem"]]
        assert np.mean(inside) > 0.85
    text = call("measure", drawn["policy"], "--store", store)
    assert "P(parses)" in text
    assert json.loads(call("store", "check", store, "--json"))["damaged"] == []
    call("store", "compact", store)
    assert json.loads(call("measure", drawn["policy"], "--store", store, "--json"))["problems"] == 40


def test_topping_up_draws_only_what_is_missing(tmp_path):
    from goldpanner.store import Store

    call("sample", "scripted:0.3", "world/d1", "--store", tmp_path, "-n", 8, "--problems", 5)
    drawn = json.loads(
        call("sample", "scripted:0.3", "world/d1", "--store", tmp_path, "-n", 20, "--problems", 7, "--json")
    )
    assert drawn["n"] == 140
    assert Store(tmp_path).counts(drawn["policy"]).n.tolist() == [20] * 7


def test_lucky_guesses_are_measured_on_the_models_own_answers(tmp_path):
    """A model that says the same to two problems: right for one, a lucky guess of half the answers for the other."""
    from goldpanner.store import Store
    from goldpanner.types import Completion, Outcome, Problem, Sample, Verdict

    problems = [Problem("t", "a", "7"), Problem("t", "b", "7"), Problem("t", "c", "8")]
    said = ("7" * 8, "7" * 4 + "8" * 4, "6" * 8)
    rows = [
        Sample(problem.id, "p", "x", 0, i, Completion(word),
               Verdict(Outcome.CORRECT if word == problem.answer else Outcome.WRONG, "v@1", word), "t")
        for problem, words in zip(problems, said) for i, word in enumerate(words)
    ]  # fmt: skip
    store = Store(tmp_path)
    store.put_problems(problems)
    store.put(PolicyRecord(id="p", name="p"))
    store.append(rows)
    found = json.loads(call("measure", "p", "--store", tmp_path, "--json"))
    # floors: 1/4 (half of b's answers, none of c's), 1/2 (all of a's), 1/4; 1 - P = (1 - p) / (1 - g)
    assert found["guess_floor"] == pytest.approx(1 / 3)
    expected = 1 - np.mean([0, 0.5 / 0.5, 1 / 0.75])
    assert found["less_own_guesses"]["1"]["value"] == pytest.approx(max(expected, 0))
    assert "less lucky guesses, by its answers to other problems" in call("measure", "p", "--store", tmp_path)


def test_truncated_sampling_is_not_about_support(tmp_path):
    for p in ("0.2", "0.6"):
        call(
            "sample", f"scripted:{p}", "world/d1", "--store", tmp_path, "-n", 16, "--problems", 6, "--temperature", "0"
        )
    text = call("measure", "scripted:0.2", "--store", tmp_path)
    assert "Not about support" in text
    assert "not reached within n" not in text
    systems = " ".join(call("compare", "scripted:0.2", "scripted:0.6", "--store", tmp_path).split())
    assert systems.count("temperature = 0") == 1
    assert "Two systems are compared as they were run" in systems
    assert not any(word in systems.lower() for word in ("sharpened", "expanded", "it is open"))
    spoken = call("compare", "scripted:0.2", "scripted:0.6", "--store", tmp_path, "--allow-truncated-sampling")
    assert "Not about support" in spoken


def test_different_sampling_parameters_are_not_compared(tmp_path):
    call("sample", "scripted:0.2", "world/d1", "--store", tmp_path, "-n", 8, "--problems", 6)
    call("sample", "scripted:0.6", "world/d1", "--store", tmp_path, "-n", 8, "--problems", 6, "--max-tokens", "9")
    said = call("compare", "scripted:0.2", "scripted:0.6", "--store", tmp_path, code=2)
    assert "base (scripted:0.2) was sampled with max_tokens = 48, RL (scripted:0.6) with max_tokens = 9" in said


def changed_log(tmp_path, name, pattern, old, new):
    """Another run of a tool: its log with a text changed."""
    (log,) = (Path(__file__).parent / "interop" / "fixtures").glob(pattern)
    text = log.read_text()
    assert old in text
    other = tmp_path / name / log.name
    other.parent.mkdir()
    other.write_text(text.replace(old, new))
    return log, other


def test_logs_drawn_at_another_temperature_are_not_compared(tmp_path):
    log, other = changed_log(tmp_path, "b", "lm_eval/samples_toy_repeats*", '"temperature": 0.8', '"temperature": 0.7')
    said = call("compare", log, other, "--allow-truncated-sampling", code=2)
    assert "temperature = 0.8" in said
    assert "temperature = 0.7" in said
    assert "--as-run" in said
    systems = " ".join(call("compare", log, other, "--as-run").split())
    assert "Two systems are compared as they were run" in systems
    assert "temperature = 0.7" in systems


def test_logs_that_ask_otherwise_are_not_compared(tmp_path):
    log, other = changed_log(tmp_path, "b", "lm_eval/samples_toy_once*", '"arg_0": "', '"arg_0": "Be brief. ')
    said = call("compare", log, other, "--allow-truncated-sampling", code=2)
    assert "problem 'toy_once/0' is asked differently (and 5 more problems)" in said
    assert r"has '1 + 1 =\nA:', " in said
    assert r"has 'Be brief. 1 + 1 =\nA:'" in said
    # one id in a trainer's two logs
    rows = [{"input": f"Sum: {x}+1", "output": "4", "score": 1, "step": 1, "goldpanner_id": f"id{x}"} for x in (3, 4)]
    logs = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for file, prefix in zip(logs, ("", "Be brief. ")):
        file.write_text("".join(json.dumps(row | {"input": prefix + row["input"]}) + "\n" for row in rows))
    said = call("compare", *logs, code=2)
    assert "problem 'id3' is asked differently (and 1 more problems)" in said
    assert "'Sum: 3+1'" in said
    assert "'Be brief. Sum: 3+1'" in said
    assert json.loads(call("compare", logs[0], logs[0], "--json"))["problems"] == 2


def test_problems_of_logs_are_named_as_the_log_names_them(tmp_path):
    log, other = changed_log(tmp_path, "b", "lm_eval/samples_toy_once*", '"target": "2"', '"target": "7"')
    assert "only in base: toy_once/0 (" in call("compare", log, other, "--allow-truncated-sampling", code=2)


def test_measure_compare_and_plan_read_logs_as_import_does(tmp_path):
    fixtures = Path(__file__).parent / "interop" / "fixtures"
    (log,) = fixtures.glob("lm_eval/samples_toy_filters*")
    rows = (fixtures / "verl" / "rollouts" / "1.jsonl").read_text()
    torn = tmp_path / "1.jsonl"
    torn.write_text(rows + rows[:40])
    for words in (("measure", log), ("plan", log), ("compare", log, log)):
        support = ("--allow-truncated-sampling",) if words[0] != "plan" else ()
        assert "--filter" in call(*words, *support, code=2)
        call(*words, *support, "--filter", "strict", "--json")
        call(*words, *support, "--rescore", "exact", "--json")
        torn_words = (words[0], *[torn] * (len(words) - 1), "--threshold", "1")
        assert "--skip-partial-line" in call(*torn_words, code=2)
        call(*torn_words, "--skip-partial-line", "--json")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("", "empty"),
        ('{"id": "a", "n": 4, "c": 5}\n', "more than n"),
        ('{"id": "a", "n": -4, "c": 0}\n', "-4"),
        ('{"id": "a", "n": 4, "c": 1.5}\n', "1.5"),
        ('{"id": "a", "n": 4, "c": 1}\n{"id": "a", "n": 4, "c": 1}\n', "twice"),
        ('{"id": "a", "n": 4, "c": 1}\n{"id": "b", "n": 4', "cut|JSON|line 2|:2"),
        ('{"id": "a", "n": 4, "c": NaN}\n', "NaN|nan"),
    ],
)
@pytest.mark.parametrize("command", ["measure", "plan"])
def test_counts_that_cannot_be_read(tmp_path, rows, says, command):
    file = tmp_path / "c.jsonl"
    file.write_text(rows)
    import re

    assert re.search(says, call(command, file, "--json", code=2)), call(command, file, "--json", code=2)


@pytest.mark.parametrize(
    ("n", "c", "u"),
    [
        ([8], [3], [0]),
        ([1, 1], [0, 1], [0, 0]),
        ([9] * 4, [9] * 4, [0] * 4),
        ([9] * 4, [0] * 4, [0] * 4),
        ([4, 9], [2, 2], [1, 7]),
    ],
)
def test_odd_but_honest_counts_are_measured_and_compared(tmp_path, n, c, u):
    file = write_counts(tmp_path / "c.jsonl", n, c, unjudged=u)
    found = json.loads(call("measure", file, "--k", "1,1000", "--json"))
    assert found["problems"] == len(n)
    call("measure", file)
    assert json.loads(call("compare", file, file, "--json"))["four_way"]["gained"] == 0
    call("compare", file, file)
    call("plan", file)


def test_nothing_judged_is_nothing_to_measure(tmp_path):
    file = write_counts(tmp_path / "c.jsonl", [9] * 3, [0] * 3, unjudged=[9] * 3)
    for command in (("measure", file), ("plan", file), ("compare", file, file)):
        assert "judged" in call(*command, code=2)


def test_options_of_a_store_are_refused_for_a_file(pilot):
    for option in ("--task", "--verdicts-of", "--params"):
        assert "choose among the samples of a store" in call("measure", pilot, option, "x", code=2)


def test_every_k_asked_is_there_whatever_n(tmp_path):
    file = write_counts(tmp_path / "c.jsonl", [10_000] * 20, [0, 1, 5, 50, 9000] * 4)
    found = json.loads(call("measure", file, "--k", "500,1000,1023,5000,10000,1000000", "--json"))
    for k in ("500", "1000", "1023", "5000", "10000", "1000000"):
        assert is_estimate(found["pass_at_k"][k])
        assert found["pass_at_k_of"]["these_problems"][k]["method"]
    assert found["pass_at_k_of"]["problems_like_these"]["1023"]["value"] == found["pass_at_k"]["1023"]["value"]
    both = json.loads(call("compare", file, file, "--k", "1023", "--json"))
    assert is_estimate(both["pass_at_k"]["difference"]["1023"])


def test_a_log_that_states_another_temperature_is_held_to_it(tmp_path):
    from goldpanner.sources import load_counts

    log = next((Path(__file__).parent / "interop" / "fixtures" / "lm_eval").glob("samples_toy_repeats*.jsonl"))
    assert load_counts(log).params.temperature == 0.8
    assert "temperature = 0.8" in json.loads(call("measure", log, "--json"))["support_refused"]
    assert "temperature = 0.8" in json.loads(call("compare", log, log, "--json"))["support_refused"]


def test_mismatched_problems_are_named(tmp_path, pilot):
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "zebra", "n": 4, "c": 1}\n')
    assert "zebra" in call("compare", pilot, other, code=2)


def test_report_says_where_its_page_is(tmp_path):
    run = tmp_path / "run"
    write_run(run)
    page = json.loads(call("report", run, "--json"))["report"]
    assert Path(page).read_text().lower().startswith("<!doctype html>")
    assert call("report", run).strip() == page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("measure", "nowhere.jsonl"), "nowhere.jsonl"),
        (("tasks", "world/d99"), "did you mean"),
        (("sample", "scripted:2", "world/d1", "--store", "x"), "between 0 and 1"),
        (("sample", "no-such-model", "world/d1", "--store", "x"), "config.json"),
        (("report", "no-such-run"), "No run at no-such-run"),
        (("run", "--set", "grpo.stepz=1"), "grpo.steps"),
        (("train", "grpo", "--model", "nowhere", "--out", "x"), "config.json"),
        (("measure", "base", "--store", "no-such-store"), "No store at no-such-store"),
    ],
)
def test_mistakes_say_what_happened(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert says in call(*arguments, code=2)


def test_mistakes_on_the_real_command_line_exit_with_2_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "goldpanner.cli", "measure", "nowhere.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_tasks_are_listed_and_shown():
    groups = json.loads(call("tasks", "--json"))["groups"]
    families = [family for group in groups.values() for family in group]
    ids = {name for family in families for name in family["tasks"]}
    assert {
        "world/d1",
        "world/exposure-0.1%",
        "world/klingon",
        "column-addition/2d",
        "countdown/4",
        "gsm8k/test",
    } <= ids
    assert {f["family"]: f["needs"] for f in families}["gsm8k"] == "--data FILE"
    assert all(name in call("tasks") for name in ids)
    shown = json.loads(call("tasks", "world/d3", "--problems", 2, "--json"))["problems"]
    assert len(shown) == 2
    assert shown[0]["worked"].endswith(shown[0]["answer"])
    assert "worked" in call("tasks", "countdown/3")
    assert "worked" not in call("tasks", "arithmetic/add-2d2d"), "nothing is shown of what is not there"


def test_the_problems_of_a_file_are_shown(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "Two and two?", "answer": "It is four.\\n#### 4"}\n')
    shown = json.loads(call("tasks", "gsm8k/test", "--data", tmp_path / "mine.jsonl", "--problems", 1, "--json"))[
        "problems"
    ]
    assert [(row["answer"], "Two and two?" in row["prompt"]) for row in shown] == [("4", True)]
    own = ("tasks", tmp_path / "mine.jsonl", "--columns", "answer=question", "--json")
    assert json.loads(call(*own))["problems"][0]["answer"] == "Two and two?", "as the file has it"


def test_import_says_what_it_read(tmp_path, pilot):
    out = tmp_path / "again.jsonl"
    report = json.loads(call("import", pilot, "--counts", out, "--json"))
    assert report["format"] == "counts"
    assert report["problems"] == 60
    assert sorted(out.read_text().splitlines()) == sorted(pilot.read_text().splitlines())


def test_single_stages(tmp_path):
    wanted = "pretrain.steps=3 pretrain.batch=8 sft.steps=2 grpo.steps=2 grpo.prompts_per_step=2 grpo.group_size=2"
    small = [f"--set={s}" for s in (*wanted.split(), "measure.problems=4", "measure.sampled=4")]
    base = call("train", "pretrain", "--out", tmp_path / "base", *small).strip()
    tuned = call("train", "sft", "--model", base, "--out", tmp_path / "sft", *small).strip()
    call("train", "grpo", "--model", tuned, "--out", tmp_path / "rl", *small, "--set", "grpo.variant=dr-grpo")
    assert len((tmp_path / "rl" / "metrics.jsonl").read_text().splitlines()) == 2
    model, few = tmp_path / "rl" / "model", ("-n", 4, "--problems", 3, "--json")
    assert json.loads(call("sample", model, "world/d1", "--store", tmp_path / "s", *few))["n"] == 12


def test_origin_of_gained_problems_is_told_from_scored_samples(tmp_path):
    """The base has the answer at 1e-6: never seen in 128 samples, yet found by scoring the RL model's samples."""
    from goldpanner.policies.scripted import ScriptedPolicy
    from goldpanner.sampling.rollout import rollout
    from goldpanner.store import Store
    from goldpanner.tasks import World, load
    from goldpanner.types import SamplingParams

    store, problems = Store(tmp_path), load("world/d1", 12)
    names = {"base": 1e-6, "rl": 0.7}
    policies = {name: ScriptedPolicy.with_p(p, name=name) for name, p in names.items()}
    store.put_problems(problems)
    store.put(ParamsRecord.of(SamplingParams()))
    for name, policy in policies.items():
        store.put(PolicyRecord.of(policy.describe(), name=name))
        with store.writer() as sink:
            list(rollout(policy, problems, World().verifiers(), SamplingParams(), n=128, sink=sink))
    before = json.loads(call("compare", "base", "rl", "--store", tmp_path, "--json"))
    assert before["four_way"]["gained"] == 12
    assert before["origin"] == {}
    for problem in problems:
        drawn = store.samples(policy=policies["rl"].id, problem=problem.id)
        logp = policies["base"].logprobs([problem] * len(drawn), [s.completion.text for s in drawn])
        store.append_scores(policies["base"].id, zip(drawn, map(float, logp)))
    after = json.loads(call("compare", "base", "rl", "--store", tmp_path, "--json"))
    assert len(after["origin"]) == 12
    for origin in after["origin"].values():
        assert origin["label"] == "amplified"
        assert 0.5e-6 < origin["p_base"]["value"] < 2e-6
    assert "12 amplified" in after["summary"]


def test_score_draws_nothing_and_fills_in_the_log_probabilities(tmp_path):
    from goldpanner.store import Store

    drawn = json.loads(
        call("sample", "scripted:0.7", "world/d1", "--store", tmp_path, "-n", 16, "--problems", 4, "--json")
    )
    call("score", "scripted:0.2", drawn["policy"], "--store", tmp_path)
    call("score", "scripted:0.2", drawn["policy"], "--store", tmp_path)
    rows = (
        Store(tmp_path)
        .sql('SELECT s.outcome, x.logp FROM samples s JOIN scores x USING (problem, "index")')
        .to_pylist()
    )
    assert len(rows) == 64
    for row in rows:
        assert row["logp"] == pytest.approx(np.log(0.2 if row["outcome"] == "correct" else 0.8))
