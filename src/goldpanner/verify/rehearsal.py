"""The rehearsal of a verifier: answers of which it is known whether they are right, before anything is drawn.

What is put to it: the right answers, other spellings of them by their types (must not be WRONG), near misses in the
same spellings and texts that try to be paid (must not be CORRECT), nothing, and wrong answers. They go to the verifier
as a trainer calls it: many completions at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from goldpanner.types import Cause, Completion, Problem, Verdict
from goldpanner.verify.base import Answering, Verifier, judge_batch
from goldpanner.verify.cases import Case, cases
from goldpanner.verify.check import Check, tally_verdicts
from goldpanner.verify.code import Code
from goldpanner.verify.exact import Exact
from goldpanner.verify.references import right_answer
from goldpanner.verify.reward import NOT_APPLICABLE, Reward
from goldpanner.verify.rewritings import rehearsal_pairs

Item = TypeVar("Item")
PROBLEMS = 12
"""Problems of a quick rehearsal."""
QUICK = {Code: 12, Reward: 96}
"""Judgements of a quick rehearsal, of verifiers that take long or may cost money."""
QUICK_OTHERS = 240
"""Judgements of a quick rehearsal, of any other verifier."""
NEAR_MISSES = 40
"""Near misses of a problem at most, spread over their spellings."""


NOISE = 0.25
"""How much more often wrong answers may be CORRECT than right ones, of a reward that hangs on something else."""


class Rehearsed(Protocol):
    """What a rehearsal needs of a task."""

    @property
    def worked(self) -> Callable[[Problem], str] | None:
        """Gives a right completion of a problem, where completions are judged as a whole."""
        ...


def rehearse(
    task: Rehearsed, verifier: Verifier, problems: Sequence[Problem], *, quick: bool = False, level: float = 0.95
) -> Check:
    """Put answers of which it is known whether they are right to a verifier, as a trainer would.

        task = gp.task("gsm8k/test", data="gsm8k_test.jsonl")
        check = gp.rehearse(task, task.verifiers()[0], task.problems(60))
        print(check.false_positive(), check.fault)

        >>> import goldpanner as gp
        >>> task = gp.task("arithmetic/add-2d2d")
        >>> gp.rehearse(task, task.verifiers()[0], task.problems(8)).false_positive().value
        0.0

    Args:
        task: the task; its worked answers are used where it has any.
        verifier: what is rehearsed.
        problems: problems of the task.
        quick: take a sample of the problems and of the cases, by number: the same ones each time.
        level: coverage of the intervals.

    Returns:
        The rates of its errors with intervals, and its `fault`: why nothing should be drawn or trained with it.

    Raises:
        InputError: there is no problem.
    """
    few = spread(problems, PROBLEMS) if quick else list(problems)
    listed = list(_cases(task, verifier, few))
    if quick:
        listed = choose(listed, next((n for kind, n in QUICK.items() if isinstance(verifier, kind)), QUICK_OTHERS))
    try:
        verdicts = judge_batch(verifier, [(case.problem, Completion(case.text)) for case in listed])
    except (Exception, SystemExit) as error:  # whatever a verifier of the user's raises
        why = f"it failed on {len(listed):,} completions at once: {type(error).__name__}: {error}"
        return Check(verifier.id, tuple(sorted({p.task for p in few})), (), (), level, quick=quick, fault=why[:400])
    check = tally_verdicts(verifier.id, listed, verdicts, level)
    fault = _broken_tests(verifier, few[:4]) or _broken_rewards(verifier, listed, verdicts) or _fault(check)
    return replace(check, quick=quick, fault=fault)


def _cases(task: Rehearsed, verifier: Verifier, problems: Sequence[Problem]) -> Iterator[Case]:
    """Yield all cases of the problems; of a verifier that reads typed answers those by type, too."""
    if task.worked is not None or "tests" in problems[0].meta:
        if task.worked is not None:
            yield from cases(problems, task.worked)
        else:
            yield from (Case(problem, "nothing", "", False) for problem in problems)
        return
    yield from cases(problems, invent=True)
    if not isinstance(verifier, Answering) or isinstance(verifier, Exact):
        return  # texts are compared as texts: another spelling is another answer
    finals = [final.text for problem in problems if (final := right_answer(problem.answer)) is not None]
    for i, problem in enumerate(problems):
        pairs = list(rehearsal_pairs(problem.answer, [*finals[i + 1 :], *finals[:i]]))
        rewritings = [pair for pair in pairs if pair[2]]
        for name, text, right in (*rewritings, *spread([pair for pair in pairs if not pair[2]], NEAR_MISSES)):
            if (stated := verifier.stated(text)) is not None:
                yield Case(problem, name.partition(",")[0] if not right else name, stated, right)


def _broken_tests(verifier: Verifier, problems: Iterable[Problem]) -> str | None:
    """Return what is wrong with the tests of the first program problem that has broken ones, None if none has."""
    if not isinstance(verifier, Code):
        return None
    for problem in problems:
        if (why := verifier.fault(problem)) is not None:
            return f"the tests of problem {problem.id} ({problem.prompt.strip()[:60]!r}) judge nothing: {why}"
    return None


def _broken_rewards(verifier: Verifier, listed: Sequence[Case], verdicts: Sequence[Verdict]) -> str | None:
    """Return what of a reward function's rewards are none, None where each is a number, or does not apply."""
    if not isinstance(verifier, Reward):
        return None
    for case, verdict in zip(listed, verdicts):
        if verdict.cause is Cause.OURS and verdict.reason != NOT_APPLICABLE:
            return (
                f"{verdict.reason}; on the completion {case.text[-100:]!r} to the answer {case.problem.answer[-60:]!r}"
            )
    return None


def _fault(check: Check) -> str | None:
    """Return why a verifier says nothing of right and wrong, None where it pays right answers above wrong ones."""
    if any(tally.right for tally in check.tallies) and (silence := check.silence()) is not None:
        return silence
    right, wrong = (
        [tally for tally in check.tallies if tally.right is side and tally.n > tally.unjudged] for side in (True, False)
    )
    if not right or not wrong:
        return None
    paid_right, paid_wrong = (sum(t.correct for t in side) / sum(t.n for t in side) for side in (right, wrong))
    if paid_right > paid_wrong or (paid_right > 0 and paid_wrong < min(paid_right + NOISE, 1)):
        return None
    return (
        f"it finds {paid_right:.0%} of {sum(t.n for t in right)} right answers CORRECT and {paid_wrong:.0%} of "
        f"{sum(t.n for t in wrong)} wrong ones: it does not tell them apart in any of the usual forms"
    )


def spread(items: Sequence[Item], n: int) -> list[Item]:
    """Return n of the items at most, evenly spread over them."""
    return [items[i * len(items) // n] for i in range(n)] if len(items) > n else list(items)


def choose(listed: Sequence[Case], most: int) -> list[Case]:
    """Return so many cases at most, right and wrong ones in turn, of each form one before any form's second.

    Of which problem a form's first one is changes from form to form.
    """
    problems = len({case.problem.id for case in listed})
    forms: dict[tuple[str, bool], list[int]] = {}
    for at, case in enumerate(listed):
        forms.setdefault((case.form, case.right), []).append(at)
    order: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
    for number, ((_, right), places) in enumerate(forms.items()):
        order[right] += [((i + number) % problems, number, at) for i, at in enumerate(places)]
    rights = min(len(order[True]), max(most // 2, most - len(order[False])))
    picks = [*sorted(order[True])[:rights], *sorted(order[False])[: most - rights]]
    return [listed[at] for at in sorted(at for *_, at in picks)]
