"""`verify-check`: how often a verifier pays for a wrong answer, and how often it fails a right one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goldpanner.cli.app import MEASURE, cli_command, option
from goldpanner.cli.options import AsJson, Level, Problems, SettingsOptions, StoreOrNone, TaskOptions
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.verify import Verifier

PLAIN = "arithmetic/add-3d3d"
"""Task on whose problems a verifier is checked that is named by itself."""


@cli_command("verify-check", MEASURE)
def verify_check_command(
    what: Annotated[
        str, typer.Argument(help="Task or verifier: number, math, exact, file.py:function (docs/verifiers.md).")
    ],
    task_options: TaskOptions,
    cases: Path | None = option("Your own cases: JSONL with answer, text, right; form is optional.", "FILE"),
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
        typer.echo("\n".join(each.lines()))
    if store is not None:
        typer.echo(f"kept in {store}; next: goldpanner measure POLICY --store {store} {results[0].options()}")
