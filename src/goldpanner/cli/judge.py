"""`judge`: a second verifier on the completions of a store, and where it disagrees with the first."""

from pathlib import Path
from typing import Annotated

import typer

from goldpanner.cli.app import SAMPLE, cli_command, option, print_json
from goldpanner.cli.options import THRESHOLD, VERIFIER, AsJson, Tasks, stored_tasks


@cli_command("judge", SAMPLE)
def judge_command(
    store: Annotated[Path, typer.Argument(help="Folder of a sample store, or of a run.")],
    verifier: Annotated[str, VERIFIER],
    policy: Annotated[str | None, typer.Argument(help="Policy whose completions are judged; all unless given.")] = None,
    task: Tasks = None,
    threshold: Annotated[float | None, THRESHOLD] = None,
    show: int = option("Number of disagreements to print.", "N", default=10, low=0),
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
        print_json("judge", result.to_json())
        return
    typer.echo("\n".join(result.lines(show)))
    typer.echo(f"next: goldpanner measure POLICY --store {store} --verdicts-of '{second.id}'")
