"""TRL: `completions/completions_{step}.parquet` (written with `log_completions=True`); and problem sets for TRL."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from goldpanner.errors import InputError
from goldpanner.files import replacing
from goldpanner.interop.format import Format, parquet_with, read_document, read_head
from goldpanner.interop.lines import LogRow, brief, log_verdict, message_text, reward_of
from goldpanner.interop.records import LogOrigin, Reading, Record, problem_of, record_of
from goldpanner.interop.selection import ProblemSelection

_COLUMNS = ("step", "prompt", "completion", "advantage")
_LAST_BATCH = (
    "TRL writes this log when it logs (every logging_steps) and keeps the last generation batch alone: of the batches "
    "generated since the log before, all but the last are lost (checked with TRL 1.16)"
)
_EVALUATION = "rows of an evaluation, which TRL writes over those of training at its step"
_REUSED = "the same generation batch, logged again at a later step"


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a completion, from each file in turn; a batch that is logged twice is taken once."""
    reading.report.warn(_LAST_BATCH)
    reading.report.warn("TRL does not log whether a completion was cut at the length limit")
    before: pa.Table | None = None
    evaluated: dict[Path, frozenset[int]] = {}
    for path in reading.files:
        table = _table(path)
        if path.parent not in evaluated:
            evaluated[path.parent] = _evaluated_steps(path.parent)
        step = table.column("step")[0].as_py()
        if step == 0 or step in evaluated[path.parent]:
            reading.report.rows += table.num_rows
            for number in range(table.num_rows):
                reading.report.skip(_EVALUATION, f"{path}:{number + 1}")
            continue
        origin = LogOrigin(path)
        batch = table.drop_columns("step")
        again = before is not None and batch.equals(before)
        before = batch
        for number, fields in enumerate(table.to_pylist(), 1):
            row = LogRow(path, number, fields, "row")
            reading.report.rows += 1
            if again:  # num_iterations or steps_per_generation > 1: one batch serves several steps
                reading.report.skip(_REUSED, row.where)
            else:
                yield _record(row, reading, origin)


def _evaluated_steps(folder: Path) -> frozenset[int]:
    """Return the steps at which the trainer evaluated, as the newest `trainer_state.json` of the run says.

    TRL names its log after the step, for training and evaluation alike, so an evaluation's rows replace those of
    training (checked in the source of TRL 1.16); nothing is trained before step 1.
    """
    root = folder.parent if folder.name == "completions" else folder
    states = [*root.glob("trainer_state.json"), *root.glob("checkpoint-*/trainer_state.json")]
    steps: set[int] = set()
    for state in states:
        history = read_document(state).get("log_history")
        for entry in history if isinstance(history, list) else []:
            if isinstance(entry, dict) and any(str(name).startswith("eval_") for name in entry):
                steps |= {entry["step"]} if isinstance(entry.get("step"), int) else set()
    return frozenset(steps)


def _table(path: Path) -> pa.Table:
    """Return one file, which holds one generation batch and no more."""
    missing = set(_COLUMNS) - set(read_head(path).fields)
    if missing:
        raise InputError(
            f"{path} lacks the column(s) {', '.join(sorted(missing))} of TRL's completions log; "
            "give completions_{step}.parquet, or name the right format with --format"
        )
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: {_first_line(error)}; the file is damaged, copy it again") from None
    if table.num_rows == 0:
        raise InputError(f"{path} is empty: it holds no completion")
    return table


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _record(row: LogRow, reading: Reading, origin: LogOrigin) -> Record:
    prompt, completion = (message_text(row.need(key)) for key in ("prompt", "completion"))
    if prompt is None or completion is None:
        row.fail("prompt and completion must be text or chat messages")
    problem = problem_of("trl", prompt, "")
    name = _reward(row, reading)
    verdict = log_verdict(row, row.fields[name], name, f"trl/{name}", reading)
    draw = reading.draw(problem, completion, verdict=verdict, reward=reward_of(row.fields[name]))
    own_id = row.fields.get("goldpanner_id")
    if own_id is not None and not isinstance(own_id, str):
        row.fail(f"the column 'goldpanner_id' is {brief(own_id)}; expected a problem id")
    problem_id = own_id or problem.id
    return record_of(problem, [draw], origin, problem_id=problem_id, step=row.integer("step"), group=problem_id)


def _reward(row: LogRow, reading: Reading) -> str:
    """Return the reward column: the one named, or the only numeric one."""
    if reading.score is not None:
        if reading.score not in row.fields:
            row.fail(f"no column {reading.score!r}; the log has {', '.join(map(str, row.fields))}")
        return reading.score
    others = [k for k, v in row.fields.items() if k not in _COLUMNS and isinstance(v, bool | int | float | None)]
    if len(others) != 1:
        row.fail(
            f"the log has {len(others)} columns that may be the reward ({', '.join(others) or 'none'}), "
            "so which decides must be named: give --score COLUMN"
        )
    return others[0]


def write_trl(selection: ProblemSelection, path: Path | str, *, chat: bool = False) -> Path:
    """Write a problem set as TRL's parquet rows: `prompt` (text, or one user message with `chat`) and more columns.

    They are `answer, goldpanner_id, n, c, unjudged, p, weight`; TRL hands them to reward functions by keyword.
    """
    rows: list[dict[str, object]] = [
        {
            "prompt": [{"role": "user", "content": problem.prompt}] if chat else problem.prompt,
            "answer": problem.answer,
            "goldpanner_id": name,
            **measured,
        }
        for name, problem, measured in selection.rows()
    ]
    path = Path(path)
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)
    return path


FORMAT = Format(
    "trl",
    _read,
    "completions_*.parquet with step, prompt, completion, advantage",
    parquet_with(*_COLUMNS),
    ("completions_*.parquet", "completions/completions_*.parquet"),
)
