"""Log-probabilities of given tokens from an OpenAI-compatible server, which echoes them as a prompt.

Prompt and completion are joined as token ids, so no token can straddle the boundary between them. Servers that answer
200 and drop what was asked are found out: tokens drawn from the server itself must be scored as they were drawn.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from goldpanner.errors import InputError
from goldpanner.policies.answer import Answer
from goldpanner.policies.endpoint import RefusedError
from goldpanner.policies.probe import OPEN_PROMPT
from goldpanner.types import FloatArray, Problem, SamplingParams

DRAWN = 32
"""Tokens drawn and scored again before anything else is scored."""
TOLERANCE = 0.1
"""Mean distance (nats a token) allowed between both; half precision differs by about .01, anything else by far more."""
INSTEAD = "score with the model's own folder, or with a server that does it (vLLM, SGLang)"

Complete = Callable[[str, SamplingParams], Awaitable[Answer]]
"""Draws one completion of a problem's prompt."""
Echo = Callable[[Sequence[int], int], Awaitable[Mapping[str, object]]]
"""Has token ids echoed as a prompt, followed by at most so many new ones; returns the first choice of the answer."""


class Scoring:
    """Scores completions of one server; `complete` and `echo` send its requests."""

    def __init__(self, url: str, complete: Complete, echo: Echo, new: int = 0) -> None:
        self.url = url
        self.complete = complete
        self.echo = echo
        self.new = new
        """Tokens to draw after the echo: 0, or 1 where a server does not echo without."""

    async def check(self) -> float:
        """Return the mean distance (nats a token) between how tokens were drawn and how they are scored.

        Raises InputError where the server does not give what is needed, or another probability.
        """
        samples = await self.complete(OPEN_PROMPT, SamplingParams(max_tokens=DRAWN))
        first = samples.completions[0]
        abilities = {"token ids": first.tokens, "log-probabilities": first.token_logprobs}
        abilities["token ids of the prompt"] = samples.prompt_tokens
        if missing := [name for name, value in abilities.items() if value is None]:
            raise InputError(f"{self.url} gives no {' and no '.join(missing)}; {INSTEAD}")
        assert first.tokens is not None
        assert samples.prompt_tokens is not None
        scored = await self.tokens(samples.prompt_tokens, first.tokens)
        distance = float(np.abs(scored - np.array(first.token_logprobs)).mean())
        if not distance <= TOLERANCE:
            raise InputError(
                f"{self.url} scores its own tokens {distance:.2g} nats a token away from how it drew them, so its "
                f"scores are not the model's; {INSTEAD}"
            )
        return distance

    async def run(
        self, problems: Sequence[Problem], responses: Sequence[tuple[int, ...]], template: str
    ) -> list[float]:
        """Return log P(response | prompt) in nats of each pair; equal pairs are asked for once."""
        first = {problem.id: problem for problem in problems}
        params = SamplingParams(max_tokens=1, template=template)
        prompts = dict(zip(first, await asyncio.gather(*(self._prompt(p, params) for p in first.values()))))
        pairs = list(dict.fromkeys((problem.id, tokens) for problem, tokens in zip(problems, responses)))
        scored = await asyncio.gather(*(self.tokens(prompts[problem], tokens) for problem, tokens in pairs))
        logprobs = dict(zip(pairs, (math.fsum(values) for values in scored)))
        return [logprobs[problem.id, tokens] for problem, tokens in zip(problems, responses)]

    async def tokens(self, prompt: Sequence[int], tokens: Sequence[int]) -> FloatArray:
        """Return log P(token | prompt, tokens before) in nats, shape (len(tokens),).

        Raises InputError where the server refuses to echo them, or does so without log-probabilities.
        """
        ids, new = [*prompt, *tokens], self.new
        try:
            choice = await self.echo(ids, new)
        except RefusedError as error:
            if new or error.status not in (400, 422):
                raise InputError(f"{self.url} does not score given tokens ({error}); {INSTEAD}") from None
            self.new = 1
            return await self.tokens(prompt, tokens)
        given = choice.get("logprobs")
        every = given.get("token_logprobs") if isinstance(given, Mapping) else None
        values = every[len(prompt) : len(ids)] if isinstance(every, list) and len(every) >= len(ids) else []
        if len(values) != len(tokens) or not all(isinstance(v, int | float) and v <= 1e-3 for v in values):
            raise InputError(
                f"{self.url} answers, but drops the log-probabilities of a prompt that was to be echoed; {INSTEAD}"
            )
        return np.minimum(np.array(values, np.float64), 0.0)

    async def _prompt(self, problem: Problem, params: SamplingParams) -> tuple[int, ...]:
        """Return the prompt's token ids as the server itself makes them, its chat template included."""
        try:
            ids = (await self.complete(problem.prompt, params)).prompt_tokens
        except RefusedError as error:
            raise InputError(f"{self.url} refuses the prompt of problem {problem.id} ({error}); {INSTEAD}") from None
        if ids is None:
            raise InputError(f"{self.url} gives no token ids of the prompt ({params.template}); {INSTEAD}")
        return ids
