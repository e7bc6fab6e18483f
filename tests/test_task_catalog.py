"""The catalogue of tasks: every family is listed and documented, every command takes every task, one file adds one."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import goldpanner as gp
from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError
from goldpanner.tasks import catalog
from goldpanner.train.verl import compute_score

DOCS = Path(__file__).parent.parent / "docs"

PARITY = '''
"""`parity/8`: whether a number of 8 bits has an even number of ones."""

from goldpanner.tasks.task import Family, Task
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify import Exact


def find(name):
    bits = name.removeprefix("parity/")
    if not bits.isdecimal():
        return None

    def make(n, rng, split):
        numbers = rng.permutation(2 ** int(bits))[:n].tolist()
        return [Problem(name, f"{x:0{bits}b}", ("even", "odd", "neither")[x.bit_count() % 3]) for x in numbers]

    return Task(name, SamplingParams(max_tokens=4), lambda: (Exact(),), make=make)


FAMILY = Family("parity", "made", "ones of a binary number; the dial is its bits", ("parity/8",), find)
'''


def call(*arguments, code=0):
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        assert code == 2, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def parity(tmp_path, monkeypatch):
    """A family of one file, outside the package; the one line is the call of `register`."""
    file = tmp_path / "parity.py"
    file.write_text(PARITY)
    spec = importlib.util.spec_from_file_location("parity", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(catalog, "FAMILIES", dict(catalog.FAMILIES))
    catalog.register(module.FAMILY)
    return module.FAMILY


def test_a_family_from_outside_is_a_task_of_every_command(parity, tmp_path):
    problems = gp.load("parity/8", 9)
    assert gp.load("parity/8", 4) == problems[:4]
    assert gp.task("parity/8").verifiers()[0](problems[0], gp.Completion(problems[0].answer)).correct
    assert "parity/8" in call("tasks")
    assert call("tasks", "parity/6", "--problems", 5).count("answer:") == 5
    words = ("sample", "scripted:0.5", "parity/8", "--store", tmp_path / "s", "-n", 64, "--problems", 16, "--json")
    counts = json.loads(call(*words))
    assert (counts["problems"], counts["n"]) == (16, 1024)
    assert 400 < counts["correct"] < 624
    (check,) = json.loads(call("verify-check", "parity/8", "--json"))["checks"]
    assert (check["verifier"], check["false_positive"]["value"]) == ("exact:nfkc+spaces@1", 0.0)
    assert compute_score("parity/8", "even", "even")["score"] == 1.0
    assert "did you mean parity/8" in call("tasks", "parity/x", code=2)


def test_a_name_stands_for_one_family(parity):
    catalog.register(parity)  # the same one again, from a module that is imported twice
    with pytest.raises(InputError, match="'world' already; choose another name"):
        catalog.register(gp_family("world"))


def gp_family(name):
    return catalog.Family(name, "made", "", (), lambda task: None)


def test_every_family_is_in_a_group_and_has_a_row_in_the_docs():
    lines = (DOCS / "problems.md").read_text(encoding="utf-8").replace("`", "").splitlines()
    for group, families in catalog.groups().items():
        assert group in catalog.GROUPS
        for family in families:
            row = [line for line in lines if line.startswith(f"| {family.name}/")]
            assert len(row) == 1, f"docs/problems.md has {len(row)} rows of {family.name}"
            assert row[0].split("|")[4].strip() == family.needs
            assert family.ids
            assert all(catalog.find_task(name).id == name for name in family.ids)
    assert {"world", "column-addition", "arithmetic", "countdown", "gsm8k", "mbpp", "reasoning-gym"} <= set(
        catalog.FAMILIES
    )


MADE = ["world/d2", "column-addition/2d", "arithmetic/add-2d2d", "countdown/3"]


@pytest.mark.parametrize("name", [*MADE, "gsm8k/test", "mine.jsonl"])
def test_every_command_takes_every_task(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"{i} + 1 =", "answer": f"{i} + 1\n#### {i + 1}" if "/" in name else i + 1} for i in range(8)]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ("--data", "mine.jsonl") if name == "gsm8k/test" else ()
    assert call("tasks", name, "--problems", 2, *more).count("answer:") == 2
    words = ("sample", "scripted:1", name, *more, "--store", "s", "-n", 4, "--problems", 4, "--json")
    counts = json.loads(call(*words))
    assert (counts["n"], counts["correct"]) == (16, 0 if name == "countdown/3" else 16)  # scripted:1 says the target
    checks = json.loads(call("verify-check", name, *more, "--problems", 8, "--json"))["checks"]
    assert checks[0]["verifier"] == counts["verifier"]
    assert checks[0]["false_positive"]["value"] == 0.0


def test_what_a_task_has_no_use_for_is_refused(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"question": "1 + 1 =", "answer": 2}\n')
    for options, says in (
        ({"name": "world/d2", "data": file}, "made, not read; leave out the path"),
        ({"name": "world/d2", "columns": "answer=x"}, "is a task; leave it out"),
        ({"name": "world/d2", "threshold": 0.5}, "name it with --verifier"),
        ({"name": "world/d2", "verifier": "number", "threshold": 0.5}, "number is none; leave it out"),
        ({"name": "gsm8k/test", "config": gp.WorldConfig()}, "has none of the facts of domain world"),
        ({"name": str(file), "config": gp.WorldConfig()}, "has none of the facts of domain world"),
        ({"name": "world/d9", "config": gp.WorldConfig()}, "no task is called 'world/d9'; did you mean world/d"),
        ({"name": str(file), "data": file}, "is a data file itself"),
    ):
        with pytest.raises(InputError, match=says):
            gp.task(**options)
    gsm8k = gp.task("gsm8k/test")  # a task is known without its file
    with pytest.raises(InputError, match=r"give its path \(--data FILE\)"):
        gsm8k.check()


def test_a_task_of_the_lab_has_the_facts_of_its_config():
    config = gp.WorldConfig(seed=1)
    task = gp.task("world/d3", config=config)
    assert task.problems(4) == gp.load("world/d3", 4, config=config)
    assert (
        task.worked(task.problems(1)[0]) == task.problems(1)[0].meta["chain"] != gp.load("world/d3", 1)[0].meta["chain"]
    )
    assert [v.id for v in (*task.verifiers(), *task.controls())] == [
        "world-answer@1", "world-process@1", "world-format@1"
    ]  # fmt: skip


def test_load_takes_a_data_file(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"question": f"{i}?", "answer": i}) + "\n" for i in range(5)))
    assert [problem.answer for problem in gp.load(str(file), 3)] == ["0", "1", "2"]
    assert len(gp.load(str(file), 9)) == 5
