"""inspect_ai logs (`.eval`, `.json`), read and written by inspect_ai itself (extra `inspect`).

Epochs of one sample id are the n draws of one problem. NaN scores and samples with an error are unjudged.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.files import replacing
from goldpanner.interop.format import Format, Head
from goldpanner.interop.lines import LogRow, brief, log_verdict, message_text, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record, record_of, stated_params
from goldpanner.rng import seed_for
from goldpanner.types import FinishReason, Outcome, Problem, Sample, SamplingParams, StatedParams, Verdict, content_hash

_LETTERS = {"C": 1, "I": 0, "N": 0, "P": 0.5}
"""inspect_ai's values: correct, incorrect, no answer given, partial."""
_AT_ONCE = 1 << 26
"""Bytes (64 MiB) of an `.eval` file up to which it is read at once."""
_META = "goldpanner"
"""Key of our own metadata in logs that we write, so that they come back as they went."""


def _inspect() -> Any:
    try:
        import inspect_ai.log
    except ImportError:
        raise MissingExtraError("reading and writing inspect_ai logs", "inspect") from None
    return inspect_ai.log


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a sample (one epoch of one id). Raises MissingExtraError where inspect_ai is not installed."""
    inspect = _inspect()
    for path in _newest_first(inspect, reading):
        rows, names = reading.report.rows, dict[str, str]()
        samples = _samples(inspect, path, reading)
        origin, task = _origin(next(samples), path)
        while True:
            try:
                sample = next(samples)
            except StopIteration:
                break
            reading.report.rows += 1
            if sample.invalidation is not None:
                reading.report.skip("a sample that was invalidated after the run", f"{path}:{sample.id}")
                continue
            yield _record(sample, LogRow(path, reading.report.rows - rows, {}, "sample"), reading, origin, task, names)
        if reading.report.rows == rows:
            raise InputError(f"{path} holds no samples; was the evaluation stopped, or run with log_samples=False?")


def _newest_first(inspect: Any, reading: Reading) -> list[Path]:
    """Return the files in their order, but of one evaluation and its retries the newest first.

    The log of a retry repeats the samples that were done (same id and epoch), and holds what replaced those that had
    failed: what is read first counts.
    """
    for path in reading.files:
        if not path.is_file():
            raise InputError(f"{path} cannot be read: no such file; give an existing one")
    if len(reading.files) == 1:
        return list(reading.files)
    groups: dict[str, list[tuple[str, Path]]] = {}
    for path in reading.files:
        spec = next(_samples(inspect, path, reading, header_only=True)).eval
        groups.setdefault(spec.task_id, []).append((str(spec.created), path))
    return [path for group in groups.values() for _, path in sorted(group, reverse=True)]


def _samples(inspect: Any, path: Path, reading: Reading, *, header_only: bool = False) -> Iterator[Any]:
    """Yield the log's header, then (unless that is all that is asked for) its samples.

    inspect_ai's own errors become InputErrors.
    A large `.eval` is read one sample at a time, which bounds the memory; at once is about ten times as fast.
    """
    options = {"resolve_attachments": "core", "exclude_fields": {"store", "events", "events_data", "timelines"}}
    try:
        if header_only:
            yield inspect.read_eval_log(str(path), header_only=True)
            return
        whole = path.suffix != ".eval" or path.stat().st_size <= _AT_ONCE
        log = inspect.read_eval_log(str(path), header_only=not whole, **options)
        if log.status != "success":
            reading.report.warn(f"{path.name}: the evaluation's status is {log.status!r}, samples may be missing")
        yield log
        if not whole and log.eval.dataset.sample_ids is None:
            log, whole = inspect.read_eval_log(str(path), **options), True
        if whole:  # in the order in which they are read one at a time, which numbers them
            order = {name: i for i, name in enumerate(log.eval.dataset.sample_ids or [])}
            yield from sorted(log.samples or [], key=lambda s: (order.get(s.id, len(order)), str(s.id), s.epoch))
        else:
            yield from inspect.read_eval_log_samples(str(path), all_samples_required=False, **options)
    except GeneratorExit:
        raise
    except Exception as error:
        raise InputError(
            f"{path} is no log that inspect_ai can read ({type(error).__name__}: {str(error).splitlines()[:1]}); "
            "was it cut, or written by a newer inspect_ai?"
        ) from None


def _origin(log: Any, path: Path) -> tuple[LogOrigin, str]:
    spec, ours = log.eval, (log.eval.metadata or {}).get(_META)
    ours = ours if isinstance(ours, dict) else {}
    settings = {**spec.model_generate_config.model_dump(), **log.plan.config.model_dump(exclude_none=True)}
    stated = {k: settings.get(k) for k in ("temperature", "top_p", "top_k", "max_tokens")}
    stated["stop"] = settings.get("stop_seqs")
    if isinstance(ours.get("params"), dict):
        stated = ours["params"]
    model = {"tool": "inspect_ai", "name": spec.model, "args": spec.model_args, "base_url": spec.model_base_url}
    if isinstance(ours.get("policy"), str):
        model = {"policy": ours["policy"], "name": spec.model}
    identity, hashed = f"inspect:{spec.task_id or spec.eval_id}", ours.get("params_id")
    hashed = hashed if isinstance(hashed, str) else None
    return LogOrigin(path, model=model, params=stated_params(stated), params_id=hashed, identity=identity), spec.task


def _record(sample: Any, row: LogRow, reading: Reading, origin: LogOrigin, task: str, names: dict[str, str]) -> Record:
    question = sample.input if isinstance(sample.input, str) else [m.model_dump() for m in sample.input]
    prompt = message_text(question) or ""
    target = sample.target if isinstance(sample.target, str) else json.dumps(sample.target)
    ours = (sample.metadata or {}).get(_META)
    ours = ours if isinstance(ours, dict) else {}
    meta = ours["meta"] if isinstance(ours.get("meta"), dict) else {}
    unseen = {k: getattr(sample, k) for k in ("choices", "files", "setup") if getattr(sample, k)}
    if unseen and not meta:  # samples may share their prompt and differ in what the sandbox holds
        meta = {"setup": content_hash(unseen)}
    problem = Problem(str(ours.get("task", task)), prompt, unicode_text(target), meta)
    if names.setdefault(problem.id, str(sample.id)) != str(sample.id):
        reading.report.warn("several sample ids have the same input and target: they count as one problem")
    choice = sample.output.choices[0] if sample.output.choices else None
    stopped = choice.stop_reason if choice else "unknown"
    finish: FinishReason = "unknown" if stopped == "unknown" else "stop"
    if stopped == "content_filter":
        finish = "withheld"
    # a token, message or time limit may also end the sample before the model does
    if stopped in ("max_tokens", "model_length") or sample.limit is not None:
        finish = "length"
    failed = sample.error is not None or choice is None
    text = unicode_text(sample.output.completion)
    if failed:
        text = text or unicode_text(sample.error.message if sample.error else "no output")
    seed, index, verifier = ours.get("seed"), ours.get("index"), ours.get("verifier")
    verdict = _verdict(sample, row, reading)
    own = (seed, index) if isinstance(seed, int) and isinstance(index, int) else None
    draw = reading.draw(
        problem,
        text,
        verdict=replace(verdict, verifier=verifier) if isinstance(verifier, str) else verdict,
        finish="error" if failed else finish,
        key=own or (seed_for("import", str(origin.identity), str(sample.id)), sample.epoch - 1),
        identity=f"{origin.identity} {sample.id} {sample.epoch}",
    )
    return record_of(problem, [draw], origin, name=f"{task}/{sample.id}")


def _verdict(sample: Any, row: LogRow, reading: Reading) -> Verdict:
    scores = sample.scores or {}
    judge = "inspect" if reading.score is None else f"inspect/{reading.score}"
    if reading.verifier is not None:
        return Verdict(Outcome.UNJUDGED, "")
    if sample.error is not None:
        reason = unicode_text(f"the sample failed: {sample.error.message[:200]}")
        return Verdict(Outcome.UNJUDGED, reading.judge(judge), reason=reason)
    if not scores:
        return Verdict(Outcome.UNJUDGED, reading.judge(judge), reason="the sample was not scored")
    name = reading.score or (next(iter(scores)) if len(scores) == 1 else None)
    if name is None or name not in scores:
        row.fail(f"the sample has the scores {', '.join(scores)}; name the one that decides with --score")
    value = scores[name].value
    if isinstance(value, float) and value != value:
        reason = unicode_text(scores[name].explanation or "the score is NaN")
        return Verdict(Outcome.UNJUDGED, reading.judge(judge), reason=reason)
    if isinstance(value, list | dict):
        row.fail(f"score {name!r} is {brief(value)}; expected one value (C, I, N, P, a number), not several")
    label = f"score {name!r}"
    if isinstance(value, str) and value in _LETTERS:
        label, value = f"{label} {value!r} =", _LETTERS[value]
    return log_verdict(row, value, label, judge, reading)


def write_inspect(
    samples: Iterable[Sample],
    problems: Mapping[str, Problem],
    path: Path | str,
    *,
    model: str,
    params: SamplingParams | StatedParams | None = None,
    task: str = "goldpanner",
) -> Path:
    """Write samples of one policy as an inspect_ai log that `inspect view` opens, atomically.

    Epochs number a problem's samples in their order; unjudged samples get the score NaN, failed ones an error.

    Args:
        samples: samples of one policy under one set of sampling parameters.
        problems: problem id -> problem, of every sample.
        path: file to write, `.eval` or `.json`.
        model: name of the model in the log.
        params: how the samples were drawn, as far as it is known.
        task: name of the task in the log.

    Returns:
        The path.

    Raises:
        InputError: samples of several policies or sampling parameters, or of problems that are not given.
    """
    log_module = _inspect()
    path = Path(path)
    if path.suffix not in (".eval", ".json"):
        raise InputError(f"export: {path.name} must end in .eval or .json for an inspect_ai log")
    ordered = sorted(samples, key=lambda s: (s.problem, s.seed, s.index))
    if not ordered:
        raise InputError("export: there are no samples to write")
    _same(ordered, problems)
    with replacing(path) as temporary:
        log_module.write_eval_log(_log(log_module, ordered, problems, model, params, task), str(temporary))
    return path


def _same(samples: list[Sample], problems: Mapping[str, Problem]) -> None:
    for name in ("policy", "params"):
        ids = sorted({str(getattr(s, name)) for s in samples})
        if len(ids) > 1:
            raise InputError(
                f"export: the samples come from {len(ids)} {name} ids ({', '.join(ids[:4])}); an inspect_ai log "
                "is of one, choose it"
            )
    missing = next((s.problem for s in samples if s.problem not in problems), None)
    if missing is not None:
        raise InputError(f"export: problem {missing!r} is not among the problems given; its prompt is needed")


def _log(
    inspect: Any,
    samples: list[Sample],
    problems: Mapping[str, Problem],
    model: str,
    params: SamplingParams | StatedParams | None,
    task: str,
) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, EvalStats
    from inspect_ai.model import GenerateConfig

    stated = cast(StatedParams, asdict(params)) if isinstance(params, SamplingParams) else params or StatedParams()
    settings: dict[str, object] = {
        k: stated.get(k) for k in ("temperature", "top_p", "max_tokens") if stated.get(k) is not None
    }
    if stated.get("top_k"):
        settings["top_k"] = stated["top_k"]
    if stated.get("stop"):
        settings["stop_seqs"] = list(stated["stop"])
    written: list[Any] = []
    epochs: dict[str, int] = {}
    for sample in samples:
        epochs[sample.problem] = epochs.get(sample.problem, 0) + 1
        written.append(_sample(sample, problems[sample.problem], epochs[sample.problem], model))
    identity = content_hash([s.key for s in samples], 22)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    spec = EvalSpec(
        eval_id=identity,
        run_id=identity,
        created=now,
        task=task,
        task_id=identity,
        dataset=EvalDataset(name=task, samples=len(epochs), sample_ids=list(epochs)),
        model=model,
        model_generate_config=GenerateConfig(**settings),
        config=EvalConfig(epochs=max(epochs.values())),
        metadata={_META: {"policy": samples[0].policy, "params_id": samples[0].params, "params": stated}},
    )
    stats = EvalStats(started_at=now, completed_at=now)
    return EvalLog(version=2, status="success", eval=spec, stats=stats, samples=written, results=_results(samples))


def _results(samples: list[Sample]) -> Any:
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    judged = [s.verdict.correct for s in samples if s.verdict.outcome is not Outcome.UNJUDGED]
    metrics = {"mean": EvalMetric(name="mean", value=sum(judged) / len(judged))} if judged else {}
    score = EvalScore(name="verdict", scorer="verdict", metrics=metrics, unscored_samples=len(samples) - len(judged))
    return EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=[score])


def _sample(sample: Sample, problem: Problem, epoch: int, model: str) -> Any:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    completion, verdict = sample.completion, sample.verdict
    reply = ChatMessageAssistant(content=completion.text)
    failed = completion.finish == "error"
    stop = {"length": "max_tokens", "stop": "stop"}.get(completion.finish, "unknown")
    value: str | float = {Outcome.CORRECT: "C", Outcome.WRONG: "I"}.get(verdict.outcome, float("nan"))
    score = Score(
        value=value,
        answer=verdict.extracted,
        explanation=verdict.reason or None,
        metadata={"verifier": verdict.verifier},
    )
    meta = {"task": problem.task, "meta": dict(problem.meta), "seed": sample.seed, "index": sample.index}
    meta |= {"verifier": verdict.verifier, "logprob": completion.logprob}
    return EvalSample(
        id=sample.problem,
        epoch=epoch,
        input=problem.prompt,
        target=problem.answer,
        messages=[ChatMessageUser(content=problem.prompt), reply],
        output=ModelOutput(model=model, choices=[ChatCompletionChoice(message=reply, stop_reason=stop)]),
        scores=None if failed else {"verdict": score},
        metadata={_META: meta},
        error=EvalError(message=completion.text, traceback="", traceback_ansi="") if failed else None,
    )


def _recognises(head: Head) -> bool:
    if head.kind == "zip":
        return head.path.suffix == ".eval"
    return head.path.suffix == ".json" and {"version", "status", "eval"} <= set(head.fields)


FORMAT = Format(
    "inspect",
    _read,
    "*.eval, or *.json with version, status, eval",
    _recognises,
    ("*.eval", "[0-9]*T*.json"),
)
