"""Options that several commands share: which samples are meant, and how another tool's log is read."""

from pathlib import Path
from typing import Annotated

import typer

from goldpanner.errors import MissingExtraError

StoreOrNone = Annotated[Path | None, typer.Option("--store", help="Store (or run folder) that holds the policies.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder of the sample store, or of a run.")]
Task = Annotated[list[str] | None, typer.Option(help="Only these tasks of the store.")]
Verifier = Annotated[str | None, typer.Option(help="Whose verdicts to count, e.g. world-process@1.")]
Judge = Annotated[
    str | None,
    typer.Option(
        "--verifier",
        help="Who judges, in place of the task's own: number, math, exact (also number:flexible, "
        "math:wrong-if-missing), file.py:function. Of a data file by default number:wrong-if-missing if all answers "
        "are numbers, else exact.",
    ),
]
Columns = Annotated[
    str | None, typer.Option(help="Columns of a data file: question=NAME,answer=NAME, where they differ.")
]
Params = Annotated[str | None, typer.Option(help="Hash of the sampling parameters, where there are several.")]

Format = Annotated[str | None, typer.Option("--format", help="Format of a log, where it is not found by itself.")]
Threshold = Annotated[float | None, typer.Option(help="A reward from here up is correct (rewards that are not 0/1).")]
Score = Annotated[str | None, typer.Option(help="Metric, scorer or reward column of a log that decides.")]
Filter = Annotated[str | None, typer.Option("--filter", help="lm-evaluation-harness's filter.")]
Step = Annotated[int | None, typer.Option(help="Only this training step of a log.")]
PoolSteps = Annotated[bool, typer.Option(help="Count all training steps of a log together.")]
Rescore = Annotated[
    str | None,
    typer.Option(
        help="Judge a log's completions anew: exact, number, math (also math:flexible, math:wrong-if-missing), "
        "file.py:function."
    ),
]
TornTail = Annotated[bool, typer.Option(help="Leave out a last line that was cut.")]

Level = Annotated[float, typer.Option(help="Coverage of every interval and band.")]
Ks = Annotated[str, typer.Option("--k", help="Further k, separated by commas, beyond n too: 1,100,10000.")]
Page = Annotated[Path | None, typer.Option("--html", help="Write the result as a page, too.")]
Speak = Annotated[
    bool,
    typer.Option("--speak-of-support", help="Go on although truncated or tempered sampling makes zeros of its own."),
]

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]

Seed = Annotated[
    int | None, typer.Option(help="Sets every seed not set by itself: world, model, trainers, measurement.")
]

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. grpo.steps=20.")
]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for a program to read.")]


def need_lab() -> None:
    """Raise MissingExtraError when torch or transformers is not installed."""
    from importlib.util import find_spec

    if not (find_spec("torch") and find_spec("transformers")):
        raise MissingExtraError("the lab (training and sampling local models)", "lab")
