"""reasoning-gym's problems: stable, split, judged by their own scorer in a process that may be killed."""

import importlib.util
import json
import math
import sys

import pytest
from typer.testing import CliRunner

from goldpanner.cli import application
from goldpanner.errors import InputError, MissingExtraError
from goldpanner.tasks.catalog import load, task
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import ReasoningGym, Verifier, pool

STAND_IN = """
import time
from types import SimpleNamespace

print("a library may print whatever it likes")


class Sums:
    def __init__(self, seed, size):
        self.seed, self.size = seed, size

    def __getitem__(self, i):
        a, b = (self.seed + i) % 977, i
        return {"question": f"{a} + {b}?", "answer": str(a + b), "metadata": {"not json": {1, 2}}}

    def score_answer(self, answer, entry):
        print("scoring", answer)
        entry["metadata"].clear()  # a scorer may spoil what it is given
        if answer == "raise":
            raise ZeroDivisionError("of mine")
        if answer == "hang":
            time.sleep(60)
        strange = {"none": None, "nan": float("nan"), "text": "1.0", "part": 0.4}
        return strange.get(answer, float(answer == entry["answer"]))


class Open(Sums):
    def __getitem__(self, i):
        return {**super().__getitem__(i), "answer": None}


DATASETS = {"sums": Sums, "open": Open, "composite": Sums}
factory = SimpleNamespace(DATASETS=DATASETS)


def create_dataset(name, seed, size):
    return DATASETS[name](seed, size)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A stand-in in place of the library, whether it is installed or not, and workers of its own."""
    (tmp_path / "reasoning_gym.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.split(".")[0] == "reasoning_gym"]:
        monkeypatch.delitem(sys.modules, name)
    workers = pool.Pool(1, "gym_worker", "reasoning-gym")
    monkeypatch.setattr(pool, "shared", lambda *_: workers)
    yield tmp_path
    workers.close()
    sys.modules.pop("reasoning_gym", None)


def test_problems_are_stable_distinct_and_their_splits_never_meet(library):
    test, train = load("reasoning-gym/sums", 40), load("reasoning-gym/sums", 40, split="train")
    assert [p.id for p in load("reasoning-gym/sums", 9)] == [p.id for p in test[:9]]
    assert len({p.prompt for p in [*test, *train]}) == 80
    assert load("reasoning-gym/sums", 3, seed=1) != test[:3]
    assert eval(test[0].prompt[:-1]) == int(test[0].answer)
    assert json.loads(json.dumps(dict(test[0].meta))) == test[0].meta
    assert load("reasoning-gym/open", 1)[0].answer == ""


def test_its_own_scorer_judges_and_what_it_does_not_judge_is_unjudged(library):
    judge, (problem, other) = ReasoningGym(seconds=1.5), load("reasoning-gym/sums", 2)
    assert isinstance(judge, Verifier)
    right = problem.answer
    said = {
        f"thinking <answer>0</answer> no: <answer> {right} </answer> so": (Outcome.CORRECT, ""),
        f"<answer>{right}": (Outcome.CORRECT, ""),  # the end of the tag was the stop string
        right: (Outcome.CORRECT, ""),
        f"it is {right}": (Outcome.WRONG, "scored 0; 1 or more is right"),
        "<answer>part</answer>": (Outcome.WRONG, "scored 0.4; 1 or more is right"),
        "": (Outcome.WRONG, "scored 0"),
        "<answer>raise</answer>": (Outcome.UNJUDGED, "reasoning-gym raised ZeroDivisionError: of mine"),
        "<answer>hang</answer>": (Outcome.UNJUDGED, "reasoning-gym took longer than its time limit"),
        "<answer>nan</answer>": (Outcome.UNJUDGED, "scored it nan"),
        "<answer>none</answer>": (Outcome.UNJUDGED, "scored it None"),
        "<answer>text</answer>": (Outcome.UNJUDGED, "scored it '1.0'"),
        "<answer>" + "9" * 30_000: (Outcome.UNJUDGED, "longer than 20,000"),
    }
    verdicts = judge.judge_many([(problem, Completion(text)) for text in said])
    for (text, (outcome, reason)), verdict in zip(said.items(), verdicts):
        assert verdict.outcome is outcome, text[:40]
        assert reason in verdict.reason
        assert verdict.verifier == judge.id
    assert verdicts[0].extracted == right
    assert judge(other, Completion(other.answer)).correct
    assert judge(problem, Completion(right, finish="length")).outcome is Outcome.WRONG
    assert judge(problem, Completion(right, finish="error")).outcome is Outcome.UNJUDGED


def test_a_threshold_pays_part_and_says_so(library):
    (problem,) = load("reasoning-gym/sums", 1)
    part = ReasoningGym(threshold=0.4)
    assert part(problem, Completion("part")).correct
    assert part.id.startswith("reasoning-gym:0.4@1+")
    assert part.id != ReasoningGym().id
    for threshold in (0, 1.5, math.nan):
        with pytest.raises(InputError, match="threshold"):
            ReasoningGym(threshold=threshold)


def test_what_another_version_made_is_not_judged(library):
    judge, (problem,) = ReasoningGym(), load("reasoning-gym/sums", 1)
    changed = Problem(problem.task, "1 + 1?", "2", problem.meta)
    assert "makes another question" in judge(changed, Completion("2")).reason
    assert judge(
        Problem(problem.task, "", problem.answer, problem.meta), Completion(problem.answer)
    ).correct  # as in verl
    another = Problem(problem.task, "", problem.answer + "0", problem.meta)
    assert "makes another question" in judge(another, Completion(problem.answer)).reason
    assert "none of reasoning-gym's" in judge(Problem("x", "1 + 1?", "2"), Completion("2")).reason


def test_it_is_a_task_of_every_command(library, tmp_path):
    shown = CliRunner().invoke(application(), ["tasks", "reasoning-gym/sums", "--problems", "2"])
    assert shown.stdout.count("answer:") == 2
    unknown = CliRunner().invoke(application(), ["tasks", "reasoning-gym/sum"])
    assert "did you mean reasoning-gym/sums" in str(unknown.exception)
    where = ["--store", str(tmp_path / "store"), "--problems", "4", "-n", "16", "--json"]
    done = CliRunner().invoke(application(), ["sample", "scripted:0.5", "reasoning-gym/sums", *where])
    assert done.exit_code == 0, (done.output, done.exception)
    said = json.loads(done.stdout)
    assert (said["problems"], said["n"], said["unjudged"]) == (4, 64, 0)
    assert 10 < said["correct"] < 54
    checked = CliRunner().invoke(application(), ["verify-check", "reasoning-gym/sums", "--json"])
    assert checked.exit_code == 0, checked.exception


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    sums = task("reasoning-gym/sums")  # a task is known without it
    with pytest.raises(MissingExtraError, match=r"goldpanner\[reasoning-gym\]"):
        sums.problems(1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("goldpanner.verify.gym.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[reasoning-gym\]"):
        sums.verifiers()


@pytest.mark.parametrize(
    "name", ["leg_counting", "spell_backward", "countdown", "rubiks_cube", "acre", "family_relationships"]
)
def test_the_real_library(name):
    pytest.importorskip("reasoning_gym")
    problems = load(f"reasoning-gym/{name}", 4)
    assert [p.id for p in problems] == [p.id for p in load(f"reasoning-gym/{name}", 4)]
    judge = task(f"reasoning-gym/{name}").verifiers()[0]
    wrong = [judge(p, Completion("<answer>no such thing</answer>")) for p in problems]
    assert not any(v.correct for v in wrong)
    if name != "rubiks_cube":  # it has no one right answer
        assert all(judge(p, Completion(f"<answer>{p.answer}</answer>")).correct for p in problems)
