"""Right answers: typed, counted by type, and found sound before anything is drawn."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from goldpanner.types import Completion, Problem
from goldpanner.verify.answers import Answer
from goldpanner.verify.base import Answering, Verifier, judge_batch
from goldpanner.verify.declared import declared
from goldpanner.verify.quantities import other_readings
from goldpanner.verify.reading import read_answer
from goldpanner.verify.texts import bare, read_option

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
        declaration = declared(text).answer
        if declaration is not None and declaration.strip() != final:
            final, worked = declaration.strip(), True
    choice = read_option(final)
    if choice is not None and not choice.more and re.search("[A-Z]", bare(final)):
        return Reference(final, choice, worked)
    answer = read_answer(final, equations=True) or next(iter(other_readings(final)), None)
    return None if answer is None else Reference(final, answer, worked)


def count_types(answers: Iterable[str]) -> str:
    """Return how many right answers are of which type, in words: `312 numbers, 180 formulas, 8 options`."""
    typed = [right_answer(answer) for answer in answers]
    counts = Counter("unread" if each is None else each.type for each in typed)
    parts = [
        f"{n:,} {name if n == 1 or name == 'unread' else PLURALS.get(name, name + 's')}"
        for name, n in counts.most_common()
    ]
    worked = sum(each is not None and each.worked for each in typed)
    return ", ".join(parts) + (f"; {worked:,} taken from worked solutions" if worked else "")


class Unsound(NamedTuple):
    """A problem that a verifier cannot judge, and why."""

    place: int
    """Its place among the problems, from 0."""
    problem: Problem
    reason: str


def unsound(problems: Sequence[Problem], verifier: Verifier) -> list[Unsound]:
    """Return the problems whose right answer the verifier does not find CORRECT when it is given as the answer.

    Nothing is said of a verifier that reads completions in a form of its own (it is no `base.Answering`).
    """
    if not isinstance(verifier, Answering):
        return []
    finals = [right_answer(problem.answer) for problem in problems]
    texts = [verifier.stated(p.answer if final is None else final.text) for p, final in zip(problems, finals)]
    cases = [(i, p, Completion(text)) for i, (p, text) in enumerate(zip(problems, texts)) if text is not None]
    verdicts = judge_batch(verifier, [(problem, completion) for _, problem, completion in cases])
    return [
        Unsound(i, problem, verdict.reason) for (i, problem, _), verdict in zip(cases, verdicts) if not verdict.correct
    ]
