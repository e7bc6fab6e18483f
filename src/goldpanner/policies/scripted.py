"""A policy that follows a script: every completion's probability is known. What the instrument is tested against."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.base import Request
from goldpanner.types import Completion, FinishReason, FloatArray, Problem, SamplingParams, content_hash


@dataclass(frozen=True)
class Route:
    """One completion that a scripted policy can write."""

    text: str
    probability: float
    finish: FinishReason = "stop"


class ScriptedPolicy:
    """Draws completions with exactly known probabilities; needs no torch.

    `script` maps a problem to its routes, whose probabilities sum to 1. `record` is a JSON record that tells this
    script from others: the policy's id is its hash. `max_tokens` is not applied (a script says itself what is cut).
    """

    def __init__(self, script: Callable[[Problem], Sequence[Route]], record: Mapping[str, object]) -> None:
        self.script = script
        self.record = {"kind": "scripted", **record}

    @classmethod
    def with_p(
        cls,
        p: float | Mapping[str, float] | Callable[[Problem], float],
        *,
        right: Callable[[Problem], Mapping[str, float]] | None = None,
        wrong: str = "no",
        unjudged: float = 0.0,
        truncated: float = 0.0,
        name: str = "",
    ) -> "ScriptedPolicy":
        """Return a policy that is right with a known probability.

        Functions do not enter the id: tell policies with other functions apart by `name`.

        Args:
            p: probability of a right answer: one number, a number per problem id, or a function of the problem.
            right: gives a problem's right texts with their shares; None: `meta["chain"]`, else `answer`, alone.
            wrong: text that is written with what probability remains.
            unjudged: probability of a failed request.
            truncated: probability of a completion cut at the token limit.
            name: name of the policy.
        """

        def script(problem: Problem) -> list[Route]:
            if callable(p):
                chance = p(problem)
            elif isinstance(p, Mapping):
                if problem.id not in p:
                    raise InputError(f"scripted policy: no p for problem {problem.id} ({problem.prompt!r}); add one")
                chance = p[problem.id]
            else:
                chance = p
            texts = {str(problem.meta.get("chain", problem.answer)): 1.0} if right is None else right(problem)
            if wrong in texts:
                raise InputError(f"scripted policy: {wrong!r} is a right answer of problem {problem.id}; change wrong")
            share = math.fsum(texts.values())
            routes = [Route(text, chance * weight / share) for text, weight in texts.items()]
            routes += [Route("the script failed here", unjudged, "error"), Route("and so on and", truncated, "length")]
            return [*routes, Route(wrong, 1.0 - math.fsum([chance, unjudged, truncated]))]

        constant = p if isinstance(p, float | int) else dict(p) if isinstance(p, Mapping) else None
        return cls(script, {"name": name, "p": constant, "wrong": wrong, "unjudged": unjudged, "truncated": truncated})

    @property
    def id(self) -> str:
        """16 hex digits: the hash of the record."""
        return content_hash(self.record)

    def describe(self) -> dict[str, object]:
        """Return the record with the id."""
        return {"id": self.id, **self.record}

    def routes(self, problem: Problem) -> list[Route]:
        """Return the problem's routes of positive probability; raises InputError where they do not sum to 1."""
        routes = list(self.script(problem))
        total = math.fsum(route.probability for route in routes)
        if any(route.probability < 0 for route in routes) or not math.isclose(total, 1.0, rel_tol=1e-9):
            raise InputError(
                f"scripted policy: the probabilities of problem {problem.id} are "
                f"{[route.probability for route in routes]}, sum {total}; give numbers >= 0 that sum to 1"
            )
        return [route for route in routes if route.probability > 0]

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[list[Completion]]:
        """Yield one list of completions per request, drawn by inverse CDF from its samples' own first uniforms.

        Temperature 0 always takes the likeliest route (the first of equals).

        Args:
            requests: problems, each with the samples that are asked for.
            params: how they are drawn.

        Raises:
            InputError: another temperature, top-p or top-k.
        """
        if params.temperature != 0 and not params.full_softmax:
            raise InputError(
                f"scripted policy: temperature {params.temperature}, top_p {params.top_p}, top_k {params.top_k} would "
                "change the scripted probabilities; give temperature 1 or 0, top_p 1 and top_k 0"
            )
        for request in requests:
            routes = self.routes(request.problem)
            chances = np.array([route.probability for route in routes])
            if params.temperature == 0:
                choices = np.full(len(request.indices), chances.argmax())
            else:
                u = rng.sample_uniforms(request.problem.id, request.seed, request.index_array, 1)[:, 0]
                choices = np.minimum(np.searchsorted(np.cumsum(chances), u, side="right"), len(routes) - 1)
            density = {route: self.logprob(request.problem, route.text, route.finish) for route in routes}
            yield [Completion(routes[i].text, None, density[routes[i]], routes[i].finish) for i in choices]

    def logprob(self, problem: Problem, text: str, finish: FinishReason = "stop") -> float:
        """Return log P(text, finish | problem) in nats: -inf for what the script never writes.

        Args:
            problem: the problem.
            text: a completion.
            finish: why it ended.
        """
        same = [r.probability for r in self.routes(problem) if (r.text, r.finish) == (text, finish)]
        return math.log(math.fsum(same)) if same else -math.inf

    def logprobs(self, problems: Sequence[Problem], responses: Sequence[str], template: str = "{prompt}") -> FloatArray:
        """Return log P(response | problem) in nats of each pair, shape (len(problems),), as `LocalPolicy.logprobs`.

        Args:
            problems: one for each response.
            responses: texts.
            template: not used; a script reads the problem itself.
        """
        if len(problems) != len(responses):
            raise InputError(f"{len(problems)} problems but {len(responses)} responses; give one response each")
        return np.array([self.logprob(problem, text) for problem, text in zip(problems, responses)], np.float64)
