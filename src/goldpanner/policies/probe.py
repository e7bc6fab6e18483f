"""About ten requests that show what a server makes of what it is asked: HTTP 200 proves nothing."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol

from goldpanner.policies.answer import Answer
from goldpanner.policies.base import Probe
from goldpanner.policies.endpoint import NEUTRAL, FailedError, RefusedError
from goldpanner.types import Completion

OPEN_PROMPT = "Once upon a time"
"""A prompt that any model goes on with in many ways, for a model that is certain of the problem at hand."""
CHANCE = math.log(1e-4)
"""Below this log-probability equal draws are not taken for a coincidence."""
COPIES = math.log(1e-9)
"""The same while sampling, where there is far more to coincide."""


class Ask(Protocol):
    """Asks for n completions of a prompt over the full softmax."""

    def __call__(self, prompt: str, n: int, seed: int | None = None, *, temperature: float) -> Awaitable[Answer]:
        """Return the answer."""


def with_refusals(probe: Probe, refused: Sequence[str], requests: int) -> Probe:
    """Return a probe with its requests, the fields that the server refused, and what that means."""
    lost = [name for name in NEUTRAL if name in refused and name not in ("n", "stream")]
    note = f"it refuses {', '.join(lost)}: its own defaults may cut the softmax, which nothing here can see"
    notes = (*probe.notes, note) if lost else probe.notes
    return replace(probe, refused=tuple(refused), requests=requests, notes=notes)


async def run_probe(ask: Ask, prompt: str, *, seeds: bool, chat: bool) -> Probe:
    """Return what the server is seen to do with `prompt`.

    Args:
        ask: sends the requests.
        prompt: a prompt of the run.
        seeds: whether seeds will be sent, and so are tried.
        chat: whether the server may think before the text, without showing it.
    """
    together = await _several(ask, prompt)
    singles = await _singles(ask, prompt, 4, temperature=1.0)
    faults, notes = [], []
    hot = 2.0
    try:
        greedy = await _singles(ask, prompt, 2, temperature=0.0)
    except RefusedError:
        greedy, hot = [], 1.0
        notes.append("it refuses T = 0, so whether it obeys the temperature cannot be seen")
    given = together.completions
    copies = False
    if all_same(given) and not all_same(singles):  # four of a likely answer, or copies? A prompt without one will tell
        copies = all_same((await _several(ask, OPEN_PROMPT, temperature=hot)).completions)
    if together.given != 4:
        notes.append(f"n is not honoured: 4 samples asked for, {together.given} given; they are asked for one by one")
    elif copies:
        notes.append("n > 1 gives copies of one draw; samples are asked for one by one")
    if all_same(singles) and coincidence(singles) < CHANCE:
        fault, note = await _why_equal(ask, singles, hot, chat)
        faults += fault
        notes += note
    if not all_same(greedy):
        greedy += await _singles(ask, prompt, 2, temperature=0.0)
        if len(_kinds(greedy)) > 2:
            faults.append(f"{len(_kinds(greedy))} of 4 draws at T = 0 differ: it ignores the temperature")
        else:
            notes.append("draws at T = 0 differ: a near tie between tokens, or the temperature is ignored")
    tried = await _try_seeds(ask, prompt) if seeds else "not sent"
    if tried == "failed":
        notes.append("parallel requests with seeds fail; none is sent")
    everything = [*given, *singles, *greedy]
    if any(c.finish == "unknown" for c in everything):
        notes.append("it does not always say why a sample ended: cut ones may pass for finished ones")
    if together.cuts(prompt):
        notes.append(cut_note(together, prompt))
    return Probe(
        n_honoured=together.given == 4 and not copies,
        draws_distinct=not all_same([*given, *singles]),
        greedy_equal=bool(greedy) and all_same(greedy),
        logprobs=all(c.logprob is not None for c in [*given, *singles]),
        token_ids=all(c.tokens is not None for c in everything),
        seeds=tried,
        finish=tuple(sorted({c.finish for c in everything})),
        fingerprint=together.fingerprint,
        answered_as=together.model,
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        faults=tuple(faults),
        notes=tuple(notes),
    )


async def _why_equal(ask: Ask, singles: Sequence[Completion], hot: float, chat: bool) -> tuple[list[str], list[str]]:
    """Return the fault or the note that equal draws at T = 1 come to; texts that are not shown are no draws."""
    open_ended = [c for c in await _singles(ask, OPEN_PROMPT, 3, temperature=hot) if not chat or shown(c)]
    if len(open_ended) < 2:
        return [], ["it shows no text, or refuses to answer: whether it obeys the temperature cannot be seen"]
    if all_same(open_ended):
        return [f"all draws are equal, even at T = {hot:g}: it ignores the temperature, or always uses one seed"], []
    if chat and not any(map(shown, singles)):
        return [], ["it shows no text for the first prompt, or refuses to answer it"]
    return [], ["draws at T = 1 are equal: the model seems all but certain of the first prompt"]


def shown(completion: Completion) -> bool:
    """Return whether anything of a draw is seen: not of a refusal, nor where a hidden thought took every token."""
    return completion.finish != "withheld" and bool(
        completion.text or completion.thought or completion.finish == "stop"
    )


def cut_note(answer: Answer, prompt: str) -> str:
    """Return what there is to say where the server counts too few tokens for a prompt."""
    return (
        f"it counts {answer.prompt_size} tokens for a prompt of {len(prompt):,} characters, so it cut the prompt; give "
        "the server a longer context"
    )


def all_same(drawn: Sequence[Completion]) -> bool:
    """Return whether all completions are one text, after one thought."""
    return len(_kinds(drawn)) <= 1


def coincidence(drawn: Sequence[Completion]) -> float:
    """Return the log-probability (nats) that all draws equal the first, -inf where it is not known."""
    logprob = drawn[0].logprob
    return -math.inf if logprob is None else (len(drawn) - 1) * logprob


def copied(parts: Sequence[Sequence[Completion]]) -> bool:
    """Return whether samples of one problem, given by request, repeat one another beyond chance (1e-9).

    With log-probabilities: m copies of a text of probability p among n samples come with probability at most
    C(n, m) p^(m-1), over all such texts. Without: if a request gave m equal texts that no other request gave, chance
    would have to gather all m copies in it, which has probability 1 / C(n, m), since samples are exchangeable. Either
    way: two requests with the same texts in the same order, one of m!/(m1! m2! ...) orders by chance.
    """
    orders = Counter(tuple(map(_content, part)) for part in parts if len(part) > 1)
    pairs = _log_choose(len(parts), 2) if len(parts) > 1 else 0.0
    for texts, times_given in orders.items():
        ways = math.lgamma(len(texts) + 1) - sum(math.lgamma(m + 1) for m in Counter(texts).values())
        if times_given > 1 and pairs - ways < COPIES:
            return True
    samples = [c for part in parts for c in part if c.finish != "error"]
    times = Counter(map(_content, samples))
    logprobs = {_content(c): c.logprob for c in samples if c.logprob is not None}
    if logprobs:
        return any(
            m > 1 and _log_choose(len(samples), m) + (m - 1) * logprobs.get(c, 0) < COPIES for c, m in times.items()
        )
    sizes = [len(part) for part in parts if len(part) > 1 and times[_content(part[0])] == len(part) == _copies(part)]
    return any(-_log_choose(len(samples), size) < COPIES for size in sizes)


def _content(completion: Completion) -> tuple[object, ...]:
    return completion.thought, completion.text, completion.tokens, completion.finish


def _copies(part: Sequence[Completion]) -> int:
    """Return how many completions of a request equal its first."""
    return sum(_content(c) == _content(part[0]) for c in part)


def _log_choose(n: int, m: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1)


def _kinds(drawn: Sequence[Completion]) -> set[tuple[str | None, str]]:
    return {(c.thought, c.text) for c in drawn}


async def _several(ask: Ask, prompt: str, temperature: float = 1.0) -> Answer:
    """Return four samples of one request, or one where the server refuses n."""
    try:
        return await ask(prompt, 4, temperature=temperature)
    except RefusedError:
        return await ask(prompt, 1, temperature=temperature)


async def _singles(ask: Ask, prompt: str, times: int, temperature: float) -> list[Completion]:
    """Return the first completions of requests made side by side."""
    return [
        a.completions[0] for a in await asyncio.gather(*(ask(prompt, 1, temperature=temperature) for _ in range(times)))
    ]


async def _try_seeds(ask: Ask, prompt: str) -> str:
    """Return what three parallel requests with seeds come to. Raises FailedError where the server died of them."""
    try:
        first, again, _ = await asyncio.gather(*(ask(prompt, 1, seed, temperature=1.0) for seed in (1, 1, 2)))
    except FailedError:
        await ask(prompt, 1, temperature=1.0)
        return "failed"
    return "honoured" if all_same([first.completions[0], again.completions[0]]) else "ignored"
