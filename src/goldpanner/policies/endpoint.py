"""One OpenAI-compatible endpoint over HTTP: what is sent, what comes back, and what is tried again."""

import asyncio
import math
import os
import re
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from goldpanner import rng
from goldpanner.errors import GoldpannerError, InputError, MissingExtraError
from goldpanner.types import Completion, FinishReason, SamplingParams

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("sampling from a server", "server") from error

T = TypeVar("T")

EXTENSIONS = ("top_k", "min_p", "repetition_penalty", "return_token_ids")
"""Fields that vLLM, SGLang and llama.cpp know and others may refuse. The first three would otherwise come from the
model's own generation config."""
OPTIONAL = (*EXTENSIONS, "logprobs", "seed")
"""Fields that are left out once a server has refused them by name."""
FINISH: Mapping[Any, FinishReason] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "length": "length",
    "content_filter": "withheld",
}  # fmt: skip
"""What servers call the endings; anything else (none, `tool_calls`) is unknown."""


class ServerLostError(GoldpannerError):
    """The server answers nothing any more. What was drawn is kept; the same command goes on where it stopped."""


class RefusedError(Exception):
    """The server will not do what was asked (4xx): asking again changes nothing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status}: {reason}")
        self.status = status
        self.reason = reason


class FailedError(Exception):
    """A request failed as often as it may. `away`: the server was busy or not there all the time."""

    def __init__(self, reason: str, away: bool) -> None:
        super().__init__(reason)
        self.away = away


class _PassingError(Exception):
    """A failure that may pass. `away`: the server is busy or not there, which says nothing of the request."""

    def __init__(self, reason: str, away: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.away = away
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long a request may take, and what is tried again. Times are in seconds."""

    timeout: float = 600.0
    """For one whole request."""
    attempts: int = 5
    """Of a request that fails on the server's side: 5xx, time-out, dropped connection, an answer that is none."""
    away: float = 180.0
    """A server may be busy or away for so long (429, 502-504, no connection), e.g. while it is started again."""
    first: float = 0.5
    """First pause; every further one is twice as long, times a random factor in [0.5, 1.5)."""
    longest: float = 15.0


@dataclass(frozen=True)
class Address:
    """Where a server is, and the credentials for it, which are never stored or printed."""

    url: str
    """Base URL without credentials, ending like `http://127.0.0.1:8000/v1`."""
    secrets: tuple[str, ...] = ()
    """What may not be repeated, wherever it turns up."""
    user: tuple[str, str] | None = None
    key: str = ""

    @classmethod
    def of(cls, url: str, key_variable: str) -> "Address":
        """Split a URL as given; the API key comes from the environment variable. Raises InputError."""
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:
            raise InputError(f"the server's URL cannot be read: {error}; give http://HOST:PORT/v1") from None
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise InputError("a server's URL is http(s)://HOST:PORT/v1, without a query; give it so")
        place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        key = os.environ.get(key_variable, "").strip()
        if not key.isascii():
            raise InputError(f"${key_variable} holds a letter that no API key has; set it anew")
        password = parts.password or ""
        user = None if parts.username is None else (unquote(parts.username), unquote(password))
        secrets = tuple(s for s in (key, unquote(password), password) if s)
        return cls(urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", "")), secrets, user, key)

    @property
    def root(self) -> str:
        """The URL without the `/v1` at its end."""
        return self.url.removesuffix("/v1")

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, so that no proxy is to be asked."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")

    def clean(self, text: str, limit: int = 300) -> str:
        """Return the text in one line, short, and without any credential in it."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:limit]


class Connection:
    """Requests to one server, at most `concurrency` at once, on an event loop in a thread of its own.

    The loop goes on while the caller judges what came. Leaving the `with` block cancels what is under way.
    """

    def __init__(self, address: Address, patience: Patience, concurrency: int) -> None:
        self.address = address
        self.patience = patience
        self.concurrency = concurrency
        self.requests = 0
        """Requests sent so far, further attempts included."""
        self._jitter = rng.stream("server/pause", os.getpid(), time.time_ns())
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="goldpanner server", daemon=True)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._client:
            self._ready.set()
            await self._stop.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def __enter__(self) -> Self:
        self._slots = asyncio.Semaphore(self.concurrency)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.address.key}"} if self.address.key else {},
            auth=self.address.user,
            timeout=httpx.Timeout(self.patience.timeout, connect=min(20.0, self.patience.timeout), pool=None),
            limits=httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
            trust_env=not self.address.local,
            verify=self.address.url.startswith("https"),
        )
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop; `.result()` waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def ask(self, url: str, read: Callable[[dict[str, Any]], T], body: Mapping[str, Any] | None = None) -> T:
        """Return what `read` makes of the JSON object that a POST (without a body, a GET) gives; try again if need be.

        `read` raises ValueError for an answer that is none. Raises RefusedError on 4xx, FailedError when it has been
        tried as often as `Patience` says.
        """
        failures, away_since = 0, 0.0
        async with self._slots:  # held through the pauses, too: a busy server is asked less
            for attempt in range(10**6):
                try:
                    return self._read(read, await self._once(url, body))
                except _PassingError as error:
                    now = time.monotonic()
                    away_since = away_since or now
                    failures += not error.away
                    late = error.away and now - away_since + error.wait > self.patience.away
                    if failures >= self.patience.attempts or late:
                        raise FailedError(str(error), error.away) from None
                    pause = min(self.patience.first * 2 ** min(attempt, 20), self.patience.longest)
                    await asyncio.sleep(max(error.wait, pause * (0.5 + self._jitter.random())))
        raise AssertionError("unreachable")

    def _read(self, read: Callable[[dict[str, Any]], T], answer: dict[str, Any]) -> T:
        try:
            return read(answer)
        except ValueError as error:
            raise _PassingError(self.address.clean(str(error))) from None

    async def _once(self, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        self.requests += 1
        try:
            async with asyncio.timeout(self.patience.timeout):
                response = await (self._client.get(url) if body is None else self._client.post(url, json=body))
        except TimeoutError:
            raise _PassingError(f"no answer within {self.patience.timeout:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _PassingError(self.address.clean(f"no connection: {error}"), away=True) from None
        except httpx.TransportError as error:
            raise _PassingError(self.address.clean(f"the connection broke: {type(error).__name__}: {error}")) from None
        status = response.status_code
        if status in (429, 502, 503, 504):
            wait = retry_after(response.headers.get("retry-after"))
            raise _PassingError(f"HTTP {status}: {self.address.clean(response.text)}", away=True, wait=wait)
        if status in (408, 409, 425) or status >= 500:
            raise _PassingError(f"HTTP {status}: {self.address.clean(response.text)}")
        if status >= 300:
            raise RefusedError(status, self.address.clean(response.text, 2000))
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            raise _PassingError(f"the answer is not JSON: {self.address.clean(response.text, 80)!r}") from None
        if not isinstance(answer, dict):
            raise _PassingError(f"the answer is a JSON {type(answer).__name__}, not an object")
        if answer.get("error"):
            raise _PassingError(self.address.clean(f"an error with HTTP 200: {answer['error']}"))
        return answer


def retry_after(header: str | None) -> float:
    """Return the seconds that a Retry-After header asks for (a number or a date), 0 where there is none."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
            seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else 0.0


def body(model: str, prompt: str | Sequence[int], params: SamplingParams, n: int) -> dict[str, Any]:
    """Return a request's body, nothing of the distribution left to the server's defaults.

    Those often come from the model's generation config: top-k 50, a repetition penalty of 1.05. The endpoint is
    `chat/completions` for the template `chat`, else `completions`, which takes token ids as a prompt, too.
    """
    chat = params.template == "chat"
    fields: dict[str, Any] = {"model": model, "n": n, "max_tokens": params.max_tokens, "stream": False}
    fields |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    fields |= {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k or -1}
    fields |= {"min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True, "logprobs": True if chat else 1}
    if params.stop:
        fields["stop"] = list(params.stop)
    return fields


def named_in(reason: str, fields: Mapping[str, Any]) -> frozenset[str]:
    """Return those optional fields of a request that a refusal names."""
    return frozenset(name for name in OPTIONAL if name in fields and re.search(rf"\b{name}\b", reason))


def wants_other_limit(reason: str) -> bool:
    """Return whether a refusal says that the token limit goes by its newer name, `max_completion_tokens`.

    A refusal of the number ("max_tokens is too large") does not say so: under a name that a server does not know the
    limit would be dropped without a word.
    """
    unknown = r"unsupported|not supported|unknown|unrecogni[sz]ed|unexpected|not permitted|forbidden|not allowed"
    named = re.search(r"\bmax_tokens\b", reason) is not None
    return "max_completion_tokens" in reason or (named and re.search(unknown, reason, re.IGNORECASE) is not None)


def completions(answer: Mapping[str, Any], params: SamplingParams) -> list[Completion]:
    """Return the completions of an answer, in the order of their index. Raises ValueError where there are none.

    Log-probabilities are kept only for T = 1 over the full softmax: under other settings some servers give those of
    the model and some those of the adjusted distribution.
    """
    first_choice(answer)
    choices = answer["choices"]
    places = [choice.get("index") for choice in choices]
    if all(isinstance(place, int) for place in places):
        choices = sorted(choices, key=lambda choice: choice["index"])
    return [_completion(choice, params) for choice in choices]


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first choice of an answer. Raises ValueError where there are none."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError(f"the answer has no choices: {str(answer)[:80]}")
    first: Mapping[str, Any] = choices[0]
    return first


def _completion(choice: Mapping[str, Any], params: SamplingParams) -> Completion:
    reason = choice.get("finish_reason")
    if reason in ("abort", "error"):
        raise ValueError(f"the server gave up: finish_reason {reason!r}")
    finish: FinishReason = FINISH.get(reason, "unknown") if isinstance(reason, str) else "unknown"
    message, thought = choice.get("message"), None
    if isinstance(message, dict):
        thought = message.get("reasoning_content") or message.get("reasoning")
        text = message.get("content") or ""
        if isinstance(refusal := message.get("refusal"), str):
            text, finish = text or refusal, "withheld"
    else:
        text = choice.get("text")
    if not isinstance(text, str):
        raise ValueError(f"a choice has no text: {str(choice)[:80]}")
    logprobs = _logprobs(choice.get("logprobs")) if params.full_softmax else None
    tokens = token_ids(choice.get("token_ids"))
    if tokens is not None and logprobs is not None and len(tokens) != len(logprobs):
        tokens = None  # which token has which probability is not known
    thought = thought if isinstance(thought, str) else None
    return Completion(text, tokens, None if logprobs is None else math.fsum(logprobs), finish, logprobs, thought)


def token_ids(given: Any) -> tuple[int, ...] | None:
    """Return token ids as given, None where they are none."""
    if isinstance(given, list) and given and all(type(i) is int and i >= 0 for i in given):
        return tuple(given)
    return None


def _logprobs(given: Any) -> tuple[float, ...] | None:
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
