"""Made tasks and benchmarks: what is asked, how it is put, who judges."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.tasks.catalog import FAMILIES, find_task, load, task, task_names
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import Countdown, Number

DATA = Path(__file__).parents[2] / "shared" / "data"
GENERATED = (
    "arithmetic/add-2d2d",
    "arithmetic/sub-2d2d",
    "arithmetic/mul-2d1d",
    "countdown/2",
    "countdown/3",
    "countdown/4",
)


@pytest.mark.parametrize("name", GENERATED)
def test_splits_are_disjoint_and_stable(name: str) -> None:
    made = task(name)
    test, train = made.problems(40), made.problems(40, split="train")
    assert len({problem.prompt for problem in test}) == 40
    assert not {problem.prompt for problem in test} & {problem.prompt for problem in train}
    assert task(name).problems(40) == test
    assert made.problems(15) == test[:15]
    assert made.problems(40, seed=1) != test
    assert all(problem.task == name for problem in test)
    assert load(name, 15) == test[:15]


@pytest.mark.parametrize("name", GENERATED)
def test_the_examples_are_right_and_never_asked(name: str) -> None:
    made = task(name)
    verifier = made.verifiers()[0]
    *shown, last = made.params.template.split("\n")
    assert last == "{prompt}"
    assert len(shown) == 4
    train = {problem.prompt: problem for problem in made.problems(100, seed=-1, split="train")}
    asked = {problem.prompt for problem in made.problems(40)}
    for line in shown:
        end = line.index("=" if "=" in line else ":") + 1
        prompt, answer = line[:end], line[end:]
        assert prompt not in asked
        assert verifier(train[prompt], Completion(answer)).correct
    assert made.params.stop == ("\n",)
    assert made.params.full_softmax


def test_arithmetic_is_right_and_dials() -> None:
    for name in ("arithmetic/add-3d2d", "arithmetic/sub-3d2d", "arithmetic/sub-2d2d", "arithmetic/mul-2d2d"):
        digits = [int(name[-4]), int(name[-2])]
        for problem in task(name).problems(50):
            left, _ = problem.prompt.split(" =")
            assert eval(left) == int(problem.answer) >= 0
            assert [len(number) for number in left.split() if number.isdecimal()] == digits == problem.meta["digits"]
    by_prompt = {problem.prompt: problem.meta["carries"] for problem in task("arithmetic/add-1d1d").problems(15)}
    assert all(carries == int(eval(prompt[:-1]) > 9) for prompt, carries in by_prompt.items())
    borrows = {problem.prompt: problem.meta["carries"] for problem in task("arithmetic/sub-2d1d").problems(50)}
    assert all(count == int(int(prompt[1]) < int(prompt[5])) for prompt, count in borrows.items())


def test_arithmetic_verdicts_tell_form_from_skill() -> None:
    made = task("arithmetic/add-2d2d")
    (problem,) = made.problems(1)
    verifier = made.verifiers()[0]
    assert verifier(problem, Completion(f" {problem.answer}")).correct
    for text in (" 7", "", " what?", f" {problem.answer} + 1 = 3", f"{problem.answer}\n{problem.answer}"):
        assert verifier(problem, Completion(text)).outcome is Outcome.WRONG, text
    assert verifier.id != Number().id


COUNTDOWN = Problem("countdown/3", "make 25 from 2 5 20:", "25", {"numbers": [2, 5, 20], "target": 30})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("2 * 5 + 20", Outcome.CORRECT),
        (" (5*2)+20\n", Outcome.CORRECT),
        ("20 + 5 × 2 = 30", Outcome.CORRECT),
        ("The answer is $20 + 5 \\times 2$.", Outcome.CORRECT),
        ("<think>5 + 20</think><answer>20 + 2*5</answer>", Outcome.CORRECT),
        ("20 * 5 / 2 - 20", Outcome.WRONG),  # 20 twice
        ("30", Outcome.WRONG),
        ("30 = 30", Outcome.WRONG),
        ("20 + 5 * 2 + 0", Outcome.WRONG),
        ("20 + 10", Outcome.WRONG),
        ("20 + 5 + 2", Outcome.WRONG),
        ("20 / (5 - 5) + 2", Outcome.WRONG),
        ("2 ** 5 - 20", Outcome.WRONG),
        ("20 // 5 * 2", Outcome.WRONG),
        ("-(-20) + 5 * 2", Outcome.WRONG),
        ("020 + 5 * 2", Outcome.WRONG),
        ("20 + 5 * 2)", Outcome.WRONG),
        ("20 + 5 * 2 = 30 = 30", Outcome.UNJUDGED),
        ("__import__('os')", Outcome.UNJUDGED),
        ("twenty plus ten", Outcome.UNJUDGED),
        ("", Outcome.UNJUDGED),
        ("The answer is not 20 + 5 * 2", Outcome.UNJUDGED),
        ("(" * 100 + "20" + ")" * 99, Outcome.UNJUDGED),
        ("<answer>" + "(" * 90 + "20+5*2" + ")" * 89 + "</answer>", Outcome.WRONG),
    ],
)
def test_countdown_verdicts(text: str, outcome: Outcome) -> None:
    verdict = Countdown()(COUNTDOWN, Completion(text))
    assert verdict.outcome is outcome, verdict
    assert bool(verdict.reason) is not verdict.correct


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text(), st.lists(st.sampled_from([*"0123456789+-*/() =\n", "20", "5", "2"]), max_size=30).map("".join))
)
def test_countdown_never_raises_and_never_pays_for_other_numbers(text: str) -> None:
    verdict = Countdown()(COUNTDOWN, Completion(text))
    assert bool(verdict.reason) is not verdict.correct
    assert Countdown()(Problem("t", "q", "a"), Completion(text)).outcome is Outcome.UNJUDGED


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_files_of_the_user(tmp_path: Path) -> None:
    gsm = write(tmp_path / "g.jsonl", {"question": "Two and two?", "answer": "2+2=4\n#### 4"})
    (problem,) = load("gsm8k/train", 1, path=gsm)
    assert (problem.task, problem.answer) == ("gsm8k/train", "4")
    assert task("gsm8k/train").verifiers()[0](problem, Completion("The answer is $4.")).correct
    aime = write(tmp_path / "a.jsonl", {"ID": "1", "Problem": "Find $n$.", "Answer": 204})
    assert task("aime/2024", aime).problems()[0].answer == "204"
    maths = write(tmp_path / "m.jsonl", {"problem": "p", "answer": "\\frac12", "subject": "Algebra", "level": 2})
    (problem,) = task("math-500/test", maths).problems()
    assert problem.meta == {"subject": "Algebra", "level": 2}
    assert task("math-500/test").verifiers()[0](problem, Completion("\\boxed{0.5}")).correct
    with pytest.raises(InputError, match="no column is called 'problem'"):
        task("aime/2024", write(tmp_path / "other.jsonl", {"q": "1"})).problems()


def test_code_problems(tmp_path: Path) -> None:
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "canonical_solution": "    return x\n",
        "entry_point": "f",
    }
    test = "def check(candidate):\n    assert candidate(1) == 1\n"
    (problem,) = task("humaneval/test", write(tmp_path / "h.jsonl", {**row, "test": test})).problems()
    assert problem.prompt == problem.meta["prefix"] == "def f(x):\n"
    assert problem.meta["tests"] == [test + "\ncheck(f)"]
    row = {
        "task_id": 2,
        "text": "Write f.",
        "code": "def f(x): return x",
        "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
    }
    (problem,) = task("mbpp/test", write(tmp_path / "m.jsonl", row)).problems()
    assert problem.prompt.endswith("assert f(1) == 1")
    assert problem.meta["tests"] == row["test_list"]
    try:
        verifier = task("mbpp/test").verifiers()[0]
    except InputError as error:
        pytest.skip(f"no sandbox here: {error}")
    assert verifier(problem, Completion("def f(x):\n    return x")).correct


def test_ids() -> None:
    assert all(find_task(name).id == name for name in task_names())
    assert {name.partition("/")[0] for name in task_names()} == set(FAMILIES)
    for name in ("arithmetic/add-2d", "countdown/9", "countdown/", "gsm8k", "gsm8k/", "arithmetic/div-2d2d", "x/y"):
        assert find_task(name) is None
    with pytest.raises(InputError, match="no task is called 'countdown/9'; did you mean countdown/"):
        task("countdown/9")
    with pytest.raises(InputError, match="did you mean .*gsm8k/test"):
        load("gsm8k-test", 3)
    with pytest.raises(InputError, match="give its path"):
        load("gsm8k/test", 3)
    with pytest.raises(InputError, match="leave out the path"):
        load("countdown/3", 3, path="file.jsonl")
    with pytest.raises(InputError, match="give their number n"):
        task("countdown/3").problems()


@pytest.mark.skipif(not DATA.is_dir(), reason="the data files are not here")
def test_the_real_files() -> None:
    assert len(task("gsm8k/test", DATA / "gsm8k_test.jsonl").problems()) == 1319
    assert len(task("math-500/test", DATA / "math500_test.jsonl").problems()) == 500
