"""Verifiers for worked answers: a chain of steps that ends in the answer.

A chain is text of space-separated tokens. A token of several characters (`oak`, `total`) names a step; the
one-character symbols after it (`f q b`, `8 2`) are its state. The last state is the answer.

Three verifiers look at the same completion: `ChainAnswer` at the last state alone, `ChainProcess` at every step, and
`ChainFormat` at the form without what it says. A lucky answer is the difference between the first two.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from goldpanner.types import Completion, Outcome, Problem, Verdict
from goldpanner.verify.base import counted


@dataclass(frozen=True)
class ChainAnswer:
    """CORRECT if the completion ended by itself and its last state is the problem's answer, by whatever route.

    UNJUDGED where the policy failed or `problem.answer` is not a run of one-character symbols.
    """

    id: str = "chain-answer@1"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge the last state; never raises."""
        text = counted(self.id, completion)
        if isinstance(text, Verdict):
            return text
        answer = _tokens(problem.answer)
        if not answer or last_state(answer) != answer:
            return Verdict(Outcome.UNJUDGED, self.id, reason="the problem has no answer made of one-character symbols")
        state = last_state(text.split())
        if not state:
            return Verdict(Outcome.WRONG, self.id, reason="no state at the end")
        extracted = " ".join(state)
        if state == answer:
            return Verdict(Outcome.CORRECT, self.id, extracted)
        return Verdict(Outcome.WRONG, self.id, extracted, f"expected {' '.join(answer)!r}")


@dataclass(frozen=True)
class ChainProcess:
    """CORRECT if the completion ended by itself and is the whole worked answer, `problem.meta["chain"]`, by tokens.

    Its probability under a model is one teacher-forced pass, so it can be known exactly. UNJUDGED where the policy
    failed or the problem carries no chain.
    """

    id: str = "chain-process@1"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge every step; never raises."""
        chains = _chains(self.id, problem, completion)
        if isinstance(chains, Verdict):
            return chains
        tokens, chain = chains
        extracted = " ".join(last_state(tokens)) or None
        if tokens == chain:
            return Verdict(Outcome.CORRECT, self.id, extracted)
        lucky = "; the answer is right all the same" if last_state(tokens) == last_state(chain) else ""
        return Verdict(Outcome.WRONG, self.id, extracted, _first_difference(chain, tokens) + lucky)


@dataclass(frozen=True)
class ChainFormat:
    """CORRECT if the completion ended by itself and has the form of the worked answer, right or wrong: the same step
    names in their order, and as many one-character symbols after each.

    A control: it rewards the style alone. UNJUDGED where the policy failed or the problem carries no chain.
    """

    id: str = "chain-format@1"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge the form; never raises."""
        chains = _chains(self.id, problem, completion)
        if isinstance(chains, Verdict):
            return chains
        tokens, chain = chains
        extracted = " ".join(last_state(tokens)) or None
        if _form(tokens) == _form(chain):
            return Verdict(Outcome.CORRECT, self.id, extracted)
        return Verdict(Outcome.WRONG, self.id, extracted, _first_difference(_form(chain), _form(tokens)))


def _chains(verifier: str, problem: Problem, completion: Completion) -> Verdict | tuple[list[str], list[str]]:
    """Return the tokens of a completion and those of the worked answer, or the verdict where either is missing."""
    text = counted(verifier, completion)
    if isinstance(text, Verdict):
        return text
    chain = _tokens(problem.meta.get("chain")) if isinstance(problem.meta, Mapping) else []
    if not chain:
        return Verdict(Outcome.UNJUDGED, verifier, reason="the problem has no meta['chain'] to compare with")
    return text.split(), chain


def last_state(tokens: list[str]) -> list[str]:
    """Return the run of one-character symbols at the end of `tokens` (empty if a longer token stands there)."""
    start = len(tokens)
    while start and len(tokens[start - 1]) == 1:
        start -= 1
    return tokens[start:]


def _tokens(text: object) -> list[str]:
    return text.split() if isinstance(text, str) else []


def _form(tokens: list[str]) -> list[str]:
    """Return the step names as they are and every symbol as `.`."""
    return [token if len(token) > 1 else "." for token in tokens]


def _steps(tokens: list[str]) -> list[str]:
    """Cut `tokens` into steps: a name with the symbols after it."""
    steps: list[list[str]] = []
    for token in tokens:
        if len(token) > 1 or not steps:
            steps.append([])
        steps[-1].append(token)
    return [" ".join(step) for step in steps]


def _first_difference(chain: list[str], tokens: list[str]) -> str:
    """Say where `tokens` first leaves `chain`; they must differ."""
    right, steps = _steps(chain), _steps(tokens)
    for number, (expected, got) in enumerate(zip(right, steps), 1):
        if expected != got:
            return f"step {number}: expected {expected!r}, found {got!r}"
    if len(steps) < len(right):
        return f"stopped after step {len(steps)} of {len(right)}"
    return f"went on after step {len(right)}, the last"
