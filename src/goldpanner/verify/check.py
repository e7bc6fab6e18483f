"""How often a verifier is wrong: right answers in many forms, and texts that try to be paid without one.

A false positive pays for a wrong answer, and RL finds it; a false negative hides what the model can do. Both rates are
of *this corpus*: cases of one form are alike, so read the forms that fail before the rate.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError
from goldpanner.types import Completion, Estimate, Outcome, Problem, Verdict
from goldpanner.verify.answers import Value
from goldpanner.verify.base import Verifier
from goldpanner.verify.code_tests import extract, wanted
from goldpanner.verify.evaluate import exact_value
from goldpanner.verify.forms import (
    DECLARED,
    EXPLOITS,
    NUMBER_EXPLOITS,
    NUMBERS,
    PROGRAM_EXPLOITS,
    PROGRAMS,
    WORKED,
    WORKED_EXPLOITS,
    Form,
)
from goldpanner.verify.reading import read_answer


@dataclass(frozen=True, slots=True)
class Case:
    """One text for one problem, and whether it is right."""

    problem: Problem
    form: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class FormTally:
    """Verdicts on the cases of one form."""

    form: str
    right: bool
    n: int
    correct: int
    wrong: int
    unjudged: int

    @property
    def errors(self) -> int:
        """WRONG on right cases, CORRECT on wrong ones; UNJUDGED is no error."""
        return self.wrong if self.right else self.correct


@dataclass(frozen=True)
class Check:
    """What a verifier made of a corpus."""

    verifier: str
    tasks: tuple[str, ...]
    tallies: tuple[FormTally, ...]
    examples: tuple[dict[str, str], ...]
    """The first case of each form that failed: form, answer, text, what the verifier said."""
    level: float = 0.95

    def false_positive(self) -> Estimate:
        """Return the share of wrong cases judged CORRECT."""
        return self._rate(False, lambda tally: tally.correct, lambda tally: tally.n)

    def false_negative(self) -> Estimate:
        """Return the share of right cases judged WRONG, among those judged."""
        return self._rate(True, lambda tally: tally.wrong, lambda tally: tally.n - tally.unjudged)

    def unread(self) -> Estimate:
        """Return the share of right cases that are UNJUDGED."""
        return self._rate(True, lambda tally: tally.unjudged, lambda tally: tally.n)

    def failing(self) -> tuple[FormTally, ...]:
        """Return the forms with an error, the worst first."""
        return tuple(sorted((t for t in self.tallies if t.errors), key=lambda t: -t.errors / t.n))

    def rate(self, tally: FormTally) -> Estimate:
        """Return the share of errors among the cases of one form (for right cases: among those judged)."""
        return self._share(tally.errors, tally.n - tally.unjudged if tally.right else tally.n)

    def record(self) -> dict[str, Any]:
        """Return what the store keeps: counts for `measure` (VerifierErrors), rates with intervals, every form."""
        right = [tally for tally in self.tallies if tally.right]
        wrong = [tally for tally in self.tallies if not tally.right]
        return {
            "verifier": self.verifier,
            "tasks": list(self.tasks),
            "errors": {
                "false_positive": sum(t.correct for t in wrong),
                "wrong": sum(t.n for t in wrong),
                "false_negative": sum(t.wrong for t in right),
                "right": sum(t.n - t.unjudged for t in right),
            },
            "false_positive": self.false_positive().to_json(),
            "false_negative": self.false_negative().to_json(),
            "unread": self.unread().to_json(),
            "forms": [asdict(tally) | {"errors": self.rate(tally).to_json()} for tally in self.tallies],
            "examples": list(self.examples),
        }

    def _rate(self, right: bool, hits: Callable[[FormTally], int], size: Callable[[FormTally], int]) -> Estimate:
        tallies = [tally for tally in self.tallies if tally.right is right]
        return self._share(sum(map(hits, tallies)), sum(map(size, tallies)))

    def _share(self, x: int, n: int) -> Estimate:
        """Return the share x / n with its exact interval (Clopper & Pearson 1934)."""
        from scipy.stats import binomtest

        if not n:
            return Estimate.undefined("clopper-pearson", self.level)
        ends = binomtest(x, n).proportion_ci(self.level, "exact")
        return Estimate(x / n, float(ends.low), float(ends.high), self.level, "clopper-pearson", n)


class Watched:
    """A verifier whose verdicts are kept, for their reasons."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self.id = verifier.id
        self.verdicts: list[Verdict] = []

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion."""
        return self.judge_many([(problem, completion)])[0]

    def judge_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """Judge, in one call where the verifier offers it."""
        many = getattr(self.verifier, "judge_many", None)
        verdicts: list[Verdict] = [self.verifier(*pair) for pair in pairs] if many is None else many(pairs)
        self.verdicts += verdicts
        return verdicts

    def unread(self, corpus: Sequence[Case]) -> list[tuple[str, int]]:
        """Return why right answers of the corpus were UNJUDGED and how often, the commonest reasons first.

        Raises InputError where no case at all was judged: then it is the verifier that fails.
        """
        pairs = [(case, verdict) for case, verdict in zip(corpus, self.verdicts) if verdict.outcome == "unjudged"]
        reasons = Counter(verdict.reason for case, verdict in pairs if case.right).most_common(3)
        if len(pairs) == len(self.verdicts):
            (reason, times), *_ = reasons or [(pairs[0][1].reason, len(pairs))]
            raise InputError(
                f"{self.id} judged none of {len(pairs):,} cases; {times:,} times because: {reason}; mend it, then "
                "check it again"
            )
        return reasons


def check_verifier(verifier: Verifier, cases: Iterable[Case], level: float = 0.95) -> Check:
    """Put every case to the verifier. Raises InputError if there is none."""
    listed = list(cases)
    if not listed:
        raise InputError("verifier check: there is no case; give problems with answers")
    pairs = [(case.problem, Completion(case.text)) for case in listed]
    many = getattr(verifier, "judge_many", None)
    verdicts: list[Verdict] = many(pairs) if many is not None else [verifier(*pair) for pair in pairs]
    outcomes: dict[tuple[str, bool], list[int]] = {}
    examples: dict[tuple[str, bool], dict[str, str]] = {}
    for case, verdict in zip(listed, verdicts, strict=True):
        key = (case.form, case.right)
        tally = outcomes.setdefault(key, [0, 0, 0, 0])
        place = [Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED].index(verdict.outcome)
        tally[0] += 1
        tally[1 + place] += 1
        if verdict.outcome is (Outcome.WRONG if case.right else Outcome.CORRECT) and key not in examples:
            summary = f"{verdict.outcome.value}: {verdict.reason}".rstrip(": ")
            examples[key] = {"form": case.form, "answer": case.problem.answer, "text": case.text[:300], "said": summary}
    tallies = tuple(FormTally(*key, *tally) for key, tally in outcomes.items())
    tasks = tuple(sorted({case.problem.task for case in listed}))
    return Check(verifier.id, tasks, tallies, tuple(examples.values()), level)


def cases(problems: Sequence[Problem], worked: Callable[[Problem], str] | None = None) -> Iterator[Case]:
    """Yield the corpus for problems: of declared answers, or, given worked right answers, of whole texts.

    Wrong answers are those of other problems. Raises InputError with fewer than three different answers.
    """
    answers = list(dict.fromkeys(problem.answer.strip() for problem in problems))
    if len(answers) < 3:
        raise InputError(
            f"verifier check: {len(answers)} different answers; wrong ones are those of others: give three"
        )
    for i, problem in enumerate(problems):
        if worked is not None:
            yield from _worked(problem, problems[i - 1], worked)
            continue
        at = answers.index(problem.answer.strip())
        forms = {"a": answers[at], "b": answers[at - 1], "c": answers[at - 2]}
        groups = [(DECLARED, True), (EXPLOITS, False)]
        variants = _variants(answers[at])
        maybe_right = set()
        if _rational(forms["b"]) is None:  # p - q = 7 may well be true
            maybe_right.add("false equation")
        if _rational(forms["a"]) == 0 or _rational(forms["b"]) == 1:  # 3 (0) is 0
            maybe_right.add("in brackets")
        groups[1] = (tuple(form for form in EXPLOITS if form[0] not in maybe_right), False)
        if variants:
            groups += [(NUMBERS, True), (NUMBER_EXPLOITS, False)]
        yield from _filled(problem, groups, forms | variants)


def _rational(answer: str) -> Fraction | None:
    value = read_answer(answer)
    return exact_value(value.node) if isinstance(value, Value) else None


def _variants(answer: str) -> dict[str, str]:
    """Return other ways to write a whole number, right and wrong; nothing for any other answer."""
    rational = _rational(answer)
    if rational is None or rational.denominator != 1 or not answer.replace(",", "").lstrip("-").isdecimal():
        return {}
    value = int(rational)
    variants = {
        "fraction": f"\\frac{{{3 * value}}}{{3}}",
        "decimal": f"{value}.00",
        "sum": f"{value - 7} + 7",
        "wide": "".join(chr(ord(c) + 0xFEE0) for c in str(value)),
        "next": str(value + 1),
        "near": f"{value}.000001",
    }
    if value:
        variants["minus"] = str(-value)
    if abs(value) > 1:
        variants["many"] = answer
    if abs(value) >= 1000:
        variants["thousands"] = f"{value:,}"
    if set(str(value)) & set("01"):
        variants["alike"] = str(value).translate(str.maketrans("01", "\u041el"))
    return variants


def _worked(problem: Problem, other: Problem, worked: Callable[[Problem], str]) -> Iterator[Case]:
    right, wrong = worked(problem), None if other.answer == problem.answer else worked(other)
    if "tests" in problem.meta:
        groups = (PROGRAMS, True), (PROGRAM_EXPLOITS, False)
        program = extract(right, problem) or right
        fill = {"p": program, "comment": program.replace("\n", "\n# ")}
        if names := [name for name in sorted(wanted(problem.meta["tests"])) if name in program]:
            fill["f"] = names[0]
        if wrong is not None:
            fill["v"] = extract(wrong, other) or wrong
    else:
        groups = (WORKED, True), (WORKED_EXPLOITS, False)
        fill = {"w": right, "p": problem.prompt, "half": right[: len(right) // 2]}
        if wrong is not None:
            fill["v"] = wrong
    yield from _filled(problem, groups, fill)


def _filled(problem: Problem, groups: Iterable[tuple[Sequence[Form], bool]], fill: dict[str, str]) -> Iterator[Case]:
    """Yield the cases of the forms, but of those that ask for what is not there."""
    for group, right in groups:
        for name, text in group:
            with suppress(KeyError):
                yield Case(problem, name, text.format(**fill), right)


def read_cases(path: Path | str, task: str = "corpus") -> list[Case]:
    """Return the cases of a JSONL file: `answer`, `text`, `right` (true or false); `form`, `prompt`, `meta` if given.

    Raises InputError naming the line that is none.
    """
    cases_read = []
    for row, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            problem = Problem(task, str(record.get("prompt", "")), str(record["answer"]), record.get("meta", {}))
            if not isinstance(record["right"], bool):
                raise TypeError("'right' must be true or false")
            cases_read.append(Case(problem, str(record.get("form", "given")), str(record["text"]), record["right"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, row {row}: no case: {error!r}; give answer, text and right") from None
    return cases_read
