"""Right answers: typed, counted by type, and found sound before anything is drawn."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from goldpanner.errors import InputError
from goldpanner.types import Completion, Problem
from goldpanner.verify.answers import Answer
from goldpanner.verify.base import Verifier
from goldpanner.verify.declared import declared
from goldpanner.verify.reading import read_answer
from goldpanner.verify.texts import option

PLURALS = {"text": "texts", "date or time": "dates or times", "matrix": "matrices"}


class Reference(NamedTuple):
    """A right answer."""

    text: str
    """The final answer, as it stands; of a worked solution what it declares."""
    answer: Answer
    worked: bool = False
    """Whether it was taken out of a worked solution."""

    @property
    def type(self) -> str:
        """In a word: `number`, `formula`, `option`, `text`, `date or time`, `interval`, `list` ..."""
        return self.answer.type


@lru_cache(maxsize=65536)
def right_answer(text: str) -> Reference | None:
    r"""Return a problem's right answer with its type; None where it cannot be read.

    A capital letter alone is an option. A worked solution that ends in `#### 18`, or boxes its answer, stands for that.
    """
    final, worked = text.strip(), False
    if "####" in text or "boxed" in text:
        found = declared(text).answer
        if found is not None and found.strip() != final:
            final, worked = found.strip(), True
    choice = option(final)
    if choice is not None and not choice.more and any(letter.isupper() for letter in final if letter.isalpha()):
        return Reference(final, choice, worked)
    answer = read_answer(final, equations=True)
    return None if answer is None else Reference(final, answer, worked)


def count_types(problems: Iterable[Problem]) -> str:
    """Return how many right answers are of which type, in words: `312 numbers, 180 formulas, 8 options`."""
    found = [right_answer(problem.answer) for problem in problems]
    counts = Counter("unread" if each is None else each.type for each in found)
    parts = [
        f"{n:,} {name if n == 1 or name == 'unread' else PLURALS.get(name, name + 's')}"
        for name, n in counts.most_common()
    ]
    worked = sum(each is not None and each.worked for each in found)
    return ", ".join(parts) + (f"; {worked:,} taken from worked solutions" if worked else "")


class Unsound(NamedTuple):
    """A problem that a verifier cannot judge, and why."""

    row: int
    """Its place among the problems, from 1."""
    problem: Problem
    reason: str


def unsound(problems: Sequence[Problem], verifier: Verifier) -> list[Unsound]:
    r"""Return the problems whose right answer the verifier does not find CORRECT when it is given as the answer.

    It is given in a box, and, where that is not what the verifier reads, alone.
    """
    waiting = list(enumerate(problems, 1))
    reasons: dict[int, str] = {}
    for form in ("\\boxed{{{}}}", "{}"):
        pairs = [(problem, Completion(form.format(_final(problem)))) for _, problem in waiting]
        many = getattr(verifier, "judge_many", None)
        verdicts = many(pairs) if many is not None else [verifier(*pair) for pair in pairs]
        for (row, _), verdict in zip(waiting, verdicts):
            reasons.setdefault(row, verdict.reason or f"{verdict.outcome} of itself")
        waiting = [each for each, verdict in zip(waiting, verdicts) if not verdict.correct]
    return [Unsound(row, problem, reasons[row]) for row, problem in waiting]


def _final(problem: Problem) -> str:
    found = right_answer(problem.answer)
    return problem.answer if found is None else found.text


def sound(problems: Sequence[Problem], verifier: Verifier, set_aside: bool = False) -> list[Problem]:
    """Return the problems that the verifier can judge.

    Raises InputError naming the first row that it cannot judge and the reason, unless these are to be `set_aside`.
    """
    found = unsound(problems, verifier)
    if found and (not set_aside or len(found) == len(problems)):
        first = found[0]
        more = f" ({len(found)} of {len(problems)} rows)" if len(found) > 1 else ""
        raise InputError(
            f"row {first.row}: {verifier.id} cannot judge the right answer {first.problem.answer[-80:]!r}: "
            f"{first.reason}{more}; mend the answer, name another verifier, or set such rows aside"
        )
    bad = {each.row for each in found}
    return [problem for row, problem in enumerate(problems, 1) if row not in bad]
