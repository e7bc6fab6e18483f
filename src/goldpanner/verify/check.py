"""How often a verifier is wrong: right answers in many forms, and texts that try to be paid without one.

A false positive pays for a wrong answer, and RL finds it; a false negative hides what the model can do. Both rates are
of *this corpus*: cases of one form are alike, so read the forms that fail before the rate.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from goldpanner.errors import InputError
from goldpanner.types import Completion, Estimate, Outcome, Verdict
from goldpanner.verify.base import Verifier, judge_batch
from goldpanner.verify.cases import Case


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
    unread_because: tuple[tuple[str, int], ...] = ()
    """Why right cases were UNJUDGED and how often, the commonest reasons first."""
    quick: bool = False
    """Whether it is a rehearsal of some cases, not the whole check."""
    fault: str | None = None
    """Why nothing should be drawn or trained with this verifier; None where it can be used."""

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

    def silence(self) -> str | None:
        """Return why no case at all was judged, None where one was."""
        n = sum(tally.n for tally in self.tallies)
        if sum(tally.unjudged for tally in self.tallies) < n:
            return None
        (reason, times), *_ = self.unread_because
        return f"it judged none of {n:,} cases; {times:,} times because: {reason}"

    def record(self) -> dict[str, object]:
        """Return what the store keeps: counts for `measure` (VerifierErrors), rates with intervals, every form."""
        return {
            "verifier": self.verifier,
            "tasks": list(self.tasks),
            "errors": self.counts(),
            "false_positive": self.false_positive().to_json(),
            "false_negative": self.false_negative().to_json(),
            "unread": self.unread().to_json(),
            "forms": [asdict(tally) | {"errors": self.rate(tally).to_json()} for tally in self.tallies],
            "examples": list(self.examples),
            "quick": self.quick,
            "fault": self.fault,
        }

    def counts(self) -> dict[str, int]:
        """Return the counts of `VerifierErrors`: wrong cases and those paid, right cases judged and those failed."""
        right = [tally for tally in self.tallies if tally.right]
        wrong = [tally for tally in self.tallies if not tally.right]
        return {
            "false_positive": sum(t.correct for t in wrong),
            "wrong": sum(t.n for t in wrong),
            "false_negative": sum(t.wrong for t in right),
            "right": sum(t.n - t.unjudged for t in right),
        }

    def options(self) -> str:
        """Return the options of `measure` that carry a check's counts."""
        errors = self.counts()
        return (
            f"--false-positive {errors['false_positive']}/{errors['wrong']} "
            f"--false-negative {errors['false_negative']}/{errors['right']}"
        )

    def lines(self) -> list[str]:
        """Return a check in words: three rates with their intervals, then every form that failed with an example."""
        wrong = sum(tally.n for tally in self.tallies if not tally.right)
        right = sum(tally.n for tally in self.tallies if tally.right)
        rates = (
            ("false positives", self.false_positive(), f"of {wrong:,} texts without a right answer, judged CORRECT"),
            ("false negatives", self.false_negative(), f"of {right:,} right answers, judged WRONG"),
            ("unread", self.unread(), f"of {right:,} right answers, UNJUDGED"),
        )
        out = [f"{self.verifier} on {', '.join(self.tasks)}"]
        for name, rate, of in rates:
            shown = "   -" if rate.value != rate.value else f"{rate.value:6.2%}  [{rate.low:.2%}, {rate.high:.2%}]"
            out.append(f"  {name:<16}{shown}  {of}")
        examples = {example["form"]: example for example in self.examples}
        for tally in self.failing():
            rate = self.rate(tally)
            out.append(
                f"  {rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] of {rate.n} {tally.form!r}, e.g. "
                f"{examples[tally.form]['text'][:100]!r}"
            )
        unread = [f"{t.form!r} ({t.unjudged} of {t.n})" for t in self.tallies if t.right and t.unjudged]
        out += [f"  forms not read: {', '.join(unread)}"] if unread else []
        out += [f"  {times:,} of these: {reason}" for reason, times in self.unread_because]
        out += [f"  do not train with it: {self.fault}"] if self.fault else []
        return [*out, "  rates of this corpus: cases of one form are alike, so read the forms that fail first"]

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


def check_verifier(verifier: Verifier, cases: Iterable[Case], level: float = 0.95) -> Check:
    """Put every case to the verifier, in one call where it takes batches. Raises InputError if there is none."""
    listed = list(cases)
    verdicts = judge_batch(verifier, [(case.problem, Completion(case.text)) for case in listed])
    return tally_verdicts(verifier.id, listed, verdicts, level)


def tally_verdicts(verifier: str, cases: Sequence[Case], verdicts: Sequence[Verdict], level: float = 0.95) -> Check:
    """Return what verdicts on cases say of the verifier. Raises InputError if there is no case."""
    if not cases:
        raise InputError("verifier check: there is no case; give problems with answers")
    outcomes: dict[tuple[str, bool], list[int]] = {}
    examples: dict[tuple[str, bool], dict[str, str]] = {}
    for case, verdict in zip(cases, verdicts, strict=True):
        key = (case.form, case.right)
        tally = outcomes.setdefault(key, [0, 0, 0, 0])
        place = [Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED].index(verdict.outcome)
        tally[0] += 1
        tally[1 + place] += 1
        if verdict.outcome is (Outcome.WRONG if case.right else Outcome.CORRECT) and key not in examples:
            summary = f"{verdict.outcome.value}: {verdict.reason}".rstrip(": ")
            examples[key] = {"form": case.form, "answer": case.problem.answer, "text": case.text[:300], "said": summary}
    tallies = tuple(FormTally(*key, *tally) for key, tally in outcomes.items())
    tasks = tuple(sorted({case.problem.task for case in cases}))
    silent = [(case, verdict.reason) for case, verdict in zip(cases, verdicts) if verdict.outcome is Outcome.UNJUDGED]
    reasons = Counter(reason for case, reason in silent if case.right or len(silent) == len(cases))
    return Check(verifier, tasks, tallies, tuple(examples.values()), level, tuple(reasons.most_common(3)))
