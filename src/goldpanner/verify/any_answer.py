"""Problems with several right answers: a completion that gives one of them is right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from goldpanner.types import Completion, Outcome, Problem, Verdict
from goldpanner.verify.base import Verifier


@dataclass(frozen=True)
class AnyAnswer:
    """Another verifier, asked with each of a problem's right answers, which stand in `meta["answers"]`."""

    verifier: Verifier

    @property
    def id(self) -> str:
        """The verifier's own, with `any` before its version: `exact:nfkc:any@1`."""
        name, at, version = self.verifier.id.partition("@")
        return f"{name}:any{at}{version}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return CORRECT if one answer is met, UNJUDGED if it may be, else WRONG; never raises."""
        given = problem.meta.get("answers")
        answers = given if isinstance(given, Sequence) and not isinstance(given, str) and given else [problem.answer]
        verdicts = [self.verifier(replace(problem, answer=str(answer)), completion) for answer in answers]
        order = (Outcome.CORRECT, Outcome.UNJUDGED, Outcome.WRONG)
        return replace(min(verdicts, key=lambda verdict: order.index(verdict.outcome)), verifier=self.id)
