"""`import`, `export`, `store` and `report`: samples in, samples out, and what is kept of them."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import (
    AsJson,
    Filter,
    Format,
    Map,
    Params,
    PoolSteps,
    Rescore,
    Score,
    Step,
    StoreFolder,
    Task,
    Threshold,
    TornTail,
    Verifier,
)
from goldpanner.errors import InputError


@app.command("import")
def import_(
    src: Annotated[Path, typer.Argument(help="A file or folder that another tool wrote.")],
    store: Annotated[
        Path | None, typer.Option("--store", help="Store to read it into; without it, counts are shown.")
    ] = None,
    counts: Annotated[Path | None, typer.Option("--counts", help="Write counts JSONL here.")] = None,
    format_: Format = None,
    map_: Map = None,
    policy: Annotated[
        str | None, typer.Option(help="Policy id to store under; by default from the log's model.")
    ] = None,
    threshold: Threshold = None,
    score: Score = None,
    filter_: Filter = None,
    step: Step = None,
    pool_steps: PoolSteps = False,
    rescore: Rescore = None,
    torn_tail: TornTail = False,
    as_json: AsJson = False,
) -> None:
    """Read another tool's log: what was read, what was left out, and why.

    Example: goldpanner import samples_gsm8k.jsonl --counts base.jsonl
    """
    from goldpanner import interop
    from goldpanner.sources import Log
    from goldpanner.store.find import open_store

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail, map_).read(src)
    if store is not None:
        report = log.into(open_store(store), policy=policy)
    else:
        table = log.counts(pool_steps=pool_steps)
        report = log.report
        if counts is not None:
            interop.write_counts(table, counts)
    typer.echo(json.dumps(asdict(report)) if as_json else "\n".join(report.lines()))


class Target(StrEnum):
    """What `export` writes for."""

    COUNTS = "counts"
    INSPECT = "inspect"
    TRL = "trl"
    VERL = "verl"


@app.command("export")
def export_command(
    policy: Annotated[str, typer.Argument(help="A policy in the store: a run's name, or an id.")],
    out: Annotated[Path, typer.Argument(help="File to write.")],
    store: StoreFolder,
    target: Annotated[
        Target, typer.Option("--for", help="counts, inspect (a log), trl or verl (a problem set).")
    ] = Target.COUNTS,
    task: Task = None,
    verifier: Verifier = None,
    params: Params = None,
    low: Annotated[float, typer.Option(help="Only problems whose measured P is at least this.")] = 0.0,
    high: Annotated[float, typer.Option(help="Only problems whose measured P is at most this.")] = 1.0,
    weight: Annotated[str, typer.Option(help="uniform, or variance: rows in proportion to p(1-p).")] = "uniform",
    rows: Annotated[int | None, typer.Option(help="Rows in all, problems repeated by weight.")] = None,
) -> None:
    """Write counts, an inspect_ai log, or a problem set chosen by measured P.

    Example: goldpanner export base train.parquet --store runs/world-seed0 --for trl --low 0.02 --high 0.9
    """
    from goldpanner import interop
    from goldpanner.interop.selection import Weight
    from goldpanner.store.find import find_policy, open_store

    chosen_by_p = {"--low": low != 0, "--high": high != 1, "--weight": weight != "uniform", "--rows": rows is not None}
    if target in (Target.COUNTS, Target.INSPECT) and any(chosen_by_p.values()):
        idle = ", ".join(name for name, given in chosen_by_p.items() if given)
        raise InputError(
            f"{idle}: a problem set is chosen by it, with --for trl or verl; {target.value} holds them all"
        )
    if target in (Target.TRL, Target.VERL) and out.suffix != ".parquet":
        raise InputError(
            f"--for {target.value} writes Parquet, not {out.name}; give {out.with_suffix('.parquet').name}"
        )
    if target is Target.INSPECT and verifier:
        raise InputError(f"--verifier {verifier}: an inspect log holds the verdicts that were sampled; leave it out")
    place = open_store(store)
    who = find_policy(place, policy)
    if target is Target.INSPECT:
        samples = [s for s in place.samples(policy=who, params=params) if not task or s.task in task]
        stated = place.get("params", params or samples[0].params) if samples else None
        interop.write_inspect(samples, place.problems(), out, model=policy, params=stated)
        typer.echo(f"{len(samples):,} samples: {out}")
        return
    counts = place.counts(who, params=params, tasks=task, verifier=verifier)
    if target is Target.COUNTS:
        interop.write_counts(counts, out)
        typer.echo(f"{len(counts):,} problems: {out}")
        return
    if weight not in Weight.__args__:  # type: ignore[attr-defined]
        raise InputError(f"--weight is {weight!r}; give uniform or variance")
    chosen = interop.select(place.problems(), counts, low=low, high=high, weight=weight, rows=rows)  # type: ignore[arg-type]
    (interop.write_trl if target is Target.TRL else interop.write_verl)(chosen, out)
    used = int((chosen.copies > 0).sum())  # --rows may be fewer than the problems chosen
    typer.echo(f"{used:,} of {len(counts):,} problems, {int(chosen.copies.sum()):,} rows: {out}")
    if target is Target.VERL:
        script = out.with_suffix(".sh")
        script.write_text(interop.verl_command(out), encoding="utf-8")
        typer.echo(f"the command line for verl, to be filled in: {script}")
        from goldpanner.train.verl import export_notes

        for note in export_notes({problem.task for problem in chosen.problems}):
            typer.echo(f"note: {note}", err=True)


stores = typer.Typer(help="Look after a sample store.", no_args_is_help=True)
app.add_typer(stores, name="store")


@stores.command("check")
def check_command(
    store: Annotated[Path, typer.Argument(help="Folder of the store, or of a run.")], as_json: AsJson = False
) -> None:
    """Read every file through, set damaged ones aside, clear what dead writers left. Exits with 1 on damage.

    Example: goldpanner store check runs/world-seed0
    """
    from goldpanner.store.find import open_store

    report = open_store(store).check()
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))
    if not report.ok:
        raise typer.Exit(1)


@stores.command("compact")
def compact_command(
    store: Annotated[Path, typer.Argument(help="Folder of the store, or of a run.")], as_json: AsJson = False
) -> None:
    """Merge the parts of a store into one, sorted and without duplicates.

    Example: goldpanner store compact runs/world-seed0
    """
    from goldpanner.store.find import open_store

    report = open_store(store).compact()
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))


@app.command("report")
def report_command(folder: Annotated[Path, typer.Argument(help="Folder of a run.")], as_json: AsJson = False) -> None:
    """Draw report.html anew from what a run kept.

    Example: goldpanner report runs/world-seed0
    """
    from goldpanner.report import build
    from goldpanner.store.find import is_store

    if not (folder / "store").is_dir():
        if is_store(folder):
            raise InputError(f"{folder} is a sample store, not a run; reports are drawn from runs")
        raise InputError(f"No run at {folder}: it has no store. Pass the folder of a run, e.g. runs/world-seed0.")
    page = str(build(folder))
    typer.echo(json.dumps({"report": page}) if as_json else page)
