"""`judge`: a second verifier on the completions of a store, and where it disagrees with the first."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goldpanner.cli.app import SAMPLE, cli_command
from goldpanner.cli.options import THRESHOLD, VERIFIER, AsJson, Tasks, stored_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from goldpanner.sampling.second_judge import Disagreement, SecondJudgement

END = 240
"""Characters of a completion's end that are shown."""


@cli_command("judge", SAMPLE)
def judge_command(
    store: Annotated[Path, typer.Argument(help="Folder of a sample store, or of a run.")],
    verifier: Annotated[str, VERIFIER],
    policy: Annotated[str | None, typer.Argument(help="Policy whose completions are judged; all unless given.")] = None,
    task: Tasks = None,
    threshold: Annotated[float | None, THRESHOLD] = None,
    show: Annotated[int, typer.Option(metavar="N", help="Number of disagreements to print.", min=0)] = 10,
    as_json: AsJson = False,
) -> None:
    """Judge stored completions a second time.

    The verdicts of another verifier are stored beside the first ones. Disagreements are printed with their texts.

    Example: goldpanner judge demo --verifier math
    """
    from goldpanner.cli import display
    from goldpanner.sampling.second_judge import judge_again
    from goldpanner.store.find import find_policy, open_store
    from goldpanner.verify.named import named_verifier

    place, second = open_store(store), named_verifier(verifier, threshold)
    chosen = None if policy is None else find_policy(place, policy)
    with display.Bars(quiet=as_json) as bars:
        result = judge_again(place, second, policy=chosen, tasks=stored_tasks(task) or (), notify=bars.update)
    if as_json:
        typer.echo(json.dumps(result.to_json()))
        return
    typer.echo("\n".join(_lines(result, show)))
    typer.echo(f"next: goldpanner measure POLICY --store {store} --verdicts-of '{second.id}'")


def _lines(result: "SecondJudgement", show: int) -> "Iterator[str]":
    """Yield the table of both verdicts, then the first disagreements with their texts."""
    n, apart = sum(sum(row.values()) for row in result.table.values()), len(result.disagreements)
    yield f"{n:,} completions, {apart:,} judged differently ({result.new:,} verdicts are new)"
    yield f"A = {', '.join(result.first)}"
    yield f"B = {result.second}"
    yield "A \\ B".ljust(12) + "".join(f"{outcome:>12}" for outcome in result.table)
    for first, row in result.table.items():
        yield f"{first:<12}" + "".join(f"{times:>12,}" for times in row.values())
    for each in result.disagreements[:show]:
        yield ""
        yield from _one(each)
    if apart > show:
        yield f"... and {apart - show:,} more: --show {apart}, or --json"


def _one(each: "Disagreement") -> "Iterator[str]":
    text = each.sample.completion.text
    yield f"problem {each.problem.id}: {each.problem.prompt[:END]!r}"
    yield f"  right answer: {each.problem.answer[-END:]!r}"
    yield f"  completion:   {'... ' if len(text) > END else ''}{text[-END:]!r}"
    for name, verdict in (("A", each.sample.verdict), ("B", each.second)):
        reason = f": {verdict.reason}" if verdict.reason else ""
        yield f"  {name} {verdict.outcome:<9} {verdict.extracted!r}{reason}"
