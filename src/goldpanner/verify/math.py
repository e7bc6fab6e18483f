"""Mathematical answers: numbers exactly and at once, formulas by math-verify in a process that can be killed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.types import Completion, Outcome, Problem, Verdict
from goldpanner.verify import reading
from goldpanner.verify.base import counted

if TYPE_CHECKING:
    from goldpanner.verify.pool import Reply

Pair = tuple[Problem, Completion]
Missing = Literal["unjudged", "wrong"]


@dataclass(frozen=True)
class Number:
    """CORRECT if the number that the completion declares equals the right answer, as exact rationals. Needs no extra.

    `reading.declared` says where the answer is looked for. Units are set aside; `1,234`, `18.0`, `36/2` and
    `\\frac{36}{2}` are read. `missing` says what a finished completion is that declares no
    answer, or none that is a number: UNJUDGED (by default: nothing was read, so nothing can be wrong) or WRONG, for
    training where silence must not pay. `flexible` takes the last number of a text that declares none: it then also
    reads answers that nobody gave (`verify-check` measures how many).
    """

    missing: Missing = "unjudged"
    flexible: bool = False

    def __post_init__(self) -> None:
        if self.missing not in ("unjudged", "wrong"):
            raise InputError(f"number: missing is {self.missing!r}; give 'unjudged' or 'wrong'")

    @property
    def id(self) -> str:
        """`number@1`, with every option that is not the default: `number:wrong-if-missing:flexible@1`."""
        return f"number{_options(self.missing, self.flexible)}@1"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises."""
        verdict = at_once(self.id, problem, completion, self.missing, self.flexible)
        if isinstance(verdict, Open):
            verdict = Verdict(Outcome.UNJUDGED, self.id, verdict.answer, "the answer is not a plain number")
        if self.missing == "wrong" and verdict.outcome is Outcome.UNJUDGED and verdict.extracted is not None:
            return replace(verdict, outcome=Outcome.WRONG)
        return verdict

    def judge_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Return the verdict on each pair."""
        return [self(problem, completion) for problem, completion in pairs]


@dataclass(frozen=True)
class Math:
    """CORRECT if the declared answer equals the right one; numbers and equal texts at once, the rest by math-verify.

    math-verify (formulas, sets, intervals, matrices; https://github.com/huggingface/Math-Verify) runs in `workers`
    processes. An answer it cannot read, one that takes longer than `seconds`, that crashes it or is not worth the try
    (see `reading.danger`) is UNJUDGED with that reason. `missing` says what a completion is that declares no
    answer; `flexible` is that of `Number`.

    Raises MissingExtraError without the `math` extra.
    """

    missing: Missing = "unjudged"
    flexible: bool = False
    seconds: float = 3.0
    workers: int = 1
    version: str = field(init=False, default="")

    def __post_init__(self) -> None:
        Number(self.missing)
        if not self.seconds > 0 or self.workers < 1:
            raise InputError(f"math: seconds is {self.seconds!r}, workers {self.workers!r}; give numbers above 0")
        try:
            object.__setattr__(self, "version", metadata.version("math-verify"))
        except metadata.PackageNotFoundError:
            raise MissingExtraError("judging formulas with math-verify", "math") from None

    @cached_property
    def id(self) -> str:
        """`math@2+0.9.0`, the version of math-verify at its end, with every option that is not the default."""
        return f"math{_options(self.missing, self.flexible)}@2+{self.version}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises, and ends within the time limit."""
        return self.judge_many([(problem, completion)])[0]

    def judge_many(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Return the verdict on each pair; equal questions to math-verify are put once."""
        from goldpanner.verify import pool

        verdicts = [at_once(self.id, problem, completion, self.missing, self.flexible) for problem, completion in pairs]
        tasks = list(dict.fromkeys(task for v in verdicts if isinstance(v, Open) for task in v.tasks))
        replies = {}
        if tasks:
            try:
                replies = dict(zip(tasks, pool.shared(self.workers).run(tasks, self.seconds)))
            except OSError as error:
                lost = pool.Reply(None, f"math-verify's worker cannot be reached: {error}")
                replies = dict.fromkeys(tasks, lost)
        return [v if isinstance(v, Verdict) else self._verdict(v, replies) for v in verdicts]

    def _verdict(self, question: "Open", replies: "Mapping[tuple[str, str], Reply]") -> Verdict:
        whole, *before = (replies[task] for task in question.tasks)
        if whole.equal is None:
            return Verdict(Outcome.UNJUDGED, self.id, question.answer, whole.reason)
        if whole.equal and not all(side.equal for side in before):
            return Verdict(Outcome.UNJUDGED, self.id, question.answer, "an equation of different values")
        return _judged(self.id, whole.equal, question.answer, question.tasks[0][0])


@dataclass(frozen=True, slots=True)
class Open:
    """Questions for math-verify: the answer as declared, and (right answer, answer) tidied.

    math-verify reads the last side of an equation. Every value before it is a question of its own: `5 = 7` is not 7.
    """

    answer: str
    tasks: tuple[tuple[str, str], ...]


def at_once(
    verifier: str, problem: Problem, completion: Completion, missing: Missing, flexible: bool
) -> Verdict | Open:
    """Return the verdict if it takes no computer algebra, else the question to put."""
    text = counted(verifier, completion)
    if isinstance(text, Verdict):
        return text
    if not isinstance(problem.answer, str) or not problem.answer.strip():
        return Verdict(Outcome.UNJUDGED, verifier, reason="the problem has no answer to compare with")
    found = reading.declared(text, flexible)
    if found.answer is None:
        outcome = Outcome.WRONG if missing == "wrong" else Outcome.UNJUDGED
        return Verdict(outcome, verifier, reason=found.reason)
    answer = found.answer
    if len(answer) > reading.LONGEST:
        shown = answer[: reading.LONGEST] + "..."
        return Verdict(Outcome.UNJUDGED, verifier, shown, f"the answer is longer than {reading.LONGEST} characters")
    value, number = reading.number(problem.answer, bare_units=False), reading.number(answer)
    if value and number and (equal := _equal_numbers(value, number)) is not None:
        return _judged(verifier, equal, answer, problem.answer)
    right, tidied = reading.tidy(problem.answer), reading.tidy(answer)
    if not tidied:
        return Verdict(Outcome.UNJUDGED, verifier, answer, "the declared answer is empty")
    if reading.same_text(right, tidied):
        return _judged(verifier, True, answer, problem.answer)
    if (expected := reading.words(problem.answer)) is not None:
        return _judged_words(verifier, expected, answer, tidied)
    reason = reading.danger(tidied)
    if reason is None and reading.words(answer) is not None:
        reason = "a word where a formula is expected"
    if reason is not None:
        return Verdict(Outcome.UNJUDGED, verifier, answer, reason)
    before = () if "=" in right else reading.values_before(tidied)
    return Open(answer, ((right, tidied), *((right, side) for side in before)))


def _judged_words(verifier: str, expected: str, answer: str, tidied: str) -> Verdict:
    """Judge where words or an option's letter are expected: by equality; what merely contains them is UNJUDGED."""
    word = reading.words(answer)
    if len(expected) == 1:  # an option: (C), C, \\text{C}; its value in place of its letter is not judged
        option = re.fullmatch(r"\(?([A-Za-z])\)?", tidied)
        word = option[1].lower() if option else word
        other = word is not None
    else:
        other = not re.search(rf"\b{re.escape(expected)}\b", tidied.lower())
    if word == expected or other:
        return _judged(verifier, word == expected, answer, expected)
    return Verdict(Outcome.UNJUDGED, verifier, answer, f"expected the words {expected!r} alone")


def _equal_numbers(right: reading.Number, found: reading.Number) -> bool | None:
    """Return whether two numbers are equal; None where per cent or rounding leave it open.

    1/3 and 0.333333 is such a case; two decimals, or two fractions, are not.
    """
    if right.value == found.value:
        return True
    if right.percent != found.percent or (right.decimal != found.decimal and 1 not in _denominators(right, found)):
        return None
    return False


def _denominators(right: reading.Number, found: reading.Number) -> tuple[int, ...]:
    return tuple(number.value.denominator for number in (right, found) if not number.decimal)


def _judged(verifier: str, equal: bool, answer: str, expected: str) -> Verdict:
    if equal:
        return Verdict(Outcome.CORRECT, verifier, answer)
    return Verdict(Outcome.WRONG, verifier, answer, f"expected {expected!r}")


def _options(missing: Missing, flexible: bool) -> str:
    return (":wrong-if-missing" if missing == "wrong" else "") + (":flexible" if flexible else "")
