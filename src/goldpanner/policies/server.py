"""A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a hosted one) as a policy.

A sample is known by (problem, seed, index), never by a seed of the server's: engines have died of parallel requests
with seeds, and some return n equal samples for one. What a server makes of a request is probed before it is trusted,
see `probe.py`.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.base import Request
from goldpanner.policies.endpoint import (
    OPTIONAL,
    Address,
    Connection,
    FailedError,
    Patience,
    RefusedError,
    ServerLostError,
    body,
    first_choice,
    named_in,
    wants_other_limit,
)
from goldpanner.policies.probe import Answer, Probe, copied, run_probe
from goldpanner.policies.scoring import INSTEAD, Scoring
from goldpanner.types import Completion, FloatArray, Problem, SamplingParams, content_hash
from goldpanner.verify.answer_part import apart

T = TypeVar("T")

VERSIONS = (
    ("version", "version"), ("get_server_info", "version"), ("info", "version"), ("props", "build_info"),
)  # fmt: skip
"""Where vLLM, SGLang, TGI and llama.cpp say their version: path below the root, and field."""
CARD = ("id", "owned_by", "root", "parent", "max_model_len", "meta")
"""What is kept of a model's entry in `/models`: the rest (`created`, `permission`) changes with every start."""


class ServerPolicy:
    """Samples from `URL/completions`, or `URL/chat/completions` for the template `chat`.

    `id` is the hash of URL, model name and what the server says of itself (its model card, its version): it cannot see
    that a server was given other weights under the same name.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key_variable: str = "GOLDPANNER_API_KEY",
        concurrency: int = 16,
        n_per_request: int = 32,
        seeds: bool = False,
        override: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """Name a server; nothing is asked of it yet.

        Args:
            url: base URL such as http://127.0.0.1:8000/v1.
            model: name of the model; may be left out where the server has only one.
            key_variable: environment variable that holds the API key, if the server wants one.
            concurrency: requests under way at once.
            n_per_request: samples asked for in one request at most.
            seeds: send a seed derived from (problem, seed, index) with every sample, which is then asked for alone.
            override: sample although the probe found that the server does not draw as asked.
            patience: time-outs and further attempts.

        Raises InputError on a URL or number that cannot be used.
        """
        for name, value in (("concurrency", concurrency), ("n_per_request", n_per_request)):
            if value < 1:
                raise InputError(f"{name} is {value}; give a number >= 1")
        self.address = Address.of(url, key_variable)
        self.key_variable = key_variable
        self.concurrency = concurrency
        self.n_per_request = n_per_request
        self.seeds = seeds
        self.override = override
        self.patience = patience or Patience()
        self.notes: Counter[str] = Counter()
        """What the server did otherwise than asked while sampling, and how often."""
        self.scoring_distance: float | None = None
        """Mean distance (nats a token) between how tokens were drawn and how they were scored, once that was tried."""
        self._echo_draws = 0
        self._asked_model = model
        self._card: dict[str, Any] | None = None
        self._probes: dict[str, Probe] = {}
        self._without: frozenset[str] = frozenset()
        self._limit = "max_tokens"
        self._singly = seeds

    @property
    def id(self) -> str:
        """16 hex digits: the hash of URL, model and the server's own words. Asks the server the first time."""
        return content_hash({"kind": "server", "url": self.address.url, **self.card})

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return str(self.card["model"])

    @property
    def card(self) -> dict[str, Any]:
        """What the server says of itself: model, its entry in `/models`, server version. Raises InputError."""
        if self._card is None:
            soon = replace(self.patience, away=min(self.patience.away, 5.0))  # a wrong URL is told at once
            with Connection(self.address, soon, self.concurrency) as link:
                self._card = link.begin(self._ask_card(link)).result()
        return self._card

    def describe(self) -> dict[str, Any]:
        """Return a JSON record: id, URL without credentials, model, the server's own words."""
        return {"kind": "server", "id": self.id, "url": self.address.url, "name": self.model, **self.card}

    def probe(self, problem: Problem, params: SamplingParams) -> Probe:
        """Return what about ten requests with the prompt of `problem` show of the server, and act on it from now on.

        What is missing is worked around where that is possible. Raises InputError where nothing can be drawn at all.
        """
        with self._connect() as link:
            result = link.begin(self._probe(link, problem, params)).result()
        self._probes[params.hash] = result
        return result

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[list[Completion]]:
        """Yield one list of completions per request, in order. A request that failed is a completion `error`.

        The server is probed first, if it was not yet with these `params`. Raises InputError where the probe shows that
        samples would not be drawn as asked (unless `override`), ServerLostError when the server answers nothing more.
        """
        if not requests:
            return
        result = self._probes.get(params.hash) or self.probe(requests[0].problem, params)
        if result.faults and not self.override:
            raise InputError(
                f"{self.address.url}: {'; '.join(result.faults)}. Such samples cannot speak of the model's support; "
                "mend the server, or sample nevertheless with --allow-truncated-sampling"
            )
        ahead = 4 * self.concurrency * (1 if self._singly else self.n_per_request)
        with self._connect() as link:
            under_way: deque[Any] = deque()
            total, start = 0, 0
            for position, request in enumerate(requests):
                while start < len(requests) and (start <= position or total < ahead):
                    under_way.append(link.begin(self._draw(link, requests[start], params)))
                    total += len(requests[start].indices)
                    start += 1
                yield under_way.popleft().result()
                total -= len(request.indices)

    def logprobs(
        self, problems: Sequence[Problem], responses: Sequence[Sequence[int] | str], template: str = "{prompt}"
    ) -> FloatArray:
        """Return log P(response | prompt) in nats of each pair, shape (len(problems),), as `LocalPolicy.logprobs`.

        Responses are token ids, as they were drawn. The first call has the server score tokens of its own, see
        `scoring.py`. Raises InputError where it cannot, and for a response that is a text: how a text ends, and how it
        was cut into tokens, only who drew it knows.
        """
        if len(problems) != len(responses):
            raise InputError(f"{len(problems)} problems but {len(responses)} responses; give one response each")
        if any(isinstance(response, str) for response in responses):
            raise InputError(f"{self.address.url} scores token ids, and a completion has none; {INSTEAD}")
        model = self.model

        async def score(link: Connection) -> list[float]:
            async def complete(prompt: str, params: SamplingParams) -> Answer:
                return await self._complete(link, _wrapped(prompt, params), params, 1)

            async def echo(ids: Sequence[int], new: int) -> Mapping[str, Any]:
                fields = body(model, ids, SamplingParams(), 1) | {"echo": True, "max_tokens": new}
                return await self._send(link, "completions", fields, first_choice)

            scoring = Scoring(self.address.url, complete, echo, self._echo_draws)
            try:
                if self.scoring_distance is None:
                    self.scoring_distance = await scoring.check()
                    self._echo_draws = scoring.new
                return await scoring.run(problems, [tuple(map(int, response)) for response in responses], template)
            except FailedError as error:
                raise self._lost(str(error)) from None

        if not problems:
            return np.empty(0)
        with self._connect() as link:
            return np.array(link.begin(score(link)).result(), np.float64)

    def decode(self, tokens: Sequence[int]) -> str | None:
        """Return the text of tokens by the server's tokenizer, None where it does not tell (vLLM and SGLang do)."""

        async def ask(link: Connection) -> str | None:
            fields = {"model": self.model, "tokens": list(map(int, tokens))}
            try:
                answer_body = await link.ask(f"{self.address.root}/detokenize", lambda answer: answer, fields)
            except (RefusedError, FailedError):
                return None
            text = answer_body.get("prompt", answer_body.get("text"))
            return text if isinstance(text, str) else None

        with self._connect() as link:
            return link.begin(ask(link)).result()

    # --- asking

    def _connect(self) -> Connection:
        return Connection(self.address, self.patience, self.concurrency)

    async def _ask_card(self, link: Connection) -> dict[str, Any]:
        url = self.address.url
        try:
            listed = await link.ask(f"{url}/models", lambda answer: answer)
            models = [m for m in listed.get("data") or [] if isinstance(m, dict) and isinstance(m.get("id"), str)]
        except RefusedError as error:
            self._check_access(error)
            models = []
        except FailedError as error:
            if error.away or not self._asked_model:
                raise InputError(f"the server {url} does not answer: {error}; start it, or mend the URL") from None
            models = []  # some serve a model and fail at listing it
        names = [m["id"] for m in models]
        if not self._asked_model and len(names) != 1:
            raise InputError(f"{url} serves {', '.join(names[:8]) or 'models it does not list'}; name one with --model")
        model = self._asked_model or names[0]
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

    def _check_access(self, error: RefusedError) -> None:
        """Raise InputError where the server lets nobody in, or knows no such place."""
        if error.status in (401, 403):
            raise InputError(
                f"{self.address.url} refuses access (HTTP {error.status}); put its key into ${self.key_variable}"
            )

    async def _complete(
        self, link: Connection, prompt: str, params: SamplingParams, n: int, seed: int | None = None
    ) -> Answer:
        """Return the completions of one request."""
        path = "chat/completions" if params.template == "chat" else "completions"
        fields = body(self.model, prompt, params, n) | ({} if seed is None else {"seed": seed})
        return await self._send(link, path, fields, lambda answer: Answer.of(answer, params))

    async def _send(
        self, link: Connection, path: str, fields: dict[str, Any], read: Callable[[dict[str, Any]], T]
    ) -> T:
        """Return what `read` makes of the answer to a request.

        Optional fields that the server refuses by name are left out, and the token limit goes by the name it asks for,
        from then on.
        """
        while True:
            accepted = {k: v for k, v in fields.items() if k not in self._without}
            chat = path.startswith("chat")
            accepted[self._limit if chat else "max_tokens"] = accepted.pop("max_tokens")
            try:
                return await link.ask(f"{self.address.url}/{path}", read, accepted)
            except RefusedError as error:
                self._check_access(error)
                refused = named_in(error.reason, accepted)
                if error.status not in (400, 422):
                    raise
                if refused:
                    self._without |= refused
                elif chat and "max_tokens" in accepted and wants_other_limit(error.reason):
                    self._limit = "max_completion_tokens"
                else:
                    raise

    async def _probe(self, link: Connection, problem: Problem, params: SamplingParams) -> Probe:
        async def ask(prompt: str, n: int, seed: int | None = None, **changed: Any) -> Answer:
            wanted = {"max_tokens": min(params.max_tokens, 32), "top_p": 1.0, "top_k": 0, **changed}
            return await self._complete(link, prompt, replace(params, **wanted), n, seed)

        prompt = _wrapped(problem.prompt, params)
        try:
            try:
                await ask(prompt, 1, max_tokens=1)
            except RefusedError as error:
                if error.status not in (400, 422):
                    raise
                self._without = frozenset(
                    OPTIONAL
                )  # it refused something without naming it: ask as plainly as possible
                await ask(prompt, 1, max_tokens=1)
            result = await run_probe(ask, prompt, self.seeds)
        except RefusedError as error:
            raise InputError(
                f"{self.address.url} refuses model {self.model!r} or this request ({self.address.clean(str(error))}); "
                f"{'some servers need --template chat' if params.template != 'chat' else 'mend --model or the URL'}"
            ) from None
        except FailedError as error:
            raise ServerLostError(f"the server {self.address.url} failed while it was probed: {error}") from None
        self.seeds = self.seeds and result.seeds != "failed" and "seed" not in self._without
        self._singly = self.seeds or not result.n_honoured
        if params.top_k and "top_k" in self._without:
            raise InputError(f"{self.address.url} refuses top_k; sample with top_k 0")
        return replace(result.without(sorted(self._without)), requests=link.requests)

    # --- drawing

    async def _draw(self, link: Connection, request: Request, params: SamplingParams) -> list[Completion]:
        indices = list(request.indices)
        size = 1 if self._singly else self.n_per_request
        parts = [indices[i : i + size] for i in range(0, len(indices), size)]
        answers = await asyncio.gather(*(self._part(link, request, part, params) for part in parts))
        if params.temperature == 0 or self.override or not copied(answers):
            return [completion for part in answers for completion in part]
        self.notes[f"equal samples beyond chance, thrown away, first of problem {request.problem.id}"] += 1
        if size > 1:  # perhaps the samples of a request are copies of one
            self._singly = True
            return await self._draw(link, request, params)
        return [Completion("the server gives the same samples again and again", finish="error")] * len(indices)

    async def _part(
        self, link: Connection, request: Request, indices: Sequence[int], params: SamplingParams
    ) -> list[Completion]:
        """Return the completions of some samples of one problem; what the server left out is asked for again."""
        got: list[Completion] = []
        prompt = _wrapped(request.problem.prompt, params)
        while missing := len(indices) - len(got):
            n = 1 if self._singly else missing
            first = indices[len(got)]
            seed = rng.seed_for("server", request.problem.id, request.seed, first) % 2**31 if self.seeds else None
            try:
                answer = await self._complete(link, prompt, params, n, seed)
            except RefusedError as error:
                if error.status in (404, 405):
                    raise ServerLostError(f"{self.address.url} no longer serves {self.model!r}: {error}") from None
                return got + [Completion(self.address.clean(str(error)), finish="error")] * missing
            except FailedError as error:
                await self._check_alive(link, error, params=params)
                return got + [Completion(str(error), finish="error")] * missing
            if len(answer.completions) != n:
                self.notes[f"{n} samples asked for, {len(answer.completions)} given"] += 1
                self._singly |= len(answer.completions) < n
            got += apart(answer.completions[:n], prompt)
        return got

    async def _check_alive(self, link: Connection, error: FailedError, params: SamplingParams) -> None:
        """Raise ServerLostError unless the server still answers something simple: then this request is at fault."""
        reason = str(error)
        if not error.away:
            try:
                await self._complete(link, "Hello", replace(params, max_tokens=1), 1)
                return
            except (FailedError, RefusedError) as also:
                reason = str(also)
        raise self._lost(reason)

    def _lost(self, reason: str) -> ServerLostError:
        return ServerLostError(
            f"the server {self.address.url} does not answer any more ({reason}). Nothing that was stored is lost: "
            "start it again and run the same command to go on"
        )


def _wrapped(prompt: str, params: SamplingParams) -> str:
    """Return a prompt in its template; in a chat the server applies its own."""
    if params.template == "chat":
        return prompt
    if "{prompt}" not in params.template:
        raise InputError(f"template {params.template!r} has no {{prompt}}; add it, or give 'chat'")
    return params.template.replace("{prompt}", prompt)
