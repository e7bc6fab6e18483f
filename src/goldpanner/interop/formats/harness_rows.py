"""Samples of evaluation harnesses, a row each: lighteval, evalscope, OpenCompass, Every Eval Ever."""

from collections.abc import Iterator

from goldpanner.errors import InputError
from goldpanner.interop.columns import cells, table_chunks
from goldpanner.interop.format import Format, Head, json_with, parquet_with, read_document, read_head
from goldpanner.interop.lines import LogRow, as_object, brief, message_text
from goldpanner.interop.logged import LoggedRow, LoggedSample, chosen_score, one_answer, read_rows
from goldpanner.interop.records import Reading, Record

_SEVERAL = "lighteval scores the repeats of a row together; they are unjudged: judge them: --rescore VERIFIER"


def _lighteval(row: LogRow, reading: Reading) -> LoggedRow | None:
    """Read a row of `details_*.parquet`: `doc`, `model_response` with a list of texts, `metric` of all of them."""
    doc, response = as_object(row.need("doc")), as_object(row.need("model_response"))
    texts = response.get("text")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        row.fail(f"model_response.text is {brief(texts)}; expected a list of texts")
    if not texts:
        reading.report.skip("a log-likelihood (multiple-choice) record: nothing was sampled", row.where)
        return None
    value: object = None
    name = reading.score or "metric"
    if reading.verifier is None and len(texts) == 1:
        name, value = chosen_score(row, row.need("metric"), reading)
    elif reading.verifier is None:
        reading.report.warn(_SEVERAL)
    choices, gold = doc.get("choices"), doc.get("gold_index")
    at = gold[0] if isinstance(gold, list) and gold else gold
    valid = isinstance(choices, list) and isinstance(at, int) and 0 <= at < len(choices)
    answer = choices[at] if valid and isinstance(choices, list) and isinstance(at, int) else None
    prompt = message_text(doc.get("query")) or ""
    return LoggedRow([LoggedSample(text, value) for text in texts], prompt, one_answer(answer), score=name)


def _evalscope(row: LogRow, reading: Reading) -> LoggedRow:
    """Read a row of `reviews/{model}/{benchmark}.jsonl`: repeats of a problem share their `group_id`."""
    scored = as_object(row.need("sample_score"))
    score = as_object(scored.get("score"))
    messages = row.fields.get("messages")
    question = [m for m in messages if as_object(m).get("role") != "assistant"] if isinstance(messages, list) else None
    prompt = message_text(question or row.fields.get("input")) or ""
    name, value = reading.score or "score", None
    if reading.verifier is None:
        main = score.get("main_score_name")
        values = as_object(score.get("value"))
        named = isinstance(main, str) and main in values and reading.score is None
        name, value = (str(main), values[str(main)]) if named else chosen_score(row, values, reading, first=True)
    text = score.get("prediction")
    if not isinstance(text, str):
        row.fail(f"sample_score.score.prediction is {brief(text)}; expected text")
    group = scored.get("group_id")
    own = group if group is not None else scored.get("sample_id", row.fields.get("index"))
    return LoggedRow(
        [LoggedSample(text, value)],
        prompt,
        one_answer(row.fields.get("target")),
        "" if own is None else str(own),
        name,
        row.file.parent.name if row.file.parent.parent.name == "reviews" else "",
    )


def _opencompass_rows(reading: Reading) -> Iterator[LogRow]:
    """Yield the details of `results/{model}/{dataset}.json`, which are an object by number, or a list."""
    for path in reading.files:
        details = read_document(path).get("details")
        listed = list(details.values()) if isinstance(details, dict) else details
        if not isinstance(listed, list):
            raise InputError(f"{path} has no details (run OpenCompass with --dump-eval-details); they are needed")
        for number, fields in enumerate((item for item in listed if isinstance(item, dict)), 1):
            reading.report.rows += 1
            yield LogRow(path, number, fields, "sample")


def _opencompass(row: LogRow, reading: Reading) -> LoggedRow | None:
    text = row.fields.get("origin_prediction")
    if not isinstance(text, str):
        reading.report.skip("a log-likelihood (multiple-choice) record: nothing was sampled", row.where)
        return None
    prompt = message_text(_with_roles(row.fields.get("prompt"))) or ""
    answer = one_answer(row.fields.get("references"))
    sample = LoggedSample(text, row.fields.get("correct"))
    model = row.file.parent.name if row.file.parent.parent.name == "results" else ""
    return LoggedRow([sample], prompt, answer, score="correct", model=model)


def _with_roles(prompt: object) -> object:
    """Return OpenCompass's messages (`role` HUMAN, `prompt`) as anybody else's."""
    if not isinstance(prompt, list):
        return prompt
    return [
        {"role": str(m.get("role", "")).lower(), "content": m.get("prompt", m.get("content"))}
        if isinstance(m, dict)
        else {"content": m}
        for m in prompt
    ]


def _lighteval_rows(reading: Reading) -> Iterator[LogRow]:
    for path in reading.files:
        names = [name for name in ("doc", "model_response", "metric") if name in read_head(path).fields]
        for chunk in table_chunks(path, names):
            columns = {name: cells(chunk.columns[name]) for name in names}
            for index, place in enumerate(chunk.places):
                reading.report.rows += 1
                yield LogRow(path, place, {name: column[index] for name, column in columns.items()}, "row")


def _read_lighteval(reading: Reading) -> Iterator[Record]:
    return read_rows(reading, "lighteval", _lighteval, _lighteval_rows(reading))


def _read_evalscope(reading: Reading) -> Iterator[Record]:
    return read_rows(reading, "evalscope", _evalscope)


def _read_opencompass(reading: Reading) -> Iterator[Record]:
    return read_rows(reading, "opencompass", _opencompass, _opencompass_rows(reading))


def _read_every_eval_ever(reading: Reading) -> Iterator[Record]:
    """Yield a record an instance of `{uuid}_samples.jsonl`; one that several metrics score has a row for each."""
    metrics: dict[tuple[str, str], str] = {}

    def say(row: LogRow, reading: Reading) -> LoggedRow | None:
        metric = str(row.fields.get("evaluation_result_id") or row.text("evaluation_name"))
        if reading.score not in (None, metric, row.fields.get("evaluation_name")):
            reading.report.skip(f"not of the metric {reading.score}", row.where)
            return None
        name = row.text("sample_id")
        if metrics.setdefault((row.text("evaluation_id"), name), metric) != metric:
            reading.report.skip("the same sample under another metric (choose one with --score)", row.where)
            return None
        question, output = as_object(row.need("input")), as_object(row.fields.get("output"))
        texts, messages = output.get("raw"), row.fields.get("messages")
        if not isinstance(texts, list) and isinstance(messages, list):
            texts = [message_text([m for m in messages if as_object(m).get("role") == "assistant"]) or ""]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            row.fail(f"the output is {brief(row.fields.get('output'))}; expected output.raw, a list of texts")
        error = str(row.fields.get("error") or "")
        value = as_object(row.need("evaluation")).get("is_correct")
        if len(texts) > 1 and reading.verifier is None:
            reading.report.warn(
                "an instance with several outputs has one verdict; they are unjudged: --rescore VERIFIER"
            )
        score = value if len(texts) == 1 else None
        samples = [LoggedSample(text, score, error=error) for text in texts or [""]]
        return LoggedRow(
            samples,
            message_text(question.get("formatted") or question.get("raw")) or "",
            one_answer(question.get("reference")),
            name,
            "is_correct",
            row.text("model_id"),
        )

    return read_rows(reading, "every-eval-ever", say)


def _is_opencompass(head: Head) -> bool:
    details = head.fields.get("details")
    listed = list(details.values()) if isinstance(details, dict) else details
    if head.kind not in ("document", "lines") or not isinstance(listed, list):
        return False
    return any("origin_prediction" in as_object(item) for item in listed[:3])


FORMATS = (
    Format(
        "lighteval",
        _read_lighteval,
        "details_*.parquet with doc, model_response, metric",
        parquet_with("doc", "model_response", "metric"),
        ("details_*.parquet",),
        anonymous=True,
    ),
    Format(
        "evalscope",
        _read_evalscope,
        "reviews/{model}/*.jsonl: JSON lines with index, sample_score",
        json_with("index", "sample_score"),
        anonymous=True,
    ),
    Format(
        "opencompass",
        _read_opencompass,
        "results/{model}/*.json with details of origin_prediction, correct",
        _is_opencompass,
        anonymous=True,
    ),
    Format(
        "every-eval-ever",
        _read_every_eval_ever,
        "*_samples.jsonl: JSON lines with schema_version, evaluation_id, sample_id, evaluation",
        json_with("schema_version", "evaluation_id", "sample_id", "evaluation"),
        ("*_samples.jsonl",),
    ),
)
