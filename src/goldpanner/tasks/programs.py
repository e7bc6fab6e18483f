"""Benchmarks of programs that read your file of their problems, in the layout that each data set has.

A problem is refused, with its row and the reason, if its tests can judge nothing; of a few it is tried in the sandbox
that the reference passes and an empty program does not (`verify.Code.fault` says it of any problem).
"""

import base64
import io
import json
import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from goldpanner.errors import InputError
from goldpanner.tasks.benchmarks import family
from goldpanner.tasks.files import Row, rows
from goldpanner.tasks.task import Task
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.code import Code
from goldpanner.verify.code_tests import fault, tests_of

SANDBOX = "a sandbox"
TRIED = 3
"""Problems of a file that are tried in the sandbox when it is read."""
LARGEST = 1 << 30
"""Bytes that packed tests of one problem may unpack to."""
_MODULES = (
    *("collections", "heapq", "bisect", "itertools", "functools", "math", "string", "operator", "copy", "random", "re"),
    *("statistics", "datetime", "json", "sys"),
)
_ALL_OF = [f"from {name} import *\n" for name in (*_MODULES, "builtins", "typing")]
IMPORTS = "".join([*_ALL_OF, *(f"import {name}\n" for name in _MODULES)])
"""What the harnesses of LiveCodeBench, APPS and TACO put before every program."""
INPUT = "Write a Python program that reads the standard input and prints the answer."
STARTER = "Complete this code:"

Made = tuple[str, str, dict[str, object]]
"""Of a problem the prompt, the reference program ("" where there is none), and the meta."""
_tried: set[str] = set()


def _task(name: str, params: SamplingParams, layout: Callable[[Row], Made | None], worked: bool = True) -> Task:
    """Return a task of programs; `layout` makes a problem of a row, None of a row without tests."""

    def read(path: Path, n: int | None) -> list[Problem]:
        problems: dict[str, Problem] = {}
        places: list[str] = []
        for place, row in rows(path, name):
            if n is not None and len(problems) >= n:
                break
            try:
                made = layout(row)
            except (ValueError, TypeError, LookupError, EOFError, zlib.error, pickle.UnpicklingError) as error:
                columns = ", ".join(row) or "none"
                raise InputError(f"{place}: no row of {name}: {error!r}; its columns are {columns}") from None
            if made is None:
                continue
            problem = Problem(name, *made)
            if problem.id in problems:
                raise InputError(f"{place}: this problem stands twice, as {problem.prompt[:80]!r}; keep one of them")
            if (why := fault(tests_of(problem))) is not None:
                raise InputError(f"{place}: {why}")
            problems[problem.id] = problem
            places.append(place)
        if not problems:
            raise InputError(f"{path}: there is no problem with tests in this file; give another")
        _try(list(problems.values()), places)
        return list(problems.values())

    return Task(name, params, lambda: (Code(),), read=read, worked=_program if worked else None)


def _try(problems: list[Problem], places: list[str]) -> None:
    """Try a few problems in the sandbox, where there is one. Raises InputError naming the row that cannot judge."""
    step = max(1, len(problems) // TRIED)
    sample = [(place, problem) for place, problem in zip(places, problems) if problem.id not in _tried][::step][:TRIED]
    try:
        code = Code() if sample else None
    except InputError:  # the verifier will say so
        return
    for place, problem in sample:
        assert code is not None
        if (why := code.fault(problem)) is not None:
            raise InputError(f"{place}: its tests cannot judge a program: {why}")
        _tried.add(problem.id)


def _program(problem: Problem) -> str:
    """Return the reference program as a whole completion."""
    return f"```python\n{problem.meta.get('prefix', '')}{problem.answer}\n```"


# ------------------------------------------------------------------------------------------------ layouts


def _humaneval(row: Row) -> Made:
    """Chen et al. 2021, arXiv:2107.03374; HumanEval+ (Liu et al. 2023, arXiv:2305.01210) with its column `test`."""
    prompt, test = _text(row, "prompt"), _text(row, "test")
    meta = {"prefix": prompt, "tests": [f"{test}\ncheck({_text(row, 'entry_point')})"]}
    return prompt, _text(row, "canonical_solution"), {"task_id": row["task_id"], **meta}


def _mbpp(row: Row) -> Made:
    """Austin et al. 2021, arXiv:2108.07732, as it came out and sanitized; MBPP+ with its column `test`."""
    listed = [str(test) for test in _list(row["test_list"])]
    text = str(row["text"] if "text" in row else row["prompt"])
    before = "\n".join([str(row.get("test_setup_code") or ""), *map(str, _list(row.get("test_imports") or []))]).strip()
    tests = [str(row["test"])] if row.get("test") else listed
    prompt = f"{text}\nYour code should pass this test:\n{listed[0]}"
    return prompt, _text(row, "code"), {"task_id": row["task_id"], "tests": [*filter(None, [before]), *tests]}


def _livecodebench(row: Row) -> Made:
    """Jain et al. 2024, arXiv:2403.07974: public and private cases, of programs or of methods of `Solution`."""
    starter = str(row.get("starter_code") or "")
    name = _object(row.get("metadata") or "{}").get("func_name")
    cases = [*_list(_parsed(_text(row, "public_test_cases"))), *_list(_private(row.get("private_test_cases")))]
    tests = [_livecodebench_case(_object(case), str(name)) for case in cases]
    meta = {"task_id": row["question_id"], "prefix": IMPORTS, "tests": tests}
    return _asked(_text(row, "question_content"), starter), "", meta


def _livecodebench_case(case: Mapping[str, object], name: str) -> dict[str, object]:
    if case["testtype"] == "stdin":
        return {"stdin": str(case["input"]), "stdout": str(case["output"])}
    args = [_parsed(line) for line in str(case["input"]).split("\n")]
    return {"call": f"Solution().{name}", "args": args, "returns": _parsed(str(case["output"]))}


def _apps(row: Row) -> Made | None:
    """APPS (Hendrycks et al. 2021, arXiv:2105.09938) and TACO (Li et al. 2023, arXiv:2312.14852)."""
    cases = _object(row.get("input_output") or "{}")
    inputs, outputs = _list(cases.get("inputs") or []), _list(cases.get("outputs") or [])
    if not inputs:
        return None
    name, solutions = cases.get("fn_name"), _list(_parsed(str(row.get("solutions") or "[]")))
    tests = [
        {"call": f"Solution().{name}", "args": _keys(given), "accepts": _accepted(right)}
        if name
        else {"stdin": _joined(given), "stdout": _joined(right)}
        for given, right in zip(inputs, outputs, strict=True)
    ]
    meta: dict[str, object] = {"prefix": IMPORTS, "tests": tests}
    for column in ("problem_id", "name"):
        if row.get(column) is not None:
            meta["task_id"] = row[column]
    prompt = _asked(_text(row, "question"), str(row.get("starter_code") or ""))
    return prompt, str(solutions[0]) if solutions else "", meta


def _keys(given: object) -> list[object]:
    """Return arguments; a dict's keys were numbers before they were JSON."""
    return [{_number(k): v for k, v in arg.items()} if isinstance(arg, dict) else arg for arg in _list(given)]


def _number(key: str) -> object:
    return int(key) if key.lstrip("-").isdecimal() else key


def _accepted(right: object) -> list[object]:
    """Return the values that the harness of APPS takes for right: the output, and what it holds if it is a list."""
    values = [right, right[0]] if isinstance(right, list) and right else [right]
    return [*values, *({_number(k): v for k, v in value.items()} for value in values if isinstance(value, dict))]


def _codecontests(row: Row) -> Made | None:
    """Li et al. 2022, arXiv:2203.07814; problems that read or write files of a name of their own are left out."""
    if row.get("input_file") or row.get("output_file"):
        return None
    tests = [
        {"stdin": given, "stdout": right}
        for column in ("public_tests", "private_tests", "generated_tests")
        for given, right in _pairs(row.get(column) or [], "input", "output")
    ]
    python3 = [text for kind, text in _pairs(row.get("solutions") or [], "language", "solution") if kind in _PYTHON3]
    if not tests:
        return None
    return (
        _asked(_text(row, "description"), ""),
        python3[0] if python3 else "",
        {"task_id": row["name"], "tests": tests},
    )


_PYTHON3 = ("3", "PYTHON3")


def _pairs(value: object, first: str, second: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a list of objects, or of an object of two lists, as Parquet has it."""
    if isinstance(value, Mapping):
        yield from zip(map(str, _list(value[first])), map(str, _list(value[second])), strict=True)
        return
    for each in _list(value):
        pair = _object(each)
        yield str(pair[first]), str(pair[second])


# ------------------------------------------------------------------------------------------------ values


def _asked(question: str, starter: str) -> str:
    return f"{question.rstrip()}\n\n{STARTER}\n{starter}" if starter.strip() else f"{question.rstrip()}\n\n{INPUT}"


def _text(row: Row, column: str) -> str:
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"column {column} holds {value!r}; it must hold text")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{str(value)[:60]!r} is no list")
    return list(value)


def _object(value: object) -> Mapping[str, object]:
    parsed = _parsed(value) if isinstance(value, str) else value
    if not isinstance(parsed, Mapping):
        raise ValueError(f"{str(value)[:60]!r} is no object")
    return parsed


def _joined(lines: object) -> str:
    return "\n".join(map(str, lines)) if isinstance(lines, list) else str(lines)


def _parsed(text: str) -> object:
    """Return JSON; its integers may have any length."""
    parsed: object = json.loads(
        text, parse_int=lambda digits: int(digits) if len(digits) < 4000 else int(Decimal(digits))
    )
    return parsed


class _Text(pickle.Unpickler):
    """Unpickles a text, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"packed tests name {module}.{name}: they must hold text alone")


def _private(value: object) -> object:
    """Return LiveCodeBench's private cases: JSON, or JSON that was pickled, packed and written in base64."""
    text = str(value or "[]")
    if text.lstrip().startswith("["):
        return _parsed(text)
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(text), LARGEST)
    if unpacker.unconsumed_tail:
        raise ValueError(f"packed tests of more than {LARGEST >> 20} MB")
    return _parsed(str(_Text(io.BytesIO(data)).load()))


# ------------------------------------------------------------------------------------------------ families


def _bodies(name: str) -> Task:
    """The prompt is the head of a function."""
    stop = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(")
    return _task(name, SamplingParams(max_tokens=512, stop=stop), _humaneval)


def _functions(name: str) -> Task:
    """A sentence, and assertions that name the function."""
    return _task(name, SamplingParams(max_tokens=512, stop=("\n```",), template="# {prompt}\n```python\n"), _mbpp)


def _contest(layout: Callable[[Row], Made | None], worked: bool = True) -> Callable[[str], Task]:
    template = "{prompt}\n\nThink first, then give the whole program in one block that begins with ```python.\n"
    return lambda name: _task(name, SamplingParams(max_tokens=4096, template=template), layout, worked)


FAMILIES = (
    family("humaneval", "bodies of Python functions", ("humaneval/test",), _bodies, SANDBOX),
    family("mbpp", "short Python functions", ("mbpp/test",), _functions, SANDBOX),
    family("livecodebench", "programs of contests", ("livecodebench/test",), _contest(_livecodebench, False), SANDBOX),
    family("apps", "programs of contests", ("apps/test",), _contest(_apps), SANDBOX),
    family("taco", "programs of contests", ("taco/test",), _contest(_apps), SANDBOX),
    family("code-contests", "programs of contests", ("code-contests/test",), _contest(_codecontests), SANDBOX),
)
