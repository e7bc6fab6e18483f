"""Benchmarks of programs: each data set's own layout is read, small rows of our own stand for them."""

# ruff: noqa: E501 (rows as they stand)

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import goldpanner as gp
from goldpanner.errors import InputError
from goldpanner.tasks import programs
from goldpanner.types import Completion
from goldpanner.verify import Code

HUMANEVAL = {
    "task_id": "T/0",
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Sum."""\n',
    "canonical_solution": "    return sum(xs)\n",
    "entry_point": "total",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}
PLUS = (
    "def assertion(out, exp, atol):\n    assert abs(out - exp) <= atol\n\n\ndef check(candidate):\n"
    "    inputs = [[[1, 2]], [[5]]]\n    results = [3, 5]\n    for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
    "        assertion(candidate(*inp), exp, 0)\n"
)
MBPP = {
    "task_id": 2,
    "text": "Write a function to add two numbers.",
    "code": "def add(a, b):\r\n  return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert math.isclose(add(0.1, 0.2), 0.3)"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
SANITIZED = {
    "task_id": 3,
    "prompt": "Write a function to halve a number.",
    "code": "def halve(a): return a / 2",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(halve(3), 1.5)", "assert halve(4) == 2"],
}


def lcb(cases: list[dict[str, str]], packed: bool, **more: Any) -> dict[str, Any]:
    text = json.dumps(cases[1:])
    private = base64.b64encode(zlib.compress(pickle.dumps(text))).decode() if packed else text
    return {
        "question_title": "Add", "question_content": "Add two numbers.", "platform": "atcoder", "question_id": "q1",
        "starter_code": "", "public_test_cases": json.dumps(cases[:1]), "private_test_cases": private, "metadata": "{}", **more,
    }  # fmt: skip


STDIN = [
    {"input": "1 2\n", "output": "3\n", "testtype": "stdin"},
    {"input": "2 5\n", "output": "7", "testtype": "stdin"},
]
METHOD = [
    {"input": "[1, 2]\n1", "output": "[2, 3]", "testtype": "functional"},
    {"input": "[]\n5", "output": "[]", "testtype": "functional"},
]
SUM = "a, b = map(int, input().split())\nprint(a + b)"
SOLUTION = (
    "class Solution:\n    def shift(self, xs: List[int], k: int) -> List[int]:\n        return [x + k for x in xs]"
)
LCB_METHOD = lcb(
    METHOD,
    True,
    starter_code="class Solution:\n    def shift(self, xs, k):\n        ",
    metadata='{"func_name": "shift"}',
)
APPS = {
    "problem_id": 7, "question": "Add two numbers.", "solutions": json.dumps([SUM]), "difficulty": "interview",
    "input_output": json.dumps({"inputs": ["1 2\n", ["2 5", ""]], "outputs": ["3\n", ["7"]]}), "url": "", "starter_code": "",
}  # fmt: skip
APPS_CALL = {
    **APPS, "problem_id": 8, "question": "Count letters.", "starter_code": "def count(s):\n",
    "solutions": json.dumps(["def count(d, s):\n    return {ord(c): s.count(c) for c in s}"]),
    "input_output": json.dumps({"fn_name": "count", "inputs": [[{"1": 2}, "aab"]], "outputs": [[{"97": 2, "98": 1}]]}),
}  # fmt: skip
TACO = {
    "question": "Big numbers.", "solutions": json.dumps(["print(10 ** int(input()))"]), "starter_code": "", "name": "big",
    "input_output": '{"inputs": ["2\\n", 3], "outputs": ["100\\n", 1000]}', "difficulty": "EASY",
}  # fmt: skip
CONTESTS = {
    "name": "1_A. Add", "description": "Add two numbers.", "input_file": "", "output_file": "",
    "public_tests": {"input": ["1 2\n"], "output": ["3\n"]}, "private_tests": {"input": [], "output": []},
    "generated_tests": {"input": ["2 5\n"], "output": ["7\n"]},
    "solutions": {"language": [2, 1, 3], "solution": ["int main() {}", "print 1", SUM]},
    "time_limit": {"seconds": 2, "nanos": 0},
}  # fmt: skip


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def code() -> Code:
    try:
        return Code()
    except InputError as error:
        pytest.skip(f"no sandbox here: {error}")


CASES = [
    ("humaneval/test", HUMANEVAL, "    return sum(xs)", "    return 3"),
    ("humaneval/plus", {**HUMANEVAL, "test": PLUS}, "    return sum(xs)", "    return 3"),
    ("mbpp/test", MBPP, "def add(a, b): return a + b", "def add(a, b): return 3"),
    ("mbpp/sanitized", SANITIZED, "def halve(x): return x / 2", "def halve(x): return x // 2"),
    (
        "mbpp/plus",
        {**SANITIZED, "test": "for x in range(9):\n    assert halve(x) == x / 2"},
        "def halve(x): return x / 2",
        "def halve(x): return 0",
    ),
    ("livecodebench/test", lcb(STDIN, True), SUM, "print(3)"),
    ("livecodebench/test", lcb(STDIN, False), "print(sum(map(int, stdin.readline().split())))", "print(7)"),
    ("livecodebench/test", LCB_METHOD, SOLUTION, SOLUTION.replace("+ k", "+ 2")),
    ("apps/test", APPS, SUM, "print(3)"),
    ("apps/test", APPS_CALL, "def count(d, s): return Counter(map(ord, s))", "def count(d, s): return d"),
    ("taco/test", TACO, "print(10 ** int(input()))", "print(100)"),
    ("code-contests/test", CONTESTS, SUM, "print(3)"),
]


@pytest.mark.parametrize(("name", "row", "right", "wrong"), CASES)
def test_every_layout_is_read_and_judged(
    code: Code, tmp_path: Path, name: str, row: dict[str, Any], right: str, wrong: str
) -> None:
    task = gp.task(name, write(tmp_path / "f.jsonl", row))
    (problem,) = task.problems()
    assert code.fault(problem) is None
    for text in (right, f"So:\n\n```python\n{right}\n```\n"):
        assert code(problem, Completion(text)).correct
    for text in (wrong, f"```python\n{wrong}\n```", "```python\npass\n```", ""):
        assert not code(problem, Completion(text)).correct
    if task.worked is not None:
        assert code(problem, Completion(task.worked(problem))).correct
    json.dumps(dict(problem.meta)), problem.id


def test_parquet_files(code: Code, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([CONTESTS]), tmp_path / "c.parquet")
    (problem,) = gp.task("code-contests/test", tmp_path / "c.parquet").problems()
    assert problem.meta["tests"] == [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "2 5\n", "stdout": "7\n"}]
    assert problem.answer == SUM


def test_rows_without_tests_are_left_out(tmp_path: Path) -> None:
    rows = [
        {**APPS, "input_output": ""},
        APPS,
        {**APPS, "question": "x", "input_output": '{"inputs": [], "outputs": []}'},
    ]
    assert len(gp.task("apps/test", write(tmp_path / "a.jsonl", *rows)).problems()) == 1
    with pytest.raises(InputError, match="no problem with tests"):
        gp.task("apps/test", write(tmp_path / "b.jsonl", rows[0])).problems()
    files = [{**CONTESTS, "input_file": "in.txt"}, CONTESTS]
    assert len(gp.task("code-contests/test", write(tmp_path / "c.jsonl", *files)).problems()) == 1


@pytest.mark.parametrize(
    ("name", "row", "why"),
    [
        ("humaneval/test", {**HUMANEVAL, "test": "def check(candidate):\n    pass\n"}, "checks nothing|asks nothing"),
        (
            "humaneval/test",
            {**HUMANEVAL, "canonical_solution": "    return 4\n"},
            "its reference is wrong: test failed",
        ),
        (
            "humaneval/test",
            {**HUMANEVAL, "test": "def check(candidate):\n    assert candidate("},
            "a test is no Python",
        ),
        ("humaneval/test", {"task_id": 1, "prompt": "x"}, "no row of humaneval/test: KeyError\\('test'\\)"),
        ("mbpp/test", {**MBPP, "test_list": ["add(1, 2)"]}, "checks nothing"),
        ("mbpp/test", {**MBPP, "test_list": ["x = 1\nassert x"]}, "ask nothing of the program"),
        ("mbpp/test", {**MBPP, "test_list": "assert add(1, 2) == 3"}, "is no list"),
        ("livecodebench/test", lcb(STDIN, False, private_test_cases="!!"), "no row of livecodebench/test"),
        (
            "apps/test",
            {**APPS, "input_output": json.dumps({"inputs": ["1 2"], "outputs": ["3", "4"]})},
            "no row of apps",
        ),
        ("apps/test", {**APPS, "solutions": json.dumps(["print(3)"])}, "its reference is wrong"),
        ("taco/test", {**TACO, "input_output": '{"inputs": ["1"], "outputs": [""]}'}, "an empty program passes"),
    ],
)
def test_what_cannot_judge_is_refused_with_its_row(code: Code, tmp_path: Path, name: str, row: Any, why: str) -> None:
    with pytest.raises(InputError, match=rf"f.jsonl, row 1: .*({why})"):
        gp.task(name, write(tmp_path / "f.jsonl", row)).problems()


def test_packed_tests_run_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    packed = base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()
    with pytest.raises(InputError, match="packed tests name builtins.print"):
        gp.task(
            "livecodebench/test", write(tmp_path / "l.jsonl", lcb(STDIN, True, private_test_cases=packed))
        ).problems()


def test_packed_tests_have_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "LARGEST", 1000)
    row = lcb(STDIN, True, private_test_cases=base64.b64encode(zlib.compress(bytes(10**6))).decode())
    with pytest.raises(InputError, match="packed tests of more than"):
        gp.task("livecodebench/test", write(tmp_path / "l.jsonl", row)).problems()


def test_a_twin_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2: this problem stands twice"):
        gp.task("mbpp/test", write(tmp_path / "m.jsonl", SANITIZED, SANITIZED)).problems()
