"""open-instruct: `{run}_rollouts_{shard}.jsonl` (written with `--save_traces`): token ids, reward, finish reason a row.

The rows hold no text: problems are known by their prompt's token ids, and texts stay empty.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from goldpanner.interop.format import Format, json_with
from goldpanner.interop.lines import LogRow, brief, log_rows, log_verdict, reward_of, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record, record_of
from goldpanner.types import FinishReason, Problem


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a rollout; a problem is known by its prompt's token ids, its data set and its ground truth."""
    origin: LogOrigin | None = None
    for row in log_rows(reading):
        if origin is None or origin.file != row.file:
            origin = _origin(row.file, reading)
            reading.report.warn("open-instruct logs token ids, no text: problems are known by their token ids")
            if reading.verifier is not None:
                row.fail(
                    "open-instruct logs token ids, no text, so a verifier has nothing to read; leave --rescore out"
                )
        yield _record(row, reading, origin)


def _record(row: LogRow, reading: Reading, origin: LogOrigin) -> Record:
    prompt, response = _tokens(row, "prompt_tokens"), _tokens(row, "response_tokens")
    dataset = row.fields.get("dataset")
    truth = row.fields.get("ground_truth")
    problem = Problem(
        unicode_text(dataset if isinstance(dataset, str) else json.dumps(dataset)),
        "",
        unicode_text(truth if isinstance(truth, str) else json.dumps(truth)),
        {"prompt_tokens": list(prompt)},
    )
    name = reading.score or "reward"
    verdict = log_verdict(row, row.need(name), name, f"open-instruct/{name}", reading)
    reason = row.fields.get("finish_reason")
    finish: FinishReason = "unknown" if reason is None else "stop" if reason == "stop" else "length"
    draw = reading.draw(
        problem,
        "",
        verdict=verdict,
        finish=finish,
        reward=reward_of(row.fields.get("reward")),
        tokens=response,
        logprobs=_logprobs(row, len(response)),
    )
    step = row.integer("step") if "step" in row.fields else None
    return record_of(problem, [draw], origin, step=step, group=str(row.integer("prompt_idx")))


def _tokens(row: LogRow, key: str) -> tuple[int, ...]:
    value = row.need(key)
    if not isinstance(value, list) or not all(type(t) is int and 0 <= t < 2**31 for t in value):
        row.fail(f"the field {key!r} is {brief(value)}; expected a list of token ids")
    return tuple(value)


def _logprobs(row: LogRow, length: int) -> tuple[float, ...] | None:
    """Return the response's log-probabilities, where there is a finite one for each token."""
    value = row.fields.get("logprobs")
    if not isinstance(value, list) or len(value) != length or not length:
        return None
    numbers = [reward_of(x) for x in value]
    return None if None in numbers else tuple(x for x in numbers if x is not None)


def _origin(path: Path, reading: Reading) -> LogOrigin:
    """Return what `{run}_metadata.jsonl` beside the shard says."""
    run = path.name.split("_rollouts_")[0]
    try:
        record = json.loads(path.with_name(f"{run}_metadata.jsonl").read_text(encoding="utf-8").split("\n", 1)[0])
        return LogOrigin(path, model={"tool": "open-instruct", "name": record["model_name"], "run": record["run_name"]})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        reading.report.warn(
            f"{run}_metadata.jsonl is not beside the rollouts (or cannot be read): the model is unknown"
        )
        return LogOrigin(path)


FORMAT = Format(
    "open-instruct",
    _read,
    "*_rollouts_*.jsonl: JSON lines with prompt_tokens, response_tokens, reward, sample_idx, prompt_idx",
    json_with("prompt_tokens", "response_tokens", "reward", "sample_idx", "prompt_idx"),
    ("*_rollouts_[0-9]*.jsonl",),
)
