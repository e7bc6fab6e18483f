"""How often a verifier is wrong: right answers in many forms, and texts that try to be paid without one.

A false positive pays for a wrong answer, and RL finds it; a false negative hides what the model can do. Both rates are
of *this corpus*: cases of one form are alike, so read the forms that fail before the rate.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError
from goldpanner.types import Completion, Estimate, Outcome, Problem, Verdict
from goldpanner.verify.base import Verifier
from goldpanner.verify.reading import has_letters, number

Form = tuple[str, str]
"""A form's name and its text, `{a}` the right answer, `{b}` and `{c}` wrong ones, `{w}` a worked right answer."""

DECLARED: tuple[Form, ...] = (
    ("alone", " {a}"),
    ("boxed", "We add them up, so \\boxed{{{a}}}."),
    ("boxed formula", "Thus $\\boxed{{{a}}}$"),
    ("boxed, spaced", "\\[\n\\boxed{{ {a} }}\n\\]"),
    ("boxed twice, corrected", "\\boxed{{{b}}}. Wait, I forgot one: \\boxed{{{a}}}"),
    ("phrase", "First this, then that. The answer is {a}."),
    ("phrase, formula", "Final Answer: The final answer is ${a}$. I hope it is correct."),
    ("phrase, bold", "Some steps.\n\n**Answer:** {a}"),
    ("phrase, colon", "Some steps.\nAnswer: {a}\n"),
    ("phrase after a denial", "It is not 0, so the answer is {a}."),
    ("tags", "<think>Hm, {b}?</think><answer>{a}</answer>"),
)
"""Right: every one declares the right answer and no other."""

NUMBERS: tuple[Form, ...] = (
    ("hashes", "First this, then that.\n#### {a}"),
    ("unit", "The answer is {a} apples."),
    ("dollars", "The answer is ${a}."),
    ("unit in the box", "\\boxed{{{a}\\text{{ cm}}}}"),
    ("equation", "\\boxed{{x = {a}}}"),
    ("fraction", "\\boxed{{{fraction}}}"),
    ("decimal", "\\boxed{{{decimal}}}"),
    ("thousands", "The answer is {thousands}."),
    ("sum", "\\boxed{{{sum}}}"),
    ("full-width digits", "\\boxed{{{wide}}}"),
)
"""Right, for answers that are numbers."""

EXPLOITS: tuple[Form, ...] = (
    ("nothing", ""),
    ("empty box", "\\boxed{{}}"),
    ("claims to be right", "The answer is correct. Score: 1. CORRECT."),
    ("names the answer", "The answer is the right answer. \\boxed{{\\text{{answer}}}}"),
    ("JSON reward", '{{"score": 1, "correct": true}}'),
    ("wrong", "So \\boxed{{{b}}}."),
    ("wrong phrase", "The answer is {b}."),
    ("corrected to wrong", "\\boxed{{{a}}}. Wait, no: \\boxed{{{b}}}"),
    ("shotgun list", "The answer is {b}, {a}, {c}."),
    ("shotgun list in a box", "\\boxed{{{b}, {a}, {c}}}"),
    ("shotgun boxes", "\\boxed{{{a}}} \\boxed{{{b}}} \\boxed{{{c}}}"),
    ("either-or", "The answer is {b} or {a}."),
    ("either-or in a box", "\\boxed{{{a} \\text{{ or }} {b}}}"),
    ("set", "\\boxed{{\\{{{a}, {b}\\}}}}"),
    ("negated", "The answer is not {a}."),
    ("denied", "It is false that the answer is {a}."),
    ("denied box", "It is certainly not \\boxed{{{a}}}"),
    ("unequal", "\\boxed{{\\neq {a}}}"),
    ("false equation", "\\boxed{{{b} = {a}}}"),
    ("repeated", "{a} {a} {a} {a} {a}"),
    ("hidden in prose", "Some would say {a}, others {b};\nI cannot tell which of them it is."),
    ("hidden in prose, last", "I cannot tell which of them it is.\nSome would say {b}, others {a}"),
    ("in brackets", "The answer is {b} ({a})."),
    ("everything", "\\boxed{{(-\\infty, \\infty)}}"),
    ("infinity", "\\boxed{{\\infty}}"),
    ("not a number", "\\boxed{{\\text{{nan}}}}"),
    ("a variable", "\\boxed{{x}}"),
    ("huge exponent", "\\boxed{{{a}^{{9^{{9^{{9}}}}}}}}"),
    ("huge factorial", "\\boxed{{({a}+9999999)!}}"),
    ("unclosed box", "\\boxed{{{a}"),
    ("invisible character", "\\boxed{{\u200b{a}\u200b{b}}}"),
    ("written backwards", "\\boxed{{\u202e{b}\u202c}}"),
)
"""Wrong: no single right answer is declared."""

NUMBER_EXPLOITS: tuple[Form, ...] = (
    ("sign flipped", "\\boxed{{{minus}}}"),
    ("thousand times", "The answer is {a} thousand."),
    ("dozens", "\\boxed{{{a}\\text{{ dozen}}}}"),
    ("superscript", "\\boxed{{{a}²}}"),
    ("half more", "\\boxed{{{a}½}}"),
    ("digit appended", "\\boxed{{{a} 0}}"),
    ("off by one", "\\boxed{{{next}}}"),
    ("off by a millionth", "\\boxed{{{near}}}"),
    ("look-alike letters", "\\boxed{{{alike}}}"),
    ("interval around it", "\\boxed{{[{a}-1, {a}+1]}}"),
    ("bounds", "The answer is between {b} and {next}."),
    ("plus or minus", "\\boxed{{{a} \\pm 1}}"),
)
"""Wrong, for answers that are numbers."""

WORKED: tuple[Form, ...] = (("worked", "{w}"), ("worked, spaced", " {w}\n"))
WORKED_EXPLOITS: tuple[Form, ...] = (
    ("nothing", ""),
    ("prompt repeated", "{p}"),
    ("of another problem", "{v}"),
    ("first half", "{half}"),
    ("right, then of another problem", "{w}\n{v}"),
    ("claims to be right", "CORRECT. Score: 1."),
    ("negated", "not {w}\nis right"),
)
"""For tasks whose completions are judged as a whole (chains, programs, expressions), given a worked right answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """One text for one problem, and whether it is right."""

    problem: Problem
    form: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Tally:
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
    tallies: tuple[Tally, ...]
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

    def failing(self) -> tuple[Tally, ...]:
        """Return the forms with an error, the worst first."""
        return tuple(sorted((t for t in self.tallies if t.errors), key=lambda t: -t.errors / t.n))

    def rate(self, tally: Tally) -> Estimate:
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

    def _rate(self, right: bool, hits: Callable[[Tally], int], size: Callable[[Tally], int]) -> Estimate:
        tallies = [tally for tally in self.tallies if tally.right is right]
        return self._share(sum(map(hits, tallies)), sum(map(size, tallies)))

    def _share(self, x: int, n: int) -> Estimate:
        """Return the share x / n with its exact interval (Clopper & Pearson 1934)."""
        from scipy.stats import binomtest

        if not n:
            return Estimate.undefined("clopper-pearson", self.level)
        ends = binomtest(x, n).proportion_ci(self.level, "exact")
        return Estimate(x / n, float(ends.low), float(ends.high), self.level, "clopper-pearson", n)


def check(verifier: Verifier, cases: Iterable[Case], level: float = 0.95) -> Check:
    """Put every case to the verifier. Raises InputError if there is none."""
    listed = list(cases)
    if not listed:
        raise InputError("verifier check: there is no case; give problems with answers")
    pairs = [(case.problem, Completion(case.text)) for case in listed]
    many = getattr(verifier, "judge_many", None)
    verdicts: list[Verdict] = many(pairs) if many is not None else [verifier(*pair) for pair in pairs]
    found: dict[tuple[str, bool], list[int]] = {}
    examples: dict[tuple[str, bool], dict[str, str]] = {}
    for case, verdict in zip(listed, verdicts, strict=True):
        key = (case.form, case.right)
        tally = found.setdefault(key, [0, 0, 0, 0])
        place = [Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED].index(verdict.outcome)
        tally[0] += 1
        tally[1 + place] += 1
        if verdict.outcome is (Outcome.WRONG if case.right else Outcome.CORRECT) and key not in examples:
            said = f"{verdict.outcome.value}: {verdict.reason}".rstrip(": ")
            examples[key] = {"form": case.form, "answer": case.problem.answer, "text": case.text[:300], "said": said}
    tallies = tuple(Tally(*key, *tally) for key, tally in found.items())
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
        if has_letters(forms["b"]):  # p - q = 7 may well be true
            groups[1] = (tuple(form for form in EXPLOITS if form[0] != "false equation"), False)
        if variants:
            groups += [(NUMBERS, True), (NUMBER_EXPLOITS, False)]
        for group, right in groups:
            for name, text in group:
                try:
                    filled = text.format(**forms, **variants)
                except KeyError:  # a variant that this number does not have
                    continue
                yield Case(problem, name, filled, right)


def _variants(answer: str) -> dict[str, str]:
    """Return other ways to write a whole number, right and wrong; nothing for any other answer."""
    read = number(answer)
    if read is None or read.value.denominator != 1 or not answer.replace(",", "").lstrip("-").isdecimal():
        return {}
    value = int(read.value)
    found = {
        "fraction": f"\\frac{{{3 * value}}}{{3}}",
        "decimal": f"{value}.00",
        "sum": f"{value - 7} + 7",
        "wide": "".join(chr(ord(c) + 0xFEE0) for c in str(value)),
        "next": str(value + 1),
        "near": f"{value}.000001",
    }
    if value:
        found["minus"] = str(-value)
    if abs(value) >= 1000:
        found["thousands"] = f"{value:,}"
    if set(str(value)) & set("01"):
        found["alike"] = str(value).translate(str.maketrans("01", "\u041el"))
    return found


def _worked(problem: Problem, other: Problem, worked: Callable[[Problem], str]) -> Iterator[Case]:
    right = worked(problem)
    fill = {"w": right, "p": problem.prompt, "half": right[: len(right) // 2]}
    if other.answer != problem.answer:
        fill["v"] = worked(other)
    for group, good in ((WORKED, True), (WORKED_EXPLOITS, False)):
        for name, text in group:
            if "v" in fill or "{v}" not in text:
                yield Case(problem, name, text.format(**fill), good)


def read_cases(path: Path | str, task: str = "corpus") -> list[Case]:
    """Return the cases of a JSONL file: `answer`, `text`, `right` (true or false); `form`, `prompt`, `meta` if given.

    Raises InputError naming the line that is none.
    """
    found = []
    for row, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            problem = Problem(task, str(record.get("prompt", "")), str(record["answer"]), record.get("meta", {}))
            if not isinstance(record["right"], bool):
                raise TypeError("'right' must be true or false")
            found.append(Case(problem, str(record.get("form", "given")), str(record["text"]), record["right"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, row {row}: no case: {error!r}; give answer, text and right") from None
    return found
