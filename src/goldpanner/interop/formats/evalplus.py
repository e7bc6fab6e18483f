"""evalplus: `{samples}_eval_results.json`, one JSON document: per task a list of solutions with two statuses.

`base` (the original tests) or `plus` (the original and the added tests) decides: `plus` where it was run, as evalplus
itself reports; name one with `score`. `timeout` is unjudged.
"""

from collections.abc import Iterator

from goldpanner.errors import InputError
from goldpanner.interop.format import Format, Head, read_document
from goldpanner.interop.lines import LogRow, brief, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record, record_of
from goldpanner.types import Outcome, Problem, Verdict

_STATUS = {"pass": Outcome.CORRECT, "fail": Outcome.WRONG, "timeout": Outcome.UNJUDGED}


def _recognises(head: Head) -> bool:
    tasks = head.fields.get("eval")
    return isinstance(tasks, dict) and "hash" in head.fields and all(isinstance(r, list | dict) for r in tasks.values())


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a task, with every solution as a draw."""
    if reading.score not in (None, "base", "plus"):
        raise InputError(f"evalplus has the scores base and plus, not {reading.score!r}")
    for path in reading.files:
        tasks = read_document(path).get("eval")
        if not isinstance(tasks, dict) or not tasks:
            raise InputError(f"{path} has no tasks under 'eval'; expected evalplus's *_eval_results.json")
        reading.report.warn("evalplus does not log whether a solution was cut")
        for number, (task, solutions) in enumerate(tasks.items(), 1):
            reading.report.rows += 1
            row = LogRow(path, number, {"task": task}, "task")
            if not isinstance(solutions, list) or not all(isinstance(s, dict) for s in solutions) or not solutions:
                row.fail(f"the solutions of {task!r} are {brief(solutions)}; expected a list of results")
            problem = Problem("evalplus", "", "", {"task_id": unicode_text(task)})
            draws = [
                reading.draw(problem, solution.text("solution"), verdict=_verdict(solution, reading))
                for solution in (LogRow(path, number, s, "task") for s in solutions)
            ]
            yield record_of(problem, draws, LogOrigin(path), name=task)


def _verdict(solution: LogRow, reading: Reading) -> Verdict:
    solution.need("base_status")
    base, plus = _status(solution, "base_status"), _status(solution, "plus_status")
    which = reading.score or ("base" if plus is None else "plus")
    if which == "plus" and plus is None:
        solution.fail("the added tests were not run (plus_status is null); give --score base")
    needed = [base] if which == "base" else [base, plus]
    outcomes = [Outcome.UNJUDGED if status is None else _STATUS[status] for status in needed]
    if Outcome.WRONG in outcomes:
        outcome = Outcome.WRONG
    else:
        outcome = Outcome.UNJUDGED if Outcome.UNJUDGED in outcomes else Outcome.CORRECT
    if outcome is Outcome.UNJUDGED:
        reading.report.warn("a time-out is unjudged here; evalplus itself counts it as wrong")
    reason = "" if outcome is Outcome.CORRECT else f"tests: {'/'.join(map(str, needed))}"
    return Verdict(outcome, reading.judge(f"evalplus/{which}"), reason=reason)


def _status(solution: LogRow, key: str) -> str | None:
    status = solution.fields.get(key)
    if status is not None and not (isinstance(status, str) and status in _STATUS):
        solution.fail(f"the field {key!r} is {brief(status)}; expected pass, fail or timeout")
    return status


FORMAT = Format(
    "evalplus", _read, "*eval_results.json with hash, eval", _recognises, ("*eval_results.json",), anonymous=True
)
