"""`verify-check`: how often a verifier pays for a wrong answer, and how often it fails a right one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goldpanner.cli.app import MEASURE, cli_command
from goldpanner.cli.options import AsJson, Level, Problems, SettingsOptions, StoreOrNone, TaskOptions
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.verify import Verifier
    from goldpanner.verify.check import Check

PLAIN = "arithmetic/add-3d3d"
"""Task on whose problems a verifier is checked that is named by itself."""


@cli_command("verify-check", MEASURE)
def verify_check_command(
    what: Annotated[
        str, typer.Argument(help="A task, or a verifier: number, math, exact (also number:flexible), file.py:function.")
    ],
    task_options: TaskOptions,
    cases: Annotated[
        Path | None, typer.Option(help="File of your own cases: JSONL with answer, text, right, and maybe form.")
    ] = None,
    store: StoreOrNone = None,
    problems: Problems = 60,
    *,
    settings: SettingsOptions,
    level: Level = 0.95,
    as_json: AsJson = False,
) -> None:
    """Measure the errors of a verifier.

    It judges right answers in many forms, and texts that try to be paid without a right answer.

    Example: goldpanner verify-check arithmetic/add-2d2d --store demo
    """
    from goldpanner.store.find import open_store
    from goldpanner.store.schema import CheckRecord
    from goldpanner.verify.cases import read_cases
    from goldpanner.verify.check import check_verifier
    from goldpanner.verify.named import find_verifier
    from goldpanner.verify.rehearsal import rehearse

    alone = find_verifier(what, task_options.threshold)
    if alone is None:
        task = task_options.load(what, settings.facts())
    elif task_options.verifier is None:
        task = TaskOptions().load(PLAIN)
    else:
        raise InputError(
            f"{what} is a verifier already; leave out --verifier {task_options.verifier}, or name a task first"
        )
    judges: Sequence[Verifier] = task.verifiers() if alone is None else (alone,)
    if cases is not None:
        corpus = read_cases(cases, task.id)
        results = [check_verifier(each, corpus, level) for each in judges]
    else:
        questions = task.problems(problems, settings.seed or 0)
        results = [rehearse(task, each, questions, level=level) for each in judges]
    for each in results:
        if (silence := each.silence()) is not None:
            raise InputError(f"{each.verifier}: {silence}; mend it, then check it again")
    if store is not None:
        place = open_store(store)
        for each in results:
            for name in each.tasks:
                place.put(CheckRecord.model_validate({"id": f"{name} {each.verifier}", **each.record()}))
    if as_json:
        records = [{**each.record(), "unread_because": dict(each.unread_because)} for each in results]
        typer.echo(json.dumps({"checks": records}, allow_nan=False))
        return
    for each in results:
        typer.echo("\n".join(lines(each)))
    if store is not None:
        typer.echo(f"kept in {store}; next: goldpanner measure POLICY --store {store} {options(results[0])}")


def options(audit: "Check") -> str:
    """Return the options of `measure` that carry a check's counts."""
    errors = audit.counts()
    return (
        f"--false-positive {errors['false_positive']}/{errors['wrong']} "
        f"--false-negative {errors['false_negative']}/{errors['right']}"
    )


def lines(audit: "Check") -> list[str]:
    """Return a check in words: three rates with their intervals, then every form that failed with an example."""
    wrong = sum(tally.n for tally in audit.tallies if not tally.right)
    right = sum(tally.n for tally in audit.tallies if tally.right)
    rates = (
        (
            "false positives",
            audit.false_positive(),
            f"of {wrong:,} texts without a right answer, judged CORRECT",
        ),
        ("false negatives", audit.false_negative(), f"of {right:,} right answers, judged WRONG"),
        ("unread", audit.unread(), f"of {right:,} right answers, UNJUDGED"),
    )
    out = [f"{audit.verifier} on {', '.join(audit.tasks)}"]
    for name, rate, of in rates:
        shown = "   -" if rate.value != rate.value else f"{rate.value:6.2%}  [{rate.low:.2%}, {rate.high:.2%}]"
        out.append(f"  {name:<16}{shown}  {of}")
    examples = {example["form"]: example for example in audit.examples}
    for tally in audit.failing():
        rate = audit.rate(tally)
        out.append(
            f"  {rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] of {rate.n} {tally.form!r}, e.g. "
            f"{examples[tally.form]['text'][:100]!r}"
        )
    unread = [f"{t.form!r} ({t.unjudged} of {t.n})" for t in audit.tallies if t.right and t.unjudged]
    out += [f"  forms not read: {', '.join(unread)}"] if unread else []
    out += [f"  {times:,} of these: {reason}" for reason, times in audit.unread_because]
    out += [f"  do not train with it: {audit.fault}"] if audit.fault else []
    return [*out, "  rates of this corpus: cases of one form are alike, so read the forms that fail first"]
