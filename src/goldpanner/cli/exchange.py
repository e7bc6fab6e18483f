"""`import`, `export` and `store`: samples in, samples out, and the store that holds them."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from goldpanner.cli.app import STORE, CommandsByGroup, OptionGroup, app, cli_command, option
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
    typer.echo(json.dumps(asdict(report)) if as_json else "\n".join(report.lines()))


class Target(StrEnum):
    """What `export` writes for."""

    COUNTS = "counts"
    INSPECT = "inspect"
    TRL = "trl"
    VERL = "verl"


@dataclass(frozen=True)
class ChoiceOptions(OptionGroup):
    """Which problems of a problem set are written, by their measured P, and how often."""

    title = "Problem set for TRL or verl"

    low: float = option("Lowest measured P of a problem in the set.", "P", default=0.0)
    high: float = option("Highest measured P of a problem in the set.", "P", default=1.0)
    weight: str = option("Weight of a problem: uniform, or variance, P(1 - P).", "NAME", default="uniform")
    rows: int | None = option("Number of rows; problems are repeated by weight.", "N")


@cli_command("export", STORE)
def export_command(
    policy: Annotated[str, typer.Argument(help="Policy in the store: the name of a run, or an id.")],
    out: Annotated[Path, typer.Argument(help="File to write.")],
    target: Target = option(
        "Kind of file: counts, inspect (a log), trl or verl (a problem set).", "KIND", "--for", default=Target.COUNTS
    ),
    *,
    selection: StoreSelection,
    choice: ChoiceOptions,
) -> None:
    """Write counts, a log, or a problem set.

    The log is one of inspect_ai. A problem set is for TRL or verl; its problems are chosen by their measured P.

    Example: goldpanner export base train.parquet --store demo --for trl --low 0.02 --high 0.9
    """
    from goldpanner import interop
    from goldpanner.interop.selection import Weight
    from goldpanner.store.find import find_policy, open_store

    if selection.store is None:
        raise InputError("no store was given; name the folder that holds the policy with --store DIR")
    if target in (Target.COUNTS, Target.INSPECT) and choice.given():
        raise InputError(
            f"{', '.join(choice.given())}: a problem set is chosen by it, with --for trl or verl; {target.value} "
            "holds them all"
        )
    if target in (Target.TRL, Target.VERL) and out.suffix != ".parquet":
        raise InputError(
            f"--for {target.value} writes Parquet, not {out.name}; give {out.with_suffix('.parquet').name}"
        )
    store = open_store(selection.store)
    if target is Target.INSPECT:
        _export_log(store, policy, out, selection)
        return
    counts = store.counts(
        find_policy(store, policy), params=selection.params, tasks=selection.tasks, verifier=selection.verdicts_of
    )
    if target is Target.COUNTS:
        interop.write_counts(counts, out)
        typer.echo(f"{len(counts):,} problems: {out}")
        return
    if choice.weight not in get_args(Weight):
        raise InputError(f"--weight is {choice.weight!r}; give uniform or variance")
    problems = interop.select(
        store.problems(), counts, low=choice.low, high=choice.high, weight=cast("Weight", choice.weight),
        rows=choice.rows,
    )  # fmt: skip
    (interop.write_trl if target is Target.TRL else interop.write_verl)(problems, out)
    used = int((problems.copies > 0).sum())  # --rows may be fewer than the problems chosen
    typer.echo(f"{used:,} of {len(counts):,} problems, {int(problems.copies.sum()):,} rows: {out}")
    if target is Target.VERL:
        from goldpanner.train.verl import export_notes

        script = out.with_suffix(".sh")
        script.write_text(interop.verl_command(out), encoding="utf-8")
        typer.echo(f"the command line for verl, to be filled in: {script}")
        for note in export_notes({problem.task for problem in problems.problems}):
            typer.echo(f"note: {note}", err=True)


def _export_log(store: "Store", policy: str, out: Path, selection: StoreSelection) -> None:
    """Write an inspect_ai log of a policy's samples."""
    from goldpanner import interop
    from goldpanner.store.find import find_policy
    from goldpanner.store.schema import ParamsRecord

    if selection.verdicts_of:
        raise InputError(
            f"--verdicts-of {selection.verdicts_of}: an inspect log holds the verdicts of the sampling; leave it out"
        )
    samples = store.samples(policy=find_policy(store, policy), params=selection.params)
    tasks = selection.tasks
    samples = [sample for sample in samples if tasks is None or sample.task in tasks]
    record = store.get(ParamsRecord, selection.params or samples[0].params) if samples else None
    stated = None if record is None else record.stated
    interop.write_inspect(samples, store.problems(), out, model=policy, params=stated)
    typer.echo(f"{len(samples):,} samples: {out}")


stores = typer.Typer(
    cls=CommandsByGroup,
    help="Check, repair or compact a sample store.\n\nExample: goldpanner store check runs/world-seed0",
    no_args_is_help=True,
)
app.add_typer(stores, name="store", rich_help_panel=STORE)

StoreArgument = Annotated[Path, typer.Argument(help="Folder of the store, or of a run.")]


@cli_command("check", STORE, stores)
def check_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Check every file of a store.

    Nothing is changed. The exit status is 1 if a file is damaged or lost.

    Example: goldpanner store check runs/world-seed0
    """
    from goldpanner.store.find import open_store

    report = open_store(store).check()
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))
    if not report.ok:
        raise typer.Exit(1)


@cli_command("repair", STORE, stores)
def repair_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Set damaged files of a store aside.

    Files that are lost are taken out of the manifest, whole files that it lacks into it. What they held can be drawn
    again; goldpanner store restore undoes a repair.

    Example: goldpanner store repair runs/world-seed0
    """
    from goldpanner.store.find import open_store

    report = open_store(store).repair()
    typer.echo(json.dumps(asdict(report)) if as_json else str(report))


@cli_command("restore", STORE, stores)
def restore_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Undo the latest repair of a store.

    Example: goldpanner store restore runs/world-seed0
    """
    from goldpanner.store.find import open_store

    report = open_store(store).restore()
    typer.echo(json.dumps(asdict(report)) if as_json else f"undone:\n{report}")


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

    report = open_store(store).merge(open_store(other))
    typer.echo(json.dumps(asdict(report)) if as_json else str(report))


@cli_command("compact", STORE, stores)
def compact_command(store: StoreArgument, as_json: AsJson = False) -> None:
    """Merge the parts of a store into one.

    The new part is sorted and without duplicates.

    Example: goldpanner store compact runs/world-seed0
    """
    from goldpanner.store.find import open_store

    report = open_store(store).compact()
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))
