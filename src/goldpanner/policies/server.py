"""A model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a hosted one) as a policy.

A sample is known by (problem, seed, index), never by a seed of the server's: engines have died of parallel requests
with seeds, and some return n equal samples for one. What a server makes of a request is probed before it is trusted,
see `probe.py`.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.answer import Answer, first_choice
from goldpanner.policies.base import Probe, Request
from goldpanner.policies.client import Client
from goldpanner.policies.endpoint import (
    Address,
    Connection,
    FailedError,
    Patience,
    RefusedError,
    ServerChangedError,
    ServerLostError,
    body,
)
from goldpanner.policies.identity import Identity
from goldpanner.policies.probe import copied, run_probe, shown, with_refusals
from goldpanner.policies.scoring import INSTEAD, Scoring
from goldpanner.types import Completion, FloatArray, Problem, SamplingParams, content_hash
from goldpanner.verify.answer_part import apart

_AGAIN = 1.0
"""Seconds that a server needs at least to be started again: no new connection is looked at more often."""
_LIKELY_LIMIT = 256
"""Tokens of a prompt from which on equal numbers can be a limit."""


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
        self._card: dict[str, object] | None = None
        self._probes: dict[str, Probe] = {}
        self._client = Client(self.address, key_variable)
        self._most_tokens = 0
        self._lengths: set[int] = set()
        self._identity: Identity | None = None
        self._identified = 0.0
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
    def card(self) -> dict[str, object]:
        """What the server says of itself: model, its entry in `/models`, server version. Raises InputError."""
        if self._card is None:
            soon = replace(self.patience, away=min(self.patience.away, 5.0))  # a wrong URL is told at once
            with Connection(self.address, soon, self.concurrency) as link:
                self._card = link.begin(self._client.ask_card(link, self._asked_model)).result()
        return self._card

    def describe(self) -> dict[str, object]:
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
            under_way: deque[Future[list[Completion]]] = deque()
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
                return await self._client.complete(link, _wrapped(prompt, params), params, 1)

            async def echo(ids: Sequence[int], new: int) -> Mapping[str, object]:
                fields = body(model, ids, SamplingParams(), 1) | {"echo": True, "max_tokens": new}
                return await self._client.send(link, "completions", fields, first_choice)

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
        self._client.model = self.model
        return Connection(self.address, self.patience, self.concurrency)

    async def _probe(self, link: Connection, problem: Problem, params: SamplingParams) -> Probe:
        limit, chat = min(params.max_tokens, 32), params.template == "chat"

        async def ask(prompt: str, n: int, seed: int | None = None, *, temperature: float) -> Answer:
            nonlocal limit
            asked = replace(params, temperature=temperature, top_p=1.0, top_k=0)
            answer = await self._client.complete(link, prompt, replace(asked, max_tokens=limit), n, seed)
            if chat and limit < params.max_tokens and not any(map(shown, answer.completions)):
                limit = params.max_tokens  # a hidden thought took every token
                answer = await self._client.complete(link, prompt, replace(asked, max_tokens=limit), n, seed)
            return answer

        prompt = _wrapped(problem.prompt, params)
        try:
            await self._client.knock(link, prompt, params)
            result = await run_probe(ask, prompt, seeds=self.seeds, chat=chat)
        except RefusedError as error:
            raise InputError(
                f"{self.address.url} refuses model {self.model!r} or this request ({self.address.clean(str(error))}); "
                f"{'mend what it names' if chat else 'some servers need --template chat'}"
            ) from None
        except FailedError as error:
            raise ServerLostError(
                f"the server {self.address.url} failed while it was probed: {error}; mend it and try again"
            ) from None
        self.seeds = self.seeds and result.seeds != "failed" and "seed" not in self._client.without
        self._singly = self.seeds or not result.n_honoured
        if not chat:
            result = replace(result, text_logprobs=await self._client.text_logprobs(link))
        self._identified = time.monotonic()
        self._identity = Identity.of(result)
        return with_refusals(result, sorted(self._client.without), link.requests)

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
                answer = await self._client.complete(link, prompt, params, n, seed)
            except RefusedError as error:
                if error.status in (404, 405):
                    raise ServerLostError(
                        f"{self.address.url} no longer serves {self.model!r}: {error}; load it and try again"
                    ) from None
                return got + [Completion(self.address.clean(str(error)), finish="error")] * missing
            except FailedError as error:
                await self._check_alive(link, error, params=params)
                return got + [Completion(str(error), finish="error")] * missing
            await self._check_identity(link, answer)
            if answer.failed:
                self.notes["samples that the server gave up, asked for again"] += answer.failed
            if answer.given != n:
                self.notes[f"{n} samples asked for, {answer.given} given"] += 1
                self._singly |= answer.given < n
            self._look_at_size(answer, prompt)
            got += apart(answer.completions[:n], prompt)
        return got

    async def _check_identity(self, link: Connection, answer: Answer) -> None:
        """Raise ServerChangedError where an answer, or the server since its last connection, is another model's.

        The names in every answer are compared. After a new connection it is asked again what it serves and how it
        scores a fixed text, at most once in `_AGAIN` seconds.
        """
        before = self._identity
        now = Identity(answer.model, answer.fingerprint)
        if before is None:
            self._identity = before = now
        why = before.change(now)
        async with link.identifying:
            if not why and link.connected > self._identified + _AGAIN:
                self._identified = time.monotonic()
                card = await self._client.ask_card(link, self._asked_model)
                now = replace(now, text_logprobs=await self._client.text_logprobs(link) if before.text_logprobs else ())
                why = before.change(now)
                if card != self.card:
                    why = why or f"it says of itself {card}, and before {self.card}"
        if why and self.override:
            self.notes[f"another model answers: {why}"] += 1
        elif why:
            raise ServerChangedError(
                f"{self.address.url} is no longer the model that was sampled: {why}. What was drawn stays, all of "
                "it the first one's. Start that one again and run the same command, or sample the other into another "
                "--store"
            )

    def _look_at_size(self, answer: Answer, prompt: str) -> None:
        """Note where the server's count of a prompt's tokens shows that it cut it.

        It counts too few for a long prompt, or the same greatest number for three prompts of very different lengths.
        """
        size, length = answer.prompt_size or 0, len(prompt.encode())
        if size > self._most_tokens:
            self._most_tokens, self._lengths = size, set()
        if size == self._most_tokens >= _LIKELY_LIMIT:
            self._lengths.add(length)
        capped = len(self._lengths) >= 3 and max(self._lengths) > 1.25 * min(self._lengths)
        if answer.cuts(prompt) or (capped and length in self._lengths):
            self.notes[f"prompts that it seems to cut at {size} tokens, by its own count"] += 1

    async def _check_alive(self, link: Connection, error: FailedError, params: SamplingParams) -> None:
        """Raise ServerLostError unless the server still answers something simple: then this request is at fault."""
        reason = str(error)
        if not error.away:
            try:
                await self._client.complete(link, "Hello", replace(params, max_tokens=1), 1)
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
