"""Requests to one model on a server: what is sent, what is left out once it was refused, what a refusal means."""

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from goldpanner.errors import InputError
from goldpanner.policies.answer import Answer, first_choice
from goldpanner.policies.endpoint import (
    EXTENSIONS,
    EXTRAS,
    NEUTRAL,
    Address,
    Connection,
    FailedError,
    RefusedError,
    ServerLostError,
    body,
    dispensable,
    refused_fields,
    wants_other_limit,
)
from goldpanner.policies.identity import TEXT
from goldpanner.types import Completion, SamplingParams

T = TypeVar("T")
_SCORE_SECONDS = 20.0
"""Time for scoring the fixed text: some servers fail at it for good."""

VERSIONS = (
    ("version", "version"), ("get_server_info", "version"), ("info", "version"), ("props", "build_info"),
)  # fmt: skip
"""Where vLLM, SGLang, TGI and llama.cpp say their version: path below the root, and field."""
CARD = ("id", "owned_by", "root", "parent", "max_model_len", "meta")
"""What is kept of a model's entry in `/models`: the rest (`created`, `permission`) changes with every start."""

_FILTERED = re.compile(r"content_filter|content (management )?policy|flagged|moderation|data_inspection_failed", re.I)
"""What hosted servers say of a prompt that they do not pass on to the model."""


class Client:
    """Asks one server for completions, and learns which fields it takes."""

    def __init__(self, address: Address, key_variable: str) -> None:
        """Name a server, and the environment variable of its key."""
        self.address = address
        self.key_variable = key_variable
        self.model = ""
        """The model's name, to be set before anything is asked of it."""
        self.without: frozenset[str] = frozenset()
        """Fields that the server refused by name."""
        self._limit = "max_tokens"

    async def ask_card(self, link: Connection, asked_model: str) -> dict[str, object]:
        """Return what the server says of itself: model, its entry in `/models`, server version. Raises InputError."""
        url = self.address.url
        try:
            listed = await link.ask(f"{url}/models", lambda answer: answer)
            entries = listed.get("data")
            models = (
                [m for m in entries if isinstance(m, dict) and isinstance(m.get("id"), str)]
                if isinstance(entries, list)
                else []
            )
        except RefusedError as error:
            self.check_access(error)
            models = []
        except FailedError as error:
            if error.away or not asked_model:
                raise InputError(f"the server {url} does not answer: {error}; start it, or mend the URL") from None
            models = []  # some serve a model and fail at listing it
        names = [m["id"] for m in models]
        if not asked_model and len(names) != 1:
            raise InputError(f"{url} serves {', '.join(names[:8]) or 'models it does not list'}; name one with --model")
        model = asked_model or names[0]
        own = next((m for m in models if m["id"] == model), {})
        version = ""
        for path, field in VERSIONS:
            if version or not urlsplit(url).path.endswith("/v1"):
                break
            try:
                value = (await link.ask(f"{self.address.root}/{path}", lambda answer: answer)).get(field)
                version = value if isinstance(value, str) else ""
            except (RefusedError, FailedError):
                continue
        return {"model": model, "card": {k: own[k] for k in CARD if own.get(k) is not None}, "version": version}

    def check_access(self, error: RefusedError) -> None:
        """Raise InputError where the server lets nobody in, ServerLostError where the account has nothing left."""
        if error.status == 401 or (error.status == 403 and not withheld(error)):
            raise InputError(
                f"{self.address.url} refuses access ({self.address.clean(str(error))}); put a key that may use "
                f"{self.model or 'the model'} into ${self.key_variable}"
            )
        if error.status in (402, 429):
            raise ServerLostError(
                f"{self.address.url} has no quota left for this key ({self.address.clean(str(error))}). Nothing that "
                "was stored is lost: run the same command again when there is"
            )

    async def complete(
        self, link: Connection, prompt: str, params: SamplingParams, n: int, seed: int | None = None
    ) -> Answer:
        """Return the completions of one request; a prompt that a filter refused gives completions that are withheld."""
        path = "chat/completions" if params.template == "chat" else "completions"
        fields = body(self.model, prompt, params, n) | ({} if seed is None else {"seed": seed})
        try:
            return await self.send(link, path, fields, lambda answer: Answer.of(answer, params))
        except RefusedError as error:
            if not withheld(error):
                raise
            return Answer([Completion(self.address.clean(error.reason), finish="withheld")] * n)

    async def text_logprobs(self, link: Connection) -> tuple[float, ...]:
        """Return log P (nats) of the tokens of `identity.TEXT` but the first; () where the server does not score."""
        fields = body(self.model, TEXT, SamplingParams(), 1) | {"echo": True, "max_tokens": 1, "logprobs": 0}

        def read(answer: Mapping[str, object]) -> tuple[float, ...]:
            logprobs = first_choice(answer).get("logprobs")
            values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
            if not isinstance(values, list) or len(values) < 3 or values[0] is not None:
                return ()  # no echo: the first token of a prompt has no log-probability
            scores = [float(v) for v in values[1:-1] if isinstance(v, int | float) and math.isfinite(v)]
            return tuple(scores) if len(scores) == len(values) - 2 else ()

        try:
            async with asyncio.timeout(_SCORE_SECONDS):
                return await link.ask(f"{self.address.url}/completions", read, fields)
        except (RefusedError, FailedError, TimeoutError):
            return ()

    async def send(
        self, link: Connection, path: str, fields: dict[str, object], read: Callable[[Mapping[str, object]], T]
    ) -> T:
        """Return what `read` makes of the answer to a request.

        Fields that ask for nothing and that the server refuses by name are left out, and the token limit goes by the
        name it asks for, from then on.
        """
        while True:
            accepted = {k: v for k, v in fields.items() if not (k in self.without and dispensable(k, v))}
            chat = path.startswith("chat")
            accepted[self._limit if chat else "max_tokens"] = accepted.pop("max_tokens")
            try:
                return await link.ask(f"{self.address.url}/{path}", read, accepted)
            except RefusedError as error:
                refused = (
                    refused_fields(error.reason, accepted) if error.status in (400, 403, 404, 422) else frozenset()
                )
                useless = {name for name in refused if dispensable(name, accepted[name])}
                if useless and error.status not in (401, 402, 429):
                    self.without |= useless
                elif chat and "max_tokens" in accepted and "max_tokens" in refused and wants_other_limit(error.reason):
                    self._limit = "max_completion_tokens"
                else:
                    if not refused - {"model"}:
                        self.check_access(error)
                    raise

    async def knock(self, link: Connection, prompt: str, params: SamplingParams) -> None:
        """Ask for one token as the run will ask; where that is refused without a reason, ask as plainly as possible.

        Raises InputError where a sampling parameter is refused that the run cannot do without.
        """
        for without in (frozenset[str](), frozenset((*EXTENSIONS, *EXTRAS)), frozenset((*NEUTRAL, *EXTRAS))):
            self.without |= without
            try:
                await self.complete(link, prompt, replace(params, max_tokens=1), 1)
                return
            except RefusedError as error:
                refusal, sent = error, body(self.model, prompt, params, 1)
                for name in refused_fields(error.reason, sent) & {"temperature", "top_p", "top_k", "stop"}:
                    raise InputError(
                        f"{self.address.url} refuses {name} {sent[name]!r} ({self.address.clean(error.reason)}); "
                        "sample without it"
                    ) from None
                if error.status not in (400, 422):
                    break
        raise refusal


def withheld(error: RefusedError) -> bool:
    """Return whether a refusal is a content filter's: of the prompt, not of the key or the request."""
    return _FILTERED.search(error.reason) is not None
