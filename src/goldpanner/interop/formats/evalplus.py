"""evalplus: `{samples}_eval_results.json`, one JSON document: per task a list of solutions with two statuses.

`base` (the original tests) or `plus` (the original and the added tests) decides: `plus` where it was run, as evalplus
itself reports; name one with `score`. `timeout` is unjudged.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError
from goldpanner.interop.lines import Row, brief, opened, unicode_text
from goldpanner.interop.records import Origin, Reading, Record, record_of
from goldpanner.types import Outcome, Problem

_STATUS = {"pass": Outcome.CORRECT, "fail": Outcome.WRONG, "timeout": Outcome.UNJUDGED}


def document(path: Path) -> dict[str, Any]:
    """Return a file's one JSON object. Raises InputError naming the line where it breaks."""
    with opened(path) as handle:
        try:
            value = json.loads(handle.read().decode("utf-8-sig"))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {error.lineno} is not JSON ({error.msg}); expected one JSON object. Was the file cut?"
            ) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON ({error}); expected one JSON object") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is {brief(value)}; expected one JSON object")
    return value


def is_results(value: dict[str, Any]) -> bool:
    """Whether a JSON object is an evalplus result."""
    tasks = value.get("eval")
    return isinstance(tasks, dict) and "hash" in value and all(isinstance(r, list | dict) for r in tasks.values())


def read(reading: Reading) -> Iterator[Record]:
    """Yield one record a task, with every solution as a draw."""
    if reading.score not in (None, "base", "plus"):
        raise InputError(f"evalplus has the scores base and plus, not {reading.score!r}")
    for path in reading.files:
        tasks = document(path).get("eval")
        if not isinstance(tasks, dict) or not tasks:
            raise InputError(f"{path} has no tasks under 'eval'; expected evalplus's *_eval_results.json")
        reading.report.warn("evalplus does not log whether a solution was cut")
        for number, (task, solutions) in enumerate(tasks.items(), 1):
            reading.report.rows += 1
            row = Row(path, number, {"task": task}, "task")
            if not isinstance(solutions, list) or not all(isinstance(s, dict) for s in solutions) or not solutions:
                row.fail(f"the solutions of {task!r} are {brief(solutions)}; expected a list of results")
            problem = Problem("evalplus", "", "", {"task_id": unicode_text(task)})
            draws = [
                reading.draw(problem, solution.text("solution"), said=_said(solution, reading))
                for solution in (Row(path, number, s, "task") for s in solutions)
            ]
            yield record_of(problem, draws, Origin(path), name=task)


def _said(solution: Row, reading: Reading) -> tuple[Outcome, str, str]:
    base, plus = solution.need("base_status"), solution.fields.get("plus_status")
    for status in (base, plus):
        if status is not None and not (isinstance(status, str) and status in _STATUS):
            solution.fail(f"a status is {brief(status)}; expected pass, fail or timeout")
    which = reading.score or ("base" if plus is None else "plus")
    if which == "plus" and plus is None:
        solution.fail("the added tests were not run (plus_status is null); give --score base")
    needed = [base] if which == "base" else [base, plus]
    outcomes = [Outcome.UNJUDGED if s is None else _STATUS[s] for s in needed]
    if Outcome.WRONG in outcomes:
        outcome = Outcome.WRONG
    else:
        outcome = Outcome.UNJUDGED if Outcome.UNJUDGED in outcomes else Outcome.CORRECT
    if outcome is Outcome.UNJUDGED:
        reading.report.warn("a time-out is unjudged here; evalplus itself counts it as wrong")
    return (
        outcome,
        reading.judge(f"evalplus/{which}"),
        "" if outcome is Outcome.CORRECT else f"tests: {'/'.join(map(str, needed))}",
    )
