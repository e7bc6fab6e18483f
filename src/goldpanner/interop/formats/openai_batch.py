"""OpenAI's batch output, which vLLM's `run-batch` writes too: a row a request, joined to its problem by `custom_id`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop.format import Format, json_with, read_head
from goldpanner.interop.lines import LogRow, as_object, brief, json_rows, message_text
from goldpanner.interop.logged import LoggedRow, LoggedSample, one_answer, read_rows
from goldpanner.interop.records import Reading, Record, stated_params
from goldpanner.types import FinishReason

_ENDINGS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "withheld"}
_ANSWERS = ("answer", "ground_truth", "expected_answer", "target", "reference")
_NO_VERDICTS = "a batch output holds no verdicts: judge the samples with --rescore VERIFIER"


def _read(reading: Reading) -> Iterator[Record]:
    """Yield one record a request, with its choices as samples. A request that failed is one sample that failed.

    The prompt, and the right answer if it is there, come from the batch's input file, which lies beside the output and
    has the same `custom_id`s; what it lacks, from the problems of the import.
    """
    requests: dict[Path, dict[str, LogRow]] = {}
    models: dict[Path, str] = {}
    if reading.verifier is None:
        reading.report.warn(_NO_VERDICTS)

    def say(row: LogRow, reading: Reading) -> LoggedRow | None:
        if row.file not in requests:
            requests[row.file] = _requests(row.file)
            if not requests[row.file] and not reading.problems:
                reading.report.warn("the batch's input file is not beside its output: the prompts are unknown")
        name = row.text("custom_id")
        problem = reading.problems.get(name)
        if reading.problems and problem is None:
            reading.report.skip("a custom_id that none of the problems has", row.where)
            return None
        request = requests[row.file].get(name)
        sent = as_object(request.fields.get("body")) if request else {}
        prompt = message_text(sent.get("messages") or sent.get("prompt")) or ""
        fields = {**as_object(sent.get("metadata")), **(request.fields if request else {})}
        answer = next((fields[key] for key in _ANSWERS if key in fields), None)
        if problem is not None:
            prompt, answer = prompt or problem.prompt, problem.answer
        response = as_object(row.fields.get("response"))
        body = as_object(response.get("body"))
        settings = {k: sent.get(k) for k in ("temperature", "top_p", "top_k", "stop")}
        settings["max_tokens"] = sent.get("max_completion_tokens", sent.get("max_tokens"))
        model = body.get("model") or sent.get("model") or models.get(row.file)  # a request that failed may name none
        models[row.file] = str(model or "")
        return LoggedRow(
            _samples(row, response, body),
            prompt,
            one_answer(answer),
            name,
            model=models[row.file],
            params=stated_params(settings),
        )

    return read_rows(reading, "openai-batch", say)


def _samples(row: LogRow, response: Mapping[str, object], body: Mapping[str, object]) -> list[LoggedSample]:
    choices = body.get("choices")
    error = row.fields.get("error") or body.get("error")
    if error or response.get("status_code", 200) != 200 or not isinstance(choices, list) or not choices:
        return [LoggedSample("", None, error=f"the request failed: {brief(error or response.get('status_code'))}")]
    samples = []
    for choice in map(as_object, choices):
        message = as_object(choice.get("message"))
        text = choice["text"] if "text" in choice else message_text([message])
        if not isinstance(text, str):
            row.fail(f"a choice is {brief(choice)}; expected its text or message")
        finish = _ENDINGS.get(str(choice.get("finish_reason")), "unknown")
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            text, finish = text or refusal, "withheld"
        own = f"{body.get('id')} {choice.get('index')}" if body.get("id") else ""
        samples.append(LoggedSample(text, None, finish, identity=own))
    return samples


def _requests(output: Path) -> dict[str, LogRow]:
    """Return the requests of the batch by their `custom_id`, from the file beside the output that holds them."""
    first = next(json_rows(output))
    for path in sorted(output.parent.glob("*.jsonl*")):
        try:
            if path == output or not {"custom_id", "body"} <= set(read_head(path).fields):
                continue
        except InputError:
            continue
        requests = {str(row.fields.get("custom_id")): row for row in json_rows(path)}
        if str(first.fields.get("custom_id")) in requests:
            return requests
    return {}


FORMAT = Format(
    "openai-batch",
    _read,
    "JSON lines with custom_id, response (of the Batch API, or of vLLM's run-batch)",
    json_with("custom_id", "response"),
)
