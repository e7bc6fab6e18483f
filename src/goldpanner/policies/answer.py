"""What an OpenAI-compatible server answers, in every shape that servers give it: completions, events, token counts."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from goldpanner.types import Completion, FinishReason, SamplingParams

FINISH: Mapping[str, FinishReason] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(
        ("content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii"), "withheld"
    ),
    **dict.fromkeys(("error", "abort", "cancelled"), "error"),
}
"""What servers call the endings, in lower case; anything else (none, `tool_calls`) is unknown."""
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Fields of a message that hold the thought."""
_DENSEST = 10.0
"""Bytes of a long prompt that one token stands for at most; text and code have three to five."""
_LONG = 1000
"""Bytes from which a prompt counts as long."""


@dataclass(frozen=True)
class Answer:
    """The completions of one request, and what else is said of it."""

    completions: list[Completion]
    """Those that were drawn: choices that the server itself calls failed are not among them."""
    failed: int = 0
    """Choices that failed."""
    fingerprint: str = ""
    """Of the system that drew them, where one is given."""
    prompt_tokens: tuple[int, ...] | None = None
    """The prompt as the server put it to the model, where it says so."""
    model: str = ""
    """Name of the model that answered, where it is given."""
    prompt_size: int | None = None
    """Tokens of the prompt by the server's own count, where it says so."""

    @property
    def given(self) -> int:
        """How many choices came, failed ones included."""
        return len(self.completions) + self.failed

    @classmethod
    def of(cls, answer: Mapping[str, object], params: SamplingParams) -> "Answer":
        """Read an answer. Raises ValueError where it has no completion that was drawn."""
        everything = completions(answer, params)
        whole = [c for c in everything if c.finish != "error"]
        if not whole:
            raise ValueError(everything[0].text)
        prompt = token_ids(answer.get("prompt_token_ids")) or token_ids(first_choice(answer).get("prompt_token_ids"))
        usage = answer.get("usage")
        size = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return cls(
            whole,
            len(everything) - len(whole),
            str(answer.get("system_fingerprint") or ""),
            prompt,
            str(answer.get("model") or ""),
            size if type(size) is int and size > 0 else None,
        )

    def cuts(self, prompt: str) -> bool:
        """Return whether the server's count of tokens is too small for the whole prompt."""
        size = len(prompt.encode())
        return size >= _LONG and self.prompt_size is not None and size > _DENSEST * self.prompt_size


def completions(answer: Mapping[str, object], params: SamplingParams) -> list[Completion]:
    """Return the completions of an answer, in the order of their index; a choice that failed is one that ends `error`.

    Log-probabilities are kept only for T = 1 over the full softmax: under other settings some servers give those of
    the model and some those of the adjusted distribution. Raises ValueError where there are no choices.
    """
    choices = _choices(answer)
    places = [choice.get("index") for choice in choices]
    if all(isinstance(place, int) for place in places):
        order = sorted(range(len(choices)), key=lambda i: int(str(int(places[i]))))  # type: ignore[call-overload]
        choices = [choices[i] for i in order]
    return [_completion(choice, params) for choice in choices]


def first_choice(answer: Mapping[str, object]) -> Mapping[str, object]:
    """Return the first choice of an answer. Raises ValueError where there are none."""
    return _choices(answer)[0]


def token_ids(given: object) -> tuple[int, ...] | None:
    """Return token ids as given, None where they are none."""
    if isinstance(given, list) and given and all(type(i) is int and i >= 0 for i in given):
        return tuple(given)
    return None


def _choices(answer: Mapping[str, object]) -> list[Mapping[str, object]]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError(f"the answer has no choices: {str(answer)[:80]}")
    return choices


def _completion(choice: Mapping[str, object], params: SamplingParams) -> Completion:
    reason = choice.get("finish_reason")
    finish: FinishReason = FINISH.get(reason.lower(), "unknown") if isinstance(reason, str) else "unknown"
    if finish == "error" or choice.get("error"):
        why = choice.get("error") or f"finish_reason {reason!r}"
        return Completion(f"the server gave up: {str(why)[:200]}", finish="error")
    message, thought = choice.get("message"), None
    if isinstance(message, dict):
        text, thought, refusal = _parts(message.get("content"))
        for name in _THOUGHTS:
            thought = thought or "".join(_parts(message.get(name))[:2])
        note = message.get("refusal")
        refusal = refusal or (note if isinstance(note, str) else "")
        if refusal:
            text, finish = text or refusal, "withheld"
    else:
        given = choice.get("text")
        if not isinstance(given, str):
            return Completion(f"a choice has no text: {str(choice)[:80]}", finish="error")
        text = given
    logprobs = _logprobs(choice.get("logprobs")) if params.full_softmax else None
    tokens = token_ids(choice.get("token_ids"))
    if tokens is not None and logprobs is not None and len(tokens) != len(logprobs):
        tokens = None  # which token has which probability is not known
    total = None if logprobs is None else math.fsum(logprobs)
    return Completion(text, tokens, total, finish, logprobs, thought or None)


def _parts(content: object) -> tuple[str, str, str]:
    """Return text, thought and refusal of a message's content: a text, nothing, or a list of parts of any kind."""
    text, thought, refusal = "", "", ""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            kind = str(part.get("type", "text"))
            if kind == "refusal":
                refusal += str(part.get("refusal") or "")
            elif "think" in kind or "reason" in kind:
                thought += "".join("".join(_parts(part.get(k))) for k in ("thinking", "text", "summary", "content"))
            elif isinstance(part.get("text"), str):
                text += part["text"]
    return text, thought, refusal


def _logprobs(given: object) -> tuple[float, ...] | None:
    """Return the tokens' log-probabilities (nats) of either endpoint's layout; None where one is missing."""
    if not isinstance(given, dict):
        return None
    values = given.get("token_logprobs")
    if values is None and isinstance(given.get("content"), list):
        values = [token.get("logprob") if isinstance(token, dict) else None for token in given["content"]]
    if not isinstance(values, list) or not values:
        return None
    if not all(isinstance(v, int | float) and math.isfinite(v) and v <= 1e-3 for v in values):
        return None
    return tuple(min(float(v), 0.0) for v in values)


# --- event streams


def is_stream(text: str, content_type: str = "") -> bool:
    """Return whether an answer is a stream of server-sent events, by its media type or by how it begins."""
    return content_type.startswith("text/event-stream") or text.lstrip().startswith(("data:", "event:", "id:", ":"))


def join_stream(text: str) -> dict[str, object]:
    """Return the answer whose events a server sent although no stream was asked for.

    Raises ValueError where the stream is no JSON or broke off: it has neither an end nor a reason for every choice.
    """
    answer: dict[str, object] = {}
    choices: dict[int, dict[str, object]] = {}
    ended = False
    for data in _events(text):
        if data == "[DONE]":
            ended = True
            continue
        event = json.loads(data)
        if not isinstance(event, dict):
            raise ValueError(f"an event of the stream is {data[:80]!r}, not an object")
        answer |= {k: v for k, v in event.items() if k != "choices" and v is not None}
        for piece in event.get("choices") or []:
            if not isinstance(piece, dict):
                raise ValueError(f"a choice of the stream is {str(piece)[:80]!r}, not an object")
            place = piece.get("index")
            _extend(choices.setdefault(place if isinstance(place, int) else 0, {}), piece)
    if answer.get("error"):
        return answer
    if not ended and not (choices and all(choice.get("finish_reason") for choice in choices.values())):
        raise ValueError(f"the stream broke off after {len(text)} characters")
    return answer | {"choices": [{**choices[place], "index": place} for place in sorted(choices)]}


def _events(text: str) -> Iterator[str]:
    """Yield the data of each event (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    data: list[str] = []
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data).strip()
            data = []


def _extend(choice: dict[str, object], piece: Mapping[str, object]) -> None:
    """Add a piece of a stream to its choice: texts and lists grow, anything else is replaced."""
    for name, value in piece.items():
        name = "message" if name == "delta" else name
        before = choice.get(name)
        if value is None:
            choice.setdefault(name, None)
        elif isinstance(value, dict):
            inner = before if isinstance(before, dict) else {}
            _extend(inner, value)
            choice[name] = inner
        elif isinstance(before, str) and isinstance(value, str) and name not in ("role", "finish_reason", "type"):
            choice[name] = before + value
        elif isinstance(before, str | list) and isinstance(value, str | list) and name != "finish_reason":
            choice[name] = [*_listed(before), *_listed(value)]
        else:
            choice[name] = value


def _listed(value: str | list[object]) -> Sequence[object]:
    return value if isinstance(value, list) else [value]
