"""What every verifier is, and the two endings of a completion that none of them has to look into."""

from typing import Protocol, runtime_checkable

from goldpanner.types import Completion, Outcome, Problem, Verdict


@runtime_checkable
class Verifier(Protocol):
    """Judges one completion of one problem. Never raises, never guesses: what it cannot judge is UNJUDGED."""

    @property
    def id(self) -> str:
        """Name and version, `name@version`; the version rises whenever a verdict could change."""
        ...

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return the verdict, with the answer found and, unless it is CORRECT, the reason."""
        ...


def unfinished(verifier: str, completion: Completion) -> Verdict | None:
    """Return the verdict on a completion that did not end by itself, None for one that did.

    A policy that failed says nothing about the problem: UNJUDGED. A completion cut at max_tokens gave no answer within
    the length it was allowed: WRONG, and still visible as truncated through its finish reason.
    """
    if completion.finish == "error":
        return Verdict(Outcome.UNJUDGED, verifier, reason=f"the policy failed: {completion.text[:200]}")
    if completion.finish == "length":
        return Verdict(Outcome.WRONG, verifier, reason="cut at max_tokens: no answer")
    return None
