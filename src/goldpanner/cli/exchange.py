"""`import`, `export` and `store`: samples in, samples out, and the store that holds them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from goldpanner.cli.app import MEASURE, STORE, OptionGroup, cli_command, option, print_json, subcommands
from goldpanner.cli.options import AsJson, LogOptions, StoreOrNone, StoreSelection
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.store import Store


@cli_command("import", STORE)
def import_command(
    src: Annotated[Path, typer.Argument(help="File or folder that another tool wrote.")],
    store: StoreOrNone = None,
    counts: Path | None = option("File to write the counts to.", "FILE"),
    policy: str | None = option("Policy id to store, instead of the log's own.", "NAME"),
    *,
    log: LogOptions,
    as_json: AsJson = False,
) -> None:
    """Read another tool's log.

    The report says what was read, what was left out, and why. --store keeps the samples, --counts the counts.

    Example: goldpanner import samples_gsm8k.jsonl --counts base.jsonl
    """
    from goldpanner import interop
    from goldpanner.store.find import open_store

    imported = log.log().read(src)
    if store is not None:
        report = imported.into(open_store(store), policy=policy)
    else:
        table = imported.counts(pool_steps=log.pool_steps)
        report = imported.report
        if counts is not None:
            interop.write_counts(table, counts)
    if as_json:
        print_json("import", asdict(report))
    else:
        typer.echo("\n".join(report.lines()))
        what = "POLICY --store " + str(store) if store is not None else str(counts or src)
        typer.echo(f"next: goldpanner measure {what}")


@cli_command("cite", MEASURE)
def cite_command(
    what: Annotated[Path, typer.Argument(help="File with what --json printed, or the folder of a run.")],
) -> None:
    """Write a methods paragraph and BibTeX.

    The paragraph has the settings, the numbers and the versions of a result of measure, compare or plan, or of a run.

    Example: goldpanner cite comparison.json
    """
    from goldpanner.report.cite import cite

    typer.echo(str(cite(what)))


@dataclass(frozen=True)
class ChoiceOptions(OptionGroup):
    """Which problems of a problem set are written, by their measured P, and how often."""

    title = "Problem set for TRL or verl"

    low: float = option("Lowest measured P of a problem in the set.", "P", default=0.0)
    high: float = option("Highest measured P of a problem in the set.", "P", default=1.0)
    weight: Literal["uniform", "variance"] = option(
        "Weight of a problem: uniform, or variance, P(1 - P).", "NAME", default="uniform"
    )
    rows: int | None = option("Number of rows; problems are repeated by weight.", "N")


@cli_command("export", STORE)
def export_command(
    policy: Annotated[str, typer.Argument(help="Policy in the store: the name of a run, or an id.")],
    out: Annotated[Path, typer.Argument(help="File to write.")],
    target: Literal["counts", "inspect", "trl", "verl"] = option(
        "Kind of file: counts, inspect (a log), trl or verl (a problem set).", "KIND", "--for", default="counts"
    ),
    *,
    selection: StoreSelection,
    choice: ChoiceOptions,
) -> None:
    """Write counts, a log, or a problem set.

    The log is one of inspect_ai. A problem set is for TRL or verl; its problems are chosen by their measured P.

    Example: goldpanner export base train.parquet --store demo --for trl --low 0.02 --high 0.9
    """
    from goldpanner.exchange import export
    from goldpanner.store.find import open_store

    if selection.store is None:
        raise InputError("no store was given; name the folder that holds the policy with --store DIR")
    lines = export(
        open_store(selection.store), policy, out, target, tasks=selection.tasks, params=selection.params,
        verifier=selection.verdicts_of, **asdict(choice),
    )  # fmt: skip
    for line in lines:
        typer.echo(line, err=line.startswith("note: "))


stores = subcommands(
    "store", STORE, "Check, repair or compact a sample store.\n\nExample: goldpanner store check runs/world-seed0"
)

StoreArgument = Annotated[Path, typer.Argument(help="Folder of the store, or of a run.")]


@cli_command("check", STORE, stores)
def check_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Check every file of a store.

    Nothing is changed. The exit status is 1 if a file is damaged or lost.

    Example: goldpanner store check runs/world-seed0
    """
    report = show_report("store-check", store, lambda opened: opened.check(), as_json)
    if not report.ok:
        raise typer.Exit(1)


@cli_command("repair", STORE, stores)
def repair_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Set damaged files of a store aside.

    Files that are lost are taken out of the manifest, whole files that it lacks into it. What they held can be drawn
    again; goldpanner store restore undoes a repair.

    Example: goldpanner store repair runs/world-seed0
    """
    show_report("store-repair", store, lambda opened: opened.repair(), as_json)


@cli_command("restore", STORE, stores)
def restore_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Undo the latest repair of a store.

    Example: goldpanner store restore runs/world-seed0
    """
    show_report("store-restore", store, lambda opened: opened.restore(), as_json, "undone:\n")


@cli_command("merge", STORE, stores)
def merge_command(
    store: StoreArgument,
    other: Annotated[Path, typer.Argument(help="Store whose samples are copied.")],
    as_json: AsJson = False,
) -> None:
    """Copy another store's samples into a store.

    For samples that were drawn on two machines. A sample that both have counts once.

    Example: goldpanner store merge runs/here runs/there
    """
    from goldpanner.store.find import open_store

    show_report("store-merge", store, lambda opened: opened.merge(open_store(other)), as_json)


@cli_command("compact", STORE, stores)
def compact_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Merge the parts of a store into one.

    The new part is sorted and without duplicates.

    Example: goldpanner store compact runs/world-seed0
    """
    show_report("store-compact", store, lambda opened: opened.compact(), as_json)


def show_report(name: str, folder: Path, work: "Callable[[Store], Any]", as_json: bool, before: str = "") -> Any:
    """Do a work on a store, print its report and return it."""
    from goldpanner.store.find import open_store

    report = work(open_store(folder))
    if as_json:
        print_json(name, asdict(report))
    else:
        typer.echo(f"{before}{report}")
    return report
