"""verifiers / prime-rl: `results.jsonl` (verifiers 0.1) and `traces.jsonl` (verifiers since 0.2, prime-rl)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from goldpanner.interop.format import Format, json_with
from goldpanner.interop.lines import (
    LogRow,
    as_object,
    brief,
    log_rows,
    log_verdict,
    message_text,
    reward_of,
    unicode_text,
)
from goldpanner.interop.records import Draw, LogOrigin, Reading, Record, record_of, stated_params
from goldpanner.types import FinishReason, Outcome, Problem, Verdict, content_hash


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a rollout of `results.jsonl`; `metadata.json` beside it names the model. Errors are unjudged."""
    origin: LogOrigin | None = None
    task = "verifiers"
    for row in log_rows(reading):
        if origin is None or origin.file != row.file:
            origin, task = _origin(row.file, reading)
        prompt = message_text(row.need("prompt"))
        if prompt is None:
            reading.report.skip("the prompt is missing (the rollout failed before its first turn)", row.where)
            continue
        info = row.fields.get("info")
        # two examples may differ in what only the rubric sees
        meta = {"info": content_hash(json.dumps(info))} if info else {}
        problem = Problem(task, prompt, unicode_text(str(row.fields.get("answer") or "")), meta)
        draw = _draw(row, reading, problem)
        yield record_of(problem, [draw], origin, name=f"{task}/{row.need('example_id')}")


def _draw(row: LogRow, reading: Reading, problem: Problem) -> Draw:
    name = reading.score or "reward"
    error = row.fields.get("error")
    text = message_text(row.need("completion"))
    if error is not None or text is None:
        why = error.get("error", error) if isinstance(error, dict) else error
        return reading.draw(
            problem,
            unicode_text(brief(why) if text is None or text == "" else text),
            verdict=_failure(name, why, reading),
            finish="error",
        )
    value = row.need(name)
    cut = row.fields.get("is_truncated")
    finish: FinishReason = "length" if cut is True else "stop" if cut is False else "unknown"
    verdict = log_verdict(row, value, name, f"verifiers/{name}", reading)
    return reading.draw(problem, text, verdict=verdict, finish=finish, reward=reward_of(row.fields.get("reward")))


def _failure(name: str, why: object, reading: Reading) -> Verdict:
    """Return the verdict on a rollout that failed."""
    reason = unicode_text(f"the rollout failed: {brief(why)}")
    return Verdict(Outcome.UNJUDGED, reading.judge(f"verifiers/{name}"), reason=reason)


def _origin(path: Path, reading: Reading) -> tuple[LogOrigin, str]:
    """Return what `metadata.json` beside the results says of model, sampling and task."""
    beside = path.with_name("metadata.json")
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
        model = {"tool": "verifiers", "name": record["model"]}
        settings = record.get("sampling_args") or {}
        params = {k: settings.get(k) for k in ("temperature", "top_p", "top_k", "stop")}
        params["max_tokens"] = settings.get("max_completion_tokens", settings.get("max_tokens"))
        task = unicode_text(str(record.get("env_id") or "verifiers"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        reading.report.warn("metadata.json is not beside the results (or cannot be read): the model is unknown")
        return LogOrigin(path), "verifiers"
    return LogOrigin(path, model=model, params=stated_params(params)), task


def _read_traces(reading: Reading) -> Iterator[Record]:
    """Yield one record a trainable agent's trace of `traces.jsonl`; a trace's reward is the sum of score x weight."""
    for row in log_rows(reading):
        traces = row.objects("traces")
        if not traces:
            reading.report.skip("an episode without a trace (it failed before its first turn)", row.where)
        for trace in traces:
            agent = trace.get("agent")
            if isinstance(agent, dict) and agent.get("trainable") is False:
                reading.report.skip("a trace of an agent that is not the measured policy (trainable: false)", row.where)
                continue
            yield _trace_record(LogRow(row.file, row.line, trace), row, reading)


def _trace_record(trace: LogRow, episode: LogRow, reading: Reading) -> Record:
    nodes = trace.objects("nodes")
    calls = trace.objects("calls") if "calls" in trace.fields else []
    task = as_object(trace.need("task"))
    data = as_object(task.get("data"))
    completion = message_text([n.get("message") for n in nodes if n.get("sampled") is True])
    first = next((i for i, n in enumerate(nodes) if n.get("sampled") is True), len(nodes))
    question = data["prompt"] if data.get("prompt") is not None else [n.get("message") for n in nodes[:first]]
    prompt = message_text(question)
    if prompt is None or completion is None:
        trace.fail("the task's prompt or a node is no text and no chat message")
    info = as_object(episode.fields.get("env"))
    answer = data.get("answer", "")
    key = task.get("key") or task.get("hash")
    problem = Problem(
        unicode_text(str(info.get("id") or task.get("type") or "verifiers")),
        prompt,
        unicode_text(answer if isinstance(answer, str) else json.dumps(answer)),
        {"key": unicode_text(key)} if isinstance(key, str) else {},
    )
    draw = _trace_draw(trace, reading, problem, completion, calls)
    work = as_object(as_object(episode.fields.get("run")).get("work"))
    number = work.get("step") if work.get("type") == "train" else None
    step = number if isinstance(number, int) else None
    group = as_object(episode.fields.get("group")).get("id")
    return record_of(
        problem, [draw], _trace_origin(trace, calls), step=step, group=None if group is None else str(group)
    )


def _trace_draw(trace: LogRow, reading: Reading, problem: Problem, text: str, calls: list[dict[str, object]]) -> Draw:
    rewards = trace.fields.get("rewards")
    if not isinstance(rewards, dict):
        trace.fail(f"the field 'rewards' is {brief(rewards)}; expected an object of named rewards")
    name = reading.score or "reward"
    own = str(trace.fields.get("id") or "")
    if trace.fields.get("ok") is not True:
        errors = trace.fields.get("errors")
        why = (
            as_object(errors[-1]).get("type")
            if isinstance(errors, list) and errors
            else trace.fields.get("stop_condition")
        )
        return reading.draw(problem, text, verdict=_failure(name, why, reading), finish="error", identity=own)
    if reading.score is not None and reading.score not in rewards:
        trace.fail(f"no reward {reading.score!r}; the trace has {', '.join(rewards) or 'none'}")
    parts = [rewards[reading.score]] if reading.score is not None else list(rewards.values())
    value: float | None = None
    if parts and all(isinstance(p, dict) for p in parts):
        scores = [(p.get("score"), p.get("weight", 1.0)) for p in parts]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for pair in scores for x in pair):
            trace.fail(f"the field 'rewards' is {brief(rewards)}; expected numbers as score and weight")
        value = scores[0][0] if reading.score is not None else sum(float(s) * float(w) for s, w in scores)
    last: dict[str, object] = next((c for c in reversed(calls) if c.get("error") is None), {})
    stop = trace.fields.get("stop_condition")
    cut = last.get("finish_reason") == "length" or (isinstance(stop, str) and stop.startswith("max_"))
    finish: FinishReason = "length" if cut else "unknown" if last.get("finish_reason") is None else "stop"
    verdict = log_verdict(trace, value, name, f"verifiers/{name}", reading)
    return reading.draw(problem, text, verdict=verdict, finish=finish, reward=reward_of(value), identity=own)


def _trace_origin(trace: LogRow, calls: list[dict[str, object]]) -> LogOrigin:
    call = calls[0] if calls else {}
    settings = as_object(call.get("sampling"))
    config = as_object(as_object(trace.fields.get("agent")).get("config"))
    name = call.get("model") or config.get("model")
    origin = LogOrigin(trace.file)
    if isinstance(name, str):
        origin = replace(origin, model={"tool": "verifiers", "name": unicode_text(name)})
    names = ("temperature", "top_p", "top_k", "max_tokens", "stop")
    return replace(origin, params=stated_params({name: settings.get(name) for name in names}))


FORMATS = (
    Format(
        "verifiers",
        _read,
        "results.jsonl: JSON lines with example_id, prompt, completion, reward",
        json_with("example_id", "prompt", "completion", "reward"),
        ("results.jsonl",),
    ),
    Format(
        "verifiers-traces",
        _read_traces,
        "traces.jsonl: JSON lines with task, traces, ok",
        json_with("task", "traces", "ok"),
        ("traces.jsonl",),
    ),
)
