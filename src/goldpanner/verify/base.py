"""What every verifier is, which part of a completion it judges, and the endings that it does not have to look into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify.answer_part import TAGS, Tags, split_thought


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


@runtime_checkable
class Answering(Protocol):
    """A verifier that says how an answer is given to it."""

    def stated(self, answer: str) -> str | None:
        """Return a completion that gives an answer in the form that is read; None where the form is not known."""
        ...


def judge_batch(verifier: Verifier, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
    """Return the verdict on each pair, from one call where the verifier takes batches (`judge_many`).

    Raises InputError where a batch does not give one verdict for each pair.
    """
    many = getattr(verifier, "judge_many", None)
    verdicts: list[Verdict] = [verifier(*pair) for pair in pairs] if many is None else list(many(pairs))
    if len(verdicts) != len(pairs):
        raise InputError(f"{verifier.id} gave {len(verdicts):,} verdicts on {len(pairs):,} completions; mend it")
    return verdicts


def counted(verifier: str, completion: Completion, tags: Tags = TAGS) -> str | Verdict:
    """Return the part of a completion that counts as its answer, or the verdict where there is none.

    A completion cut at max_tokens gave no answer within the length it was allowed: WRONG, and visible as truncated.
    A thought without an end has no answer: UNJUDGED, the model's own doing.
    """
    if (nothing := not_drawn(verifier, completion)) is not None:
        return nothing
    if completion.finish == "length":
        return Verdict(Outcome.WRONG, verifier, reason="cut at max_tokens: no answer")
    answer = split_thought(completion.text, tags)[1]
    if answer is None or (completion.thought is not None and not answer.strip()):
        return unjudged(verifier, "nothing follows the thought: no answer", Cause.MODEL)
    return answer


def not_drawn(verifier: str, completion: Completion) -> Verdict | None:
    """Return the verdict where nothing was drawn: a policy that failed, or a server that withheld the answer."""
    if completion.finish == "error":
        return unjudged(verifier, f"the policy failed: {completion.text[:200]}")
    if completion.finish == "withheld":
        return unjudged(verifier, f"the server withheld the answer: {completion.text[:200]}", Cause.WITHHELD)
    return None


def unjudged(verifier: str, reason: str, cause: Cause = Cause.OURS, extracted: str | None = None) -> Verdict:
    """Return the verdict that says nothing of right or wrong; `cause` says whose doing that is."""
    return Verdict(Outcome.UNJUDGED, verifier, extracted, reason, cause)


@dataclass(frozen=True)
class AfterThought:
    """Another verifier, for a model whose thoughts have tags of their own."""

    verifier: Verifier
    begin: str
    end: str

    @property
    def id(self) -> str:
        """The verifier's own with the tags before its version: `number:after-<r>-</r>@2`."""
        name, at, version = self.verifier.id.partition("@")
        return f"{name}:after-{self.begin}-{self.end}{at}{version}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge what follows the thought; never raises."""
        answer = counted(self.id, completion, ((self.begin, self.end),))
        if isinstance(answer, Verdict):
            return answer
        return replace(self.verifier(problem, replace(completion, text=answer)), verifier=self.id)
