"""One OpenAI-compatible endpoint over HTTP: what is sent, what comes back, and what is tried again."""

import asyncio
import base64
import json
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
from goldpanner.policies.answer import is_stream, join_stream
from goldpanner.types import SamplingParams

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("sampling from a server", "server") from error

T = TypeVar("T")

NEUTRAL: Mapping[str, object] = {
    "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "n": 1, "stream": False,
}  # fmt: skip
"""Fields, and the value of each that asks for nothing: there it is left out once a server has refused it by name. They
are sent nevertheless, since many servers' defaults come from the model's own generation config."""
EXTENSIONS = ("top_k", "min_p", "repetition_penalty", "return_token_ids")
"""Fields that vLLM, SGLang and llama.cpp know and others may refuse."""
EXTRAS = ("return_token_ids", "logprobs", "seed")
"""Fields that decide nothing about the distribution: left out, whatever their value, once they were refused."""
AWAY = frozenset({429, 502, 503, 504, 521, 522, 523, 529})
"""Statuses of a server, or of what stands before it, that is busy or not there."""
NO_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing|credit balance|out of credits", re.I)
"""What a 429 says that waiting does not cure."""
_SECRET = 8
"""Letters that a key or password has at least; a shorter one may be part of any answer."""
_ANSWER = 1 << 24
_TOKEN = 1 << 11
"""Bytes of an answer at most: so many, and so many for each token of the prompt and of every sample."""


class ServerLostError(GoldpannerError):
    """The server answers nothing any more. What was drawn is kept; the same command goes on where it stopped."""


class ServerChangedError(ServerLostError):
    """Another model answers now. What was drawn is kept, and is the first one's alone."""


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
        plain = (key, unquote(password), password)
        basic = base64.b64encode(f"{user[0]}:{user[1]}".encode()).decode() if user else ""
        secrets = tuple(s for s in (*plain, basic) if s)
        return cls(urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", "")), secrets, user, key)

    @property
    def root(self) -> str:
        """The URL without the `/v1` at its end."""
        return self.url.removesuffix("/v1")

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, so that no proxy is to be asked."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")

    def scrub(self, text: str) -> str:
        """Return the text of an answer without the credentials that a server may echo, unless they are mere words."""
        for secret in self.secrets:
            if len(secret) >= _SECRET:
                text = text.replace(json.dumps(secret)[1:-1], "***").replace(secret, "***")
        return text

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
        self.connected = 0.0
        """When the last connection was made (`time.monotonic`): a server that was started again has a new one."""
        self.identifying = asyncio.Lock()
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

    async def ask(
        self, url: str, read: Callable[[Mapping[str, object]], T], body: Mapping[str, object] | None = None
    ) -> T:
        """Return what `read` makes of the JSON object that a POST (without a body, a GET) gives; try again if need be.

        `read` raises ValueError for an answer that is none. Raises RefusedError on 4xx, FailedError when it has been
        tried as often as `Patience` says, or when the answer is longer than any answer to this request can be.
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

    def _read(self, read: Callable[[Mapping[str, object]], T], answer: Mapping[str, object]) -> T:
        try:
            return read(answer)
        except ValueError as error:
            raise _PassingError(self.address.clean(str(error))) from None

    async def _once(self, url: str, body: Mapping[str, object] | None) -> Mapping[str, object]:
        self.requests += 1
        try:
            async with asyncio.timeout(self.patience.timeout):
                status, headers, text = await self._exchange(url, body)
        except TimeoutError:
            raise _PassingError(f"no answer within {self.patience.timeout:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _PassingError(self.address.clean(f"no connection: {error}"), away=True) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _PassingError(self.address.clean(f"the connection broke: {type(error).__name__}: {error}")) from None
        if status == 429 and NO_QUOTA.search(text):
            raise RefusedError(status, self.address.clean(text))
        if status in AWAY:
            wait = retry_after(headers.get("retry-after"))
            raise _PassingError(f"HTTP {status}: {self.address.clean(text)}", away=True, wait=wait)
        if status in (408, 409, 425) or status >= 500:
            raise _PassingError(f"HTTP {status}: {self.address.clean(text)}")
        if status >= 300:
            raise RefusedError(status, self.address.clean(text, 2000))
        answer = self._parse(text, headers.get("content-type", ""))
        if answer.get("error"):
            raise _PassingError(self.address.clean(f"an error with HTTP 200: {answer['error']}"))
        return answer

    async def _exchange(self, url: str, body: Mapping[str, object] | None) -> tuple[int, httpx.Headers, str]:
        """Return status, headers and text of one request's answer, no more of it than it can have."""
        limit, size, parts = answer_limit(body or {}), 0, []
        async with self._client.stream(
            "GET" if body is None else "POST", url, json=body, extensions={"trace": self._trace}
        ) as response:
            async for part in response.aiter_bytes():
                size += len(part)
                if size > limit:
                    raise FailedError(
                        f"the answer is longer than {limit:,} bytes, which is more than was asked for", False
                    )
                parts.append(part)
        return response.status_code, response.headers, b"".join(parts).decode("utf-8", "replace")

    async def _trace(self, event: str, _: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.complete":
            self.connected = time.monotonic()

    def _parse(self, text: str, content_type: str) -> Mapping[str, object]:
        try:
            if is_stream(text, content_type):
                text = json.dumps(join_stream(text))
            answer = json.loads(self.address.scrub(text))
        except (json.JSONDecodeError, RecursionError):
            raise _PassingError(f"the answer is not JSON: {self.address.clean(text, 80)!r}") from None
        except ValueError as error:
            raise _PassingError(self.address.clean(str(error))) from None
        if not isinstance(answer, dict):
            raise _PassingError(f"the answer is a JSON {type(answer).__name__}, not an object")
        return answer


def answer_limit(body: Mapping[str, object]) -> int:
    """Return how many bytes the answer to a request may have: every token with its probability, twice over."""
    samples, tokens = (value if isinstance(value := body.get(k), int) else 1 for k in ("n", "max_tokens"))
    later = body.get("max_completion_tokens")
    prompt = len(str(body.get("prompt", body.get("messages", ""))))
    return _ANSWER + _TOKEN * (samples * (later if isinstance(later, int) else tokens) + prompt)


def retry_after(header: str | None) -> float:
    """Return the seconds that a Retry-After header asks for (a number or a date), 0 where there is none.

    >>> retry_after("2")
    2.0
    """
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


def body(model: str, prompt: str | Sequence[int], params: SamplingParams, n: int) -> dict[str, object]:
    """Return a request's body, nothing of the distribution left to the server's defaults.

    Those often come from the model's generation config: top-k 50, a repetition penalty of 1.05. The endpoint is
    `chat/completions` for the template `chat`, else `completions`, which takes token ids as a prompt, too.
    """
    chat = params.template == "chat"
    fields: dict[str, object] = {"model": model, "n": n, "max_tokens": params.max_tokens, "stream": False}
    fields |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    fields |= {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k or -1}
    fields |= {"min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True, "logprobs": True if chat else 1}
    if params.stop:
        fields["stop"] = list(params.stop)
    return fields


def refused_fields(reason: str, fields: Mapping[str, object]) -> frozenset[str]:
    """Return those fields of a request that a refusal names: by `param` or `loc`, else in its words."""
    by_name = re.search(r'"param": ?"(\w+)"', reason) or re.search(r'"loc": ?\[[^]]*"(\w+)"\]', reason)
    if by_name is not None and by_name[1] in fields:
        return frozenset({by_name[1]})
    quoted = r"['\"`]{}['\"`]"
    return frozenset(
        name for name in fields if re.search((quoted if len(name) < 4 else r"\b{}\b").format(re.escape(name)), reason)
    )


def dispensable(name: str, value: object) -> bool:
    """Return whether a field can be left out of a request: it asks for nothing, or decides nothing."""
    return name in EXTRAS or (name in NEUTRAL and NEUTRAL[name] == value)


def wants_other_limit(reason: str) -> bool:
    """Return whether a refusal says that the token limit goes by its newer name, `max_completion_tokens`.

    A refusal of the number ("max_tokens is too large") does not say so: under a name that a server does not know the
    limit would be dropped without a word.
    """
    unknown = r"unsupported|not supported|unknown|unrecogni[sz]ed|unexpected|not permitted|forbidden|not allowed"
    named = re.search(r"\bmax_tokens\b", reason) is not None
    return "max_completion_tokens" in reason or (named and re.search(unknown, reason, re.IGNORECASE) is not None)
