"""The rehearsal before a command draws anything: its result goes into the store, and a fault stops the command."""

from collections.abc import Sequence
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.progress import Event, Notify, silent
from goldpanner.store import Store
from goldpanner.store.schema import CheckRecord
from goldpanner.tasks.task import Task
from goldpanner.types import Problem
from goldpanner.verify import Verifier
from goldpanner.verify.cases import read_cases
from goldpanner.verify.check import Check, check_verifier
from goldpanner.verify.rehearsal import Rehearsed, rehearse

ASKED = "--no-rehearsal"
"""Why a rehearsal is skipped where a person wants none."""


def check_verifiers(
    task: Task,
    verifiers: Sequence[Verifier],
    problems: Sequence[Problem],
    *,
    cases: Path | None = None,
    store: Store | None = None,
    level: float = 0.95,
) -> list[Check]:
    """Measure how often verifiers pay for wrong answers and fail right ones.

    Args:
        task: the task.
        verifiers: what judges.
        problems: problems whose right and wrong answers are judged in many forms.
        cases: file of cases of your own, judged instead (`verify.cases.read_cases`).
        store: where the results are kept: `measure --checked` and `compare --checked` read them.
        level: coverage of the intervals of the rates.

    Returns:
        One check for each verifier.

    Raises:
        InputError: a verifier judges none of the cases, with the reason.
    """
    if cases is not None:
        corpus = read_cases(cases, task.id)
        checks = [check_verifier(each, corpus, level) for each in verifiers]
    else:
        checks = [rehearse(task, each, problems, level=level) for each in verifiers]
    for check in checks:
        if (silence := check.silence()) is not None:
            raise InputError(f"{check.verifier}: {silence}; mend it, then check it again")
    if store is not None:
        for check in checks:
            for name in check.tasks:
                store.put(CheckRecord.model_validate({"id": f"{name} {check.verifier}", **check.record()}))
    return checks


def rehearse_first(
    task: Rehearsed,
    verifier: Verifier,
    problems: Sequence[Problem],
    store: Store,
    *,
    skip: str | None = None,
    notify: Notify = silent,
) -> list[CheckRecord]:
    """Rehearse a verifier on a sample of the problems, unless the store has a check of it.

    Args:
        task: the task.
        verifier: what judges.
        problems: those that are to be drawn; at most some of them are rehearsed with.
        store: where earlier checks are kept: `measure --checked` and `compare --checked` read them.
        skip: why nothing is rehearsed, for the record: `--no-rehearsal`, or a reward that is a control.
        notify: told of verifiers that make errors.

    Returns:
        What the caller keeps in the store, once it may write there.

    Raises:
        InputError: the verifier does not tell right from wrong answers, with the reason and an example.
    """
    ids = [f"{task} {verifier.id}" for task in sorted({problem.task for problem in problems})]
    records = [store.get(CheckRecord, i) for i in ids]
    if skip is None and all(record and not record.skipped and not record.fault for record in records):
        return []
    if skip is not None:
        nothing = Check(verifier.id, tuple(sorted({problem.task for problem in problems})), (), ())
        missing = [i for i, record in zip(ids, records) if record is None]
        return [CheckRecord.model_validate({"id": i, **nothing.record(), "skipped": skip}) for i in missing]
    check = rehearse(task, verifier, problems, quick=True)
    if check.fault is not None:
        raise InputError(
            f"rehearsal of {verifier.id}: {check.fault}. Nothing was drawn or trained; mend the verifier (goldpanner "
            f"verify-check shows more), or go on with {ASKED}"
        )
    if check.false_positive().value > 0:
        worst = next(tally for tally in check.failing() if not tally.right)
        text = (
            f"rehearsal: {verifier.id} pays {check.false_positive():.1%} of wrong answers, most often {worst.form!r}: "
            "goldpanner verify-check shows which"
        )
        notify(Event(problems[0].task, "rehearse", message=text))
    return [CheckRecord.model_validate({"id": i, **check.record()}) for i in ids]
