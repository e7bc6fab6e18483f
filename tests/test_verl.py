"""The hand-over to verl: `compute_score` as verl loads and calls it, the rows it is given, and the way back."""

import importlib.util
import json
import os
import subprocess
from itertools import permutations, product

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import goldpanner as gp
from goldpanner import interop
from goldpanner.cli import application
from goldpanner.errors import InputError
from goldpanner.store import Store
from goldpanner.store.schema import PolicyRecord
from goldpanner.train import verl
from goldpanner.types import SamplingParams
from goldpanner.verify import Exact


@pytest.fixture(scope="module")
def loaded():
    """The module as verl loads it: from a file, under a name of verl's own, without our package's help."""
    spec = importlib.util.spec_from_file_location("custom_module", verl.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "said", "truth", "extra", "score", "outcome"),
    [
        ("arithmetic/add-2d2d", " 91", "91", {}, 1.0, "correct"),
        ("arithmetic/add-2d2d", " 90", "91", {}, 0.0, "wrong"),
        ("gsm8k/train", "so the answer is 18.", "18", {}, 1.0, "correct"),
        ("gsm8k/train", "I would rather not say.\nIt is hard.", "18", {}, 0.0, "unjudged"),
        ("countdown/3", "(3 + 4) * 5", "35", {"meta": '{"numbers": [3, 4, 5], "target": 35}'}, 1.0, "correct"),
        ("countdown/3", "7 * 5", "35", {"meta": '{"numbers": [3, 4, 5], "target": 35}'}, 0.0, "wrong"),
        ("countdown/3", "7 * 5", "35", {}, 0.0, "unjudged"),  # nobody knows which numbers were given
        ("world/d2", "x y q", "q", {}, 0.0, "wrong"),
        ("world/d2", "total q", "q", {}, 1.0, "correct"),
    ],
)
def test_what_is_paid(loaded, source, said, truth, extra, score, outcome):
    paid = loaded.compute_score(data_source=source, solution_str=said, ground_truth=truth, extra_info=extra, other=1)
    assert (paid["score"], paid["acc"], paid["outcome"]) == (score, score, outcome)
    assert paid["judged"] == (outcome != "unjudged")


def test_it_says_the_same_kinds_of_things_each_time(loaded):
    """verl gathers each key over a batch into one array."""
    kinds = [
        {key: type(value) for key, value in loaded.compute_score("gsm8k/train", said, "18").items()}
        for said in ("The answer is 18.", "The answer is 17.", "", "\x00" * 50, "\\boxed{" * 500)
    ]
    assert all(kind == kinds[0] for kind in kinds)
    assert set(kinds[0].values()) == {float, str}


def test_a_task_without_a_verifier_is_no_zero(loaded):
    with pytest.raises(InputError, match="'mine' is no task with a verifier"):
        loaded.compute_score("mine", "1", "1")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A problem set as the command writes it, of a countdown task, whose verifier needs more than the answer."""
    folder = tmp_path_factory.mktemp("verl")
    store, task = Store(folder / "s"), gp.task("countdown/3")
    problems = task.problems(6, seed=1)
    store.put_problems(problems)
    policy = gp.ScriptedPolicy.with_p(0.5, name="half")
    with store.writer() as sink:
        for _ in gp.sample(policy, problems, task.verifiers(), task.params, n=8, sink=sink, run="half"):
            pass
    store.put(PolicyRecord.of(policy.describe(), name="half"))
    out = folder / "train set.parquet"
    result = CliRunner().invoke(
        application(), ["export", "half", str(out), "--store", str(folder / "s"), "--for", "verl"]
    )
    assert result.exit_code == 0, result.output
    return out, {problem.id: problem for problem in problems}, result.stdout


@pytest.mark.parametrize(
    ("task", "notes"),
    [
        ("humaneval/test", []),  # its template is the prompt itself
        ("world/d2", []),
        ("arithmetic/add-2d2d", ["stands there bare"]),
        ("mine", ["will refuse it"]),
    ],
)
def test_prompts_are_bare_messages_of_the_user_whatever_the_task(tmp_path, task, notes):
    problem, store = gp.Problem(task, "34 + 57 =", "91", {"k": 1}), Store(tmp_path / "s")
    store.put_problems([problem])
    policy = gp.ScriptedPolicy.with_p(0.5, name="half")
    params = SamplingParams(template="Q: {prompt} A:")  # how it was sampled changes nothing
    with store.writer() as sink:
        list(gp.sample(policy, [problem], [Exact()], params, n=4, sink=sink, run="half"))
    store.put(PolicyRecord.of(policy.describe(), name="half"))
    out = tmp_path / "train.parquet"
    done = CliRunner().invoke(
        application(), ["export", "half", str(out), "--store", str(tmp_path / "s"), "--for", "verl"]
    )
    assert done.exit_code == 0, done.exception
    (row,) = pq.read_table(out).to_pylist()
    assert row["prompt"] == [{"role": "user", "content": "34 + 57 ="}]
    assert row["data_source"] == task
    assert done.stderr.count("note:") == len(notes)
    assert all(note in done.stderr for note in notes)


def test_the_rows_say_all_that_judging_needs(loaded, exported):
    path, problems, _ = exported
    rows = pq.read_table(path).to_pylist()
    assert {row["extra_info"]["id"] for row in rows} == set(problems)
    for row in rows:
        problem = problems[row["extra_info"]["id"]]
        given = (row["data_source"], row["reward_model"]["ground_truth"], row["extra_info"])
        assert json.loads(row["extra_info"]["meta"]) == problem.meta
        a, b, c = problem.meta["numbers"]
        wrong = loaded.compute_score(given[0], f"{a} + {b} + {c} + 1", *given[1:])
        assert (wrong["outcome"], wrong["goldpanner_id"]) == ("wrong", problem.id)
        forms = [
            form.format(*numbers, *signs)
            for numbers in permutations((a, b, c))
            for signs in product("+-*/", repeat=2)
            for form in ("({0} {3} {1}) {4} {2}", "{0} {3} ({1} {4} {2})")
        ]
        assert any(loaded.compute_score(given[0], form, *given[1:])["score"] for form in forms)


def test_the_command_line_names_the_file_and_the_reward(exported, tmp_path):
    path, _, said = exported
    script = path.with_suffix(".sh")
    assert str(script) in said
    python = tmp_path / "python3"  # one that says what it was given
    python.write_text('#!/bin/sh\nif [ "$1" = -c ]; then echo /a/verl.py; else printf \'%s\\n\' "$@"; fi\n')
    python.chmod(0o755)
    shown = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(script), "extra.option=1"], capture_output=True, text=True, env=shown)
    options = done.stdout.splitlines()
    assert options[:2] == ["-m", "verl.trainer.main_ppo"]
    assert options[-1] == "extra.option=1"
    assert f"data.train_files={path}" in options
    assert "reward.custom_reward_function.path=/a/verl.py" in options
    assert "reward.custom_reward_function.name=compute_score" in options
    assert 'trainer.logger=["console","file"]' in options


def test_what_was_unjudged_comes_back_unjudged(loaded, tmp_path):
    """verl dumps what compute_score returns beside each output; a 0 for UNJUDGED must not come back as WRONG."""
    said = ["The answer is 18.", "The answer is 17.", "I cannot tell.\nNobody can."]
    rows = [
        {"input": "q", "output": text, "gts": "18", "step": 1}
        | loaded.compute_score("gsm8k/train", text, "18", {"id": "i"})
        for text in said
    ]
    path = tmp_path / "1.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = interop.read(path).counts()
    assert (counts.ids, counts.n.tolist(), counts.c.tolist(), counts.unjudged.tolist()) == (("i",), [3], [1], [1])
