"""lm-evaluation-harness: `samples_{task}_{date}.jsonl` (`--log_samples`), one record a document and filter.

Every repeat stands in `resps[0]`; the metrics beside it are of what the filter kept, by default the first repeat
alone. So a metric is used only for the repeats that it is about; the others are unjudged until a verifier judges them.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from goldpanner.interop.format import Format, json_with
from goldpanner.interop.lines import (
    LogRow,
    brief,
    json_rows,
    log_rows,
    log_verdict,
    message_text,
    reward_of,
    unicode_text,
)
from goldpanner.interop.records import LogOrigin, Reading, Record, record_of, stated_params
from goldpanner.types import Outcome, Problem, StatedParams, Verdict

_KEYS = ("doc_id", "doc", "resps", "filtered_resps")
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d{2}-\d{2}T[\d.:-]+)\.jsonl(\.gz)?$")
_FIXED = {*_KEYS, "target", "arguments", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash"}
_OTHER_REPEAT = "lm-evaluation-harness scored one repeat of this document, not this one"


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a document, with every repeat as a draw.

    Raises InputError when several filters or metrics could decide and none is named.
    """
    if reading.verifier is None and reading.filter is None:
        _one_filter(reading)
    filters: dict[Path, str] = {}
    origin: LogOrigin | None = None
    seen: set[tuple[Path, int | str]] = set()
    for row in log_rows(reading):
        if origin is None or origin.file != row.file:
            origin, task = _origin(row.file, reading)
        own = str(row.fields.get("filter", "none"))
        chosen = reading.filter or filters.setdefault(row.file, own)
        if own != chosen:
            reading.report.skip(f"the same samples again under the filter {own!r} (used: {chosen!r})", row.where)
            continue
        document = row.need("doc_id")
        if not isinstance(document, int | str):
            row.fail(f"the field 'doc_id' is {brief(document)}; expected a number")
        if (row.file, document) in seen:
            row.fail(f"document {document!r} stands twice under the filter {own!r}; was one run appended to another?")
        seen.add((row.file, document))
        if _is_sampled(row):
            yield _record(row, reading, origin, task, own)
        else:
            reading.report.skip("a log-likelihood (multiple-choice) record: nothing was sampled", row.where)
    if reading.filter is not None and not seen:
        names = sorted({str(r.fields.get("filter", "none")) for f in reading.files for r in json_rows(f)})
        row.fail(f"no record has the filter {reading.filter!r}; the log has {', '.join(names)}")


def _one_filter(reading: Reading) -> None:
    for path in reading.files:
        names: set[str] = set()
        for row in json_rows(path, (lambda where: None) if reading.skip_partial_line else None):
            names.add(str(row.fields.get("filter", "none")))
            if len(names) > 1:
                row.fail(
                    f"the log judges each answer under several filters ({', '.join(sorted(names))}, ...), "
                    "which may disagree; name one with --filter, or judge anew: --rescore VERIFIER"
                )


def _origin(path: Path, reading: Reading) -> tuple[LogOrigin, str]:
    """Return what the samples file's name and the results file beside it say."""
    match = _NAME.search(path.name)
    if match is None:
        return LogOrigin(path), path.name.removesuffix(".gz").removesuffix(".jsonl")
    results = path.with_name(f"results_{match['date']}.json")
    if not results.is_file():
        reading.report.warn(f"{results.name} is not beside the samples: the model is unknown")
        return LogOrigin(path), match["task"]
    try:
        record = json.loads(results.read_text(encoding="utf-8"))
        config = record.get("config") or {}
        model = {
            "tool": "lm-evaluation-harness",
            "name": record.get("model_name"),
            "backend": config.get("model"),
            "args": config.get("model_args"),
            "sha": config.get("model_sha"),
        }
    except (ValueError, AttributeError, OSError, RecursionError):
        reading.report.warn(f"{results.name} cannot be read: the model is unknown")
        return LogOrigin(path), match["task"]
    if config.get("use_cache"):
        reading.report.warn("the run used a response cache (use_cache): repeats may be copies of one sample")
    return LogOrigin(path, model=model), match["task"]


def _record(row: LogRow, reading: Reading, origin: LogOrigin, task: str, filter_name: str) -> Record:
    prompt, settings, template = _request(row)
    texts = _repeats(row)
    if not texts:
        row.fail("the field 'resps' holds no repeat; was the run stopped?")
    target = row.fields.get("target", "")
    meta = {k: row.fields[k] for k in ("doc_hash",) if isinstance(row.fields.get(k), str)}
    problem = Problem(
        unicode_text(task), prompt, unicode_text(target if isinstance(target, str) else json.dumps(target)), meta
    )
    verdicts, correct = _verdicts(row, reading, texts, filter_name)
    draws = [reading.draw(problem, text, verdict=verdict) for text, verdict in zip(texts, verdicts)]
    params = _params(settings, template)
    record = record_of(problem, draws, replace(origin, params=params), name=f"{task}/{row.fields['doc_id']}")
    if correct is not None and reading.verifier is None:
        count, of = correct
        record = replace(record, c=count, unjudged=len(texts) - of)
    return record


def _is_sampled(row: LogRow) -> bool:
    """Whether the record's `resps` are texts, not the log-likelihoods of choices."""
    resps = row.need("resps")
    if not isinstance(resps, list) or not resps or not all(isinstance(repeats, list) for repeats in resps):
        row.fail(f"the field 'resps' is {brief(resps)}; expected a list (requests) of lists (repeats)")
    return len(resps) == 1 and all(isinstance(text, str) for text in resps[0])


def _repeats(row: LogRow) -> list[str]:
    (repeats,) = cast(list[list[str]], row.need("resps"))  # what `_is_sampled` saw
    return [unicode_text(text) for text in repeats]


def _request(row: LogRow) -> tuple[str, dict[str, object], str]:
    """Return the prompt, the generation settings and the template of the document's one request."""
    arguments = row.fields.get("arguments")
    first: object = None
    if isinstance(arguments, dict) and arguments:  # since 0.4.3: {"gen_args_0": {"arg_0": prompt, "arg_1": settings}}
        first = next(iter(arguments.values()))
        first = list(first.values()) if isinstance(first, dict) else first
    elif isinstance(arguments, list) and arguments:
        first = arguments[0]
    given = first[0] if isinstance(first, list) and first else None
    messages = _messages(given)
    prompt = message_text(given if messages is None else messages)
    if prompt is None or not isinstance(first, list):
        row.fail(f"the field 'arguments' is {brief(arguments)}; expected the request's prompt and settings")
    settings = first[1] if len(first) > 1 and isinstance(first[1], dict) else {}
    return prompt, settings, "{prompt}" if messages is None else "chat"


def _messages(given: object) -> object:
    """Return the messages of a chat served by an API, which lm-eval logs as JSON in a list of one text; else None."""
    text = given[0] if isinstance(given, list) and given and isinstance(given[0], str) else given
    if isinstance(text, str) and text.startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        given = value
    return given if isinstance(given, list) and given and all(_is_message(item) for item in given) else None


def _is_message(item: object) -> bool:
    return isinstance(item, dict) and "role" in item and "content" in item


def _params(settings: dict[str, object], template: str) -> StatedParams:
    stated: dict[str, object] = {}  # without do_sample, which of both the backend took is not in the log
    if settings.get("do_sample") is False:
        stated = {"temperature": 0.0}
    elif settings.get("do_sample") is True:
        stated = {name: settings.get(name) for name in ("top_p", "top_k", "temperature")}
    stated |= {"max_tokens": settings.get("max_gen_toks"), "stop": settings.get("until"), "template": template}
    return stated_params(stated)


def _verdicts(
    row: LogRow, reading: Reading, texts: list[str], filter_name: str
) -> tuple[list[Verdict], tuple[int, int] | None]:
    """Return a verdict per repeat, and (correct, of how many) where the log tells their number but not which.

    The metric is about repeat i only where it is known to be: when there is one repeat; when the filter kept exactly
    the first repeat's text; or when it is pass@k over a list of repeats, whose value gives their number correct.
    """
    repeats = len(texts)
    if reading.verifier is not None:
        return [Verdict(Outcome.UNJUDGED, "")] * repeats, None
    name = _metric(row, reading)
    value = row.fields[name]
    judge = f"lm-eval/{name},{filter_name}"
    if repeats == 1:
        return [log_verdict(row, value, name, judge, reading)], None
    answers = row.fields.get("filtered_resps")
    scored = answers[0] if isinstance(answers, list) and answers else None
    unknown = Verdict(Outcome.UNJUDGED, reading.judge(judge), reason=_OTHER_REPEAT)
    if scored == texts[0]:
        reading.report.warn("only the first repeat was scored; the others are unjudged: judge them: --rescore VERIFIER")
        return [log_verdict(row, value, name, judge, reading), *[unknown] * (repeats - 1)], None
    if isinstance(scored, list) and (correct := _invert_pass_at_k(name, value, len(scored))) is not None:
        if correct in (0, len(scored)):
            all_same = log_verdict(row, bool(correct), name, judge, reading)
            return [all_same] * len(scored) + [unknown] * (repeats - len(scored)), None
        reading.report.warn(
            f"{name} tells how many repeats are correct, not which: the counts hold, the samples are unjudged"
        )
        return [unknown] * repeats, (correct, len(scored))
    reading.report.warn(
        "the log does not say which repeat was scored; all are unjudged: judge them: --rescore VERIFIER"
    )
    return [unknown] * repeats, None


def _metric(row: LogRow, reading: Reading) -> str:
    names = row.fields.get("metrics")
    if not isinstance(names, list):  # logs older than the field
        names = [k for k in row.fields if k not in _FIXED]
    names = [name for name in names if isinstance(name, str) and name in row.fields]
    if reading.score is not None:
        if reading.score not in names:
            row.fail(f"no metric {reading.score!r} here; the record has {', '.join(names) or 'none'}")
        return reading.score
    if len(names) != 1:
        row.fail(
            f"the record has {', '.join(names) or 'no'} metrics, so which decides must be named: "
            "give --score NAME, or judge anew: --rescore VERIFIER"
        )
    return str(names[0])


def _invert_pass_at_k(name: str, value: object, n: int) -> int | None:
    """Return the one c in 0..n whose pass@k = 1 - C(n-c,k)/C(n,k) (Chen et al. 2021) is `value`, if exactly one is."""
    match = re.fullmatch(r"pass@(\d{1,4})", name)
    reward = reward_of(value)
    if match is None or reward is None or not 1 <= (k := int(match[1])) <= n:
        return None
    fits = [c for c in range(n + 1) if abs(1 - math.comb(n - c, k) / math.comb(n, k) - reward) < 1e-9]
    return fits[0] if len(fits) == 1 else None


FORMAT = Format(
    "lm-eval",
    _read,
    "samples_*.jsonl: JSON lines with doc_id, doc, resps, filtered_resps",
    json_with(*_KEYS),
    ("samples_*.jsonl", "samples_*.jsonl.gz"),
    dated=True,
)
