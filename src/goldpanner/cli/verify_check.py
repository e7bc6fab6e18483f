"""`verify-check`: how often a verifier pays for a wrong answer, and how often it fails a right one."""

from pathlib import Path
from typing import Annotated

import typer

from goldpanner.cli.app import MEASURE, cli_command, option, print_json
from goldpanner.cli.options import AsJson, Level, Problems, SettingsOptions, StoreOrNone, TaskOptions
from goldpanner.errors import InputError

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
    from goldpanner.sampling.rehearsal import check_verifiers
    from goldpanner.store.find import open_store
    from goldpanner.verify.named import find_verifier

    alone = find_verifier(what, task_options.threshold)
    if alone is None:
        task = task_options.load(what, settings.facts())
    elif task_options.verifier is None:
        task = TaskOptions().load(PLAIN)
    else:
        raise InputError(
            f"{what} is a verifier already; leave out --verifier {task_options.verifier}, or name a task first"
        )
    questions = [] if cases is not None else task.problems(problems, settings.seed or 0)
    judges, place = task.verifiers() if alone is None else (alone,), open_store(store) if store else None
    results = check_verifiers(task, judges, questions, cases=cases, store=place, level=level)
    if as_json:
        records = [{**each.record(), "unread_because": dict(each.unread_because)} for each in results]
        print_json("verify-check", {"checks": records})
        return
    for each in results:
        typer.echo("\n".join(each.lines()))
    if store is not None:
        typer.echo(f"kept in {store}; next: goldpanner measure POLICY --store {store} {results[0].options()}")
