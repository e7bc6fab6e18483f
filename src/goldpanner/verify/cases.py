"""What a verifier is checked with: right answers in many forms, and texts that try to be paid without one."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.types import Problem
from goldpanner.verify.answers import Value
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

INVENTED = ("7919", "1009", "104729")
"""Answers that are wrong where a task has too few different ones."""


@dataclass(frozen=True, slots=True)
class Case:
    """One text for one problem, and whether it is right."""

    problem: Problem
    form: str
    text: str
    right: bool


def cases(
    problems: Sequence[Problem], worked: Callable[[Problem], str] | None = None, *, invent: bool = False
) -> Iterator[Case]:
    """Yield the corpus for problems: of declared answers, or, given worked right answers, of whole texts.

    Wrong answers are those of other problems. Raises InputError with fewer than three different answers, unless it may
    invent wrong ones.
    """
    answers = list(dict.fromkeys(problem.answer.strip() for problem in problems))
    if invent:
        answers += [other for other in INVENTED if other not in answers][: max(3 - len(answers), 0)]
    if len(answers) < 3 and worked is None:
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
