"""Exact match after a stated normalisation."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict, content_hash
from goldpanner.verify.answer_part import without_emphasis
from goldpanner.verify.base import counted, unjudged

NORMALISERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "nfkc": lambda text: unicodedata.normalize("NFKC", text),
        "spaces": lambda text: " ".join(text.split()),
        "casefold": str.casefold,
        "period": lambda text: text.rstrip().removesuffix("."),
        "commas": lambda text: re.sub(r"(?<=\d),(?=\d{3}\b)", "", text),
    }
)
"""What each step does: `nfkc` Unicode compatibility form; `spaces` trims and joins runs of white space; `casefold`
ignores case; `period` drops one full stop at the end; `commas` drops the commas that group thousands."""


@dataclass(frozen=True)
class Exact:
    """CORRECT if the answer in the completion equals `problem.answer`, both normalised by the same steps.

    The answer is the last match of `pattern` (its first group, or the whole match where it has none); without a
    pattern it is the whole text, but for Markdown's emphasis around it. A completion in which the pattern finds nothing
    is UNJUDGED: nothing was read, so nothing can be wrong. The id names the steps, and hashes the pattern.

    Raises InputError on an unknown step or a pattern that does not compile. The pattern is trusted: one with nested
    repeats can take long on a hostile text.
    """

    steps: tuple[str, ...] = ("nfkc", "spaces")
    pattern: str | None = None

    def __post_init__(self) -> None:
        if unknown := [step for step in self.steps if step not in NORMALISERS]:
            raise InputError(
                f"exact match: no normalisation is called {unknown[0]!r}; there are {', '.join(NORMALISERS)}"
            )
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise InputError(f"exact match: the pattern {self.pattern!r} does not compile: {error}") from None

    @cached_property
    def id(self) -> str:
        """`exact:nfkc+spaces@1`, with `:` and 6 hex digits of the pattern where there is one."""
        pattern = "" if self.pattern is None else ":" + content_hash(self.pattern, 6)
        return f"exact:{'+'.join(self.steps) or 'as-is'}{pattern}@1"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge by equality; never raises."""
        text = counted(self.id, completion)
        if isinstance(text, Verdict):
            return text
        if not isinstance(problem.answer, str) or not self.normalise(problem.answer):
            return unjudged(self.id, "the problem has no answer to compare with")
        answer = self.extract(text)
        if answer is None:
            return unjudged(self.id, f"nothing in the completion matches {self.pattern!r}", Cause.MODEL)
        extracted, expected = self.normalise(answer), self.normalise(problem.answer)
        if expected in (extracted, self.normalise(without_emphasis(answer))):
            return Verdict(Outcome.CORRECT, self.id, extracted)
        return Verdict(Outcome.WRONG, self.id, extracted, f"expected {expected!r}")

    def stated(self, answer: str) -> str | None:
        """Return the answer itself; None where a pattern says where it stands."""
        return answer if self.pattern is None else None

    def extract(self, text: str) -> str | None:
        """Return the answer in `text`, not normalised, or None."""
        if self.pattern is None:
            return text
        last = None
        for last in re.finditer(self.pattern, text):  # noqa: B007  the last match counts
            pass
        if last is None:
            return None
        return last[1] if last.re.groups else last[0]

    def normalise(self, text: str) -> str:
        """Return `text` after every step, in order."""
        for step in self.steps:
            text = NORMALISERS[step](text)
        return text
