"""Mathematical answers, by the type of the right one: decided at once, or by math-verify in a process of its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify.answers import Equality
from goldpanner.verify.base import counted, unjudged
from goldpanner.verify.declared import declared
from goldpanner.verify.equality import TOLERANCE, compare_answers
from goldpanner.verify.references import Reference, right_answer
from goldpanner.verify.tex import LONGEST, plain

if TYPE_CHECKING:
    from goldpanner.verify.pool import Reply

_PLAIN = re.compile(r"-?[0-9]{1,18}")
Pair = tuple[Problem, Completion]
Missing = Literal["unjudged", "wrong"]


@dataclass(frozen=True)
class Number:
    """CORRECT if the declared answer equals the right one, by the right one's type. Needs no extra.

    Made for numbers; it judges every type that docs/verifiers.md lists but for formulas that only a computer algebra
    system reads. `declared.declared` says where the answer is looked for. `tolerance` is relative, and holds only where
    the right answer is written with a decimal point. `missing` says what a completion is that is UNJUDGED by the
    model's own doing (it declares no answer, or none that is a value): that, or WRONG, where the task asks for this
    form. `flexible` takes the last number of a text that declares none: it then also reads answers that nobody gave
    (`verify-check` measures how many).
    """

    missing: Missing = "unjudged"
    flexible: bool = False
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if self.missing not in ("unjudged", "wrong"):
            raise InputError(f"number: missing is {self.missing!r}; give 'unjudged' or 'wrong'")
        if not 0 <= self.tolerance < 1:
            raise InputError(f"number: the tolerance is {self.tolerance!r}; give a number in [0, 1)")

    @property
    def id(self) -> str:
        """`number@3+within-1e-06` (the tolerance), with every option: `number:wrong-if-missing:flexible@3+...`."""
        return f"number{_options(self.missing, self.flexible)}@3+within-{self.tolerance:g}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises."""
        verdict = at_once(self.id, problem, completion, self.flexible, self.tolerance)
        if isinstance(verdict, Open):
            return unjudged(self.id, verdict.reason, extracted=verdict.answer)
        return _answered(verdict, self.missing)

    def stated(self, answer: str) -> str:
        """Return the answer in a box."""
        return f"\\boxed{{{answer}}}"

    def judge_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Return the verdict on each pair."""
        return [self(problem, completion) for problem, completion in pairs]


@dataclass(frozen=True)
class Math:
    """CORRECT if the declared answer equals the right one, by the right one's type; what is left by math-verify.

    math-verify (for integrals, sums, limits; https://github.com/huggingface/Math-Verify) runs in `workers` processes.
    Its True and its False are believed where the values that it read confirm them (`math_worker`); what it cannot read,
    or what takes longer than `seconds`, or crashes it, is UNJUDGED with that reason. The other options are `Number`'s.

    Raises MissingExtraError without the `math` extra.
    """

    missing: Missing = "unjudged"
    flexible: bool = False
    tolerance: float = TOLERANCE
    seconds: float = 3.0
    workers: int = 1
    version: str = field(init=False, default="")

    def __post_init__(self) -> None:
        Number(self.missing, self.flexible, self.tolerance)
        if not self.seconds > 0 or self.workers < 1:
            raise InputError(f"math: seconds is {self.seconds!r}, workers {self.workers!r}; give numbers above 0")
        try:
            object.__setattr__(self, "version", metadata.version("math-verify"))
        except metadata.PackageNotFoundError:
            raise MissingExtraError("judging formulas with math-verify", "math") from None

    @cached_property
    def id(self) -> str:
        """`math@4+within-1e-06+0.9.0`: the tolerance, and the version of math-verify."""
        return f"math{_options(self.missing, self.flexible)}@4+within-{self.tolerance:g}+{self.version}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises, and ends within the time limit."""
        return self.judge_many([(problem, completion)])[0]

    def stated(self, answer: str) -> str:
        """Return the answer in a box."""
        return f"\\boxed{{{answer}}}"

    def judge_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Return the verdict on each pair; equal questions to math-verify are put once."""
        from goldpanner.verify import pool

        verdicts = [
            at_once(self.id, problem, completion, self.flexible, self.tolerance) for problem, completion in pairs
        ]
        tasks = list(dict.fromkeys(v.task for v in verdicts if isinstance(v, Open)))
        replies = {}
        if tasks:
            try:
                replies = dict(zip(tasks, pool.shared(self.workers).run(tasks, self.seconds)))
            except OSError as error:
                lost = pool.Reply(None, f"math-verify's worker cannot be reached: {error}")
                replies = dict.fromkeys(tasks, lost)
        judged = [v if isinstance(v, Verdict) else self._verdict(v, replies) for v in verdicts]
        return [_answered(verdict, self.missing) for verdict in judged]

    def _verdict(self, question: "Open", replies: "Mapping[tuple[str, str], Reply]") -> Verdict:
        reply = replies[question.task]
        decision = Equality(reply.equal, reply.reason)
        return _judged(self.id, decision, question.answer, question.task[0])


@dataclass(frozen=True, slots=True)
class Open:
    """A question that only a computer algebra system may answer."""

    answer: str
    task: tuple[str, str]
    """Right answer and answer."""
    reason: str
    """Why it was not decided here."""


def at_once(
    verifier: str, problem: Problem, completion: Completion, flexible: bool, tolerance: float
) -> Verdict | Open:
    """Return the verdict if it takes no computer algebra system, else the question to put to one.

    Args:
        verifier: id of the verifier, for the verdict.
        problem: the problem with its right answer.
        completion: the completion to judge.
        flexible: take the last number where there is no answer in the asked form.
        tolerance: difference that still counts as equal (`compare_answers`).
    """
    text = counted(verifier, completion)
    if isinstance(text, Verdict):
        return text
    right = right_answer(problem.answer) if isinstance(problem.answer, str) else None
    if right is None:
        return unjudged(verifier, "the problem has no answer that can be read")
    declaration = declared(text, flexible)
    if declaration.answer is None:
        return unjudged(verifier, declaration.reason, Cause.MODEL)
    answer = declaration.answer
    if _PLAIN.fullmatch(answer) and _PLAIN.fullmatch(right.text):
        return _judged(verifier, Equality(int(answer) == int(right.text)), answer, right.text)
    if not answer.strip() or len(answer) > max(LONGEST, 2 * len(right.text)):
        reason = (
            "the declared answer is empty" if not answer.strip() else f"the answer is longer than {LONGEST} characters"
        )
        return unjudged(verifier, reason, Cause.MODEL, answer[:200])
    decision = _decided(right, answer, tolerance)
    if decision.algebra:
        return Open(answer, (plain(right.text), plain(answer)), decision.reason)
    return _judged(verifier, decision, answer, right.text)


def _decided(right: Reference, answer: str, tolerance: float) -> Equality:
    try:
        return compare_answers(right.answer, right.text, answer, tolerance)
    except RecursionError:
        return Equality(None, "too deep a formula", Cause.MODEL)


def _judged(verifier: str, decision: Equality, answer: str, expected: str) -> Verdict:
    if decision.equal is None:
        return unjudged(verifier, decision.reason, decision.cause, answer)
    if decision.equal:
        return Verdict(Outcome.CORRECT, verifier, answer)
    return Verdict(Outcome.WRONG, verifier, answer, f"expected {expected!r}")


def _answered(verdict: Verdict, missing: Missing) -> Verdict:
    """Return the verdict, WRONG if it is UNJUDGED by the model's own doing and a missing answer is wrong."""
    return replace(verdict, outcome=Outcome.WRONG) if missing == "wrong" and verdict.cause is Cause.MODEL else verdict


def _options(missing: Missing, flexible: bool) -> str:
    return (":wrong-if-missing" if missing == "wrong" else "") + (":flexible" if flexible else "")
