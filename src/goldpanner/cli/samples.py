"""`sample`, `import`, `export`, `store` and `report`: samples in, samples out, and what is kept of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli import app
from goldpanner.cli.lab import AsJson, ConfigFile, Set
from goldpanner.cli.options import (
    Columns,
    Filter,
    Format,
    Judge,
    Params,
    PoolSteps,
    Rescore,
    Score,
    Speak,
    Step,
    StoreFolder,
    Task,
    Threshold,
    TornTail,
    Verifier,
)
from goldpanner.cli.sources import Log, find_policy, load_base, load_policy, open_store
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.cluster import Held, Workers
    from goldpanner.policies import Policy


LARGE = 50_000_000
"""Parameters from which bfloat16 pays on a processor that has it: 3.1 times as fast for SmolLM2-135M."""


class Dtype(StrEnum):
    """In what a model's weights are held and its arithmetic is done."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


HoldIn = Annotated[
    Dtype, typer.Option("--dtype", help="Of a model folder: auto, as it was saved. Another dtype is another policy.")
]


class Engine(StrEnum):
    """What draws."""

    OWN = "goldpanner"
    RAY = "ray"


@app.command()
def sample(
    policy: Annotated[
        str,
        typer.Argument(
            help="A model folder or name on the hub, a server (http://HOST:PORT/v1), or scripted:P (right with P)."
        ),
    ],
    task: Annotated[str, typer.Argument(help="A task such as world/d2, or a data file or data set's folder.")],
    store: StoreFolder,
    n: Annotated[
        int | None,
        typer.Option("-n", help="Samples a problem (64); with --until or --budget, at most so many (4,096).", min=1),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Draw until every problem is settled, or 'halfwidth<0.05'.")] = None,
    group: Annotated[
        int | None, typer.Option(help="Settled means: live, mixed or dead in groups of this size.", min=4)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Settled means: shown to be above or below this policy (or counts file), or like it."),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="With --against: what difference of P is not material (0.1).")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Samples in all, spent where problems are least settled.", min=1)
    ] = None,
    price: Annotated[float | None, typer.Option(help="Price of a million tokens, to show the cost.")] = None,
    problems: Annotated[int, typer.Option(help="Problems.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of problems and samples.")] = 0,
    temperature: Annotated[float, typer.Option(help="1: the model's own distribution.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Below 1 cuts the softmax: exact zeros appear.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="0: no cut.")] = 0,
    max_tokens: Annotated[
        int | None, typer.Option(help="Token limit of a completion; by default the task's own, else 48.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="How the prompt is wrapped, by default as the task says; chat: the model's chat."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data file, or data set's folder, of a task that reads one, e.g. gsm8k/test.")
    ] = None,
    columns: Columns = None,
    verifier: Judge = None,
    threshold: Threshold = None,
    model: Annotated[
        str, typer.Option(help="Model on a server, needed where it has several; of adapters, their base's folder.")
    ] = "",
    dtype: HoldIn = Dtype.AUTO,
    concurrency: Annotated[int, typer.Option(help="Requests to a server at once (of each worker).", min=1)] = 16,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a request to a server may take; it is tried five times.", min=1)
    ] = 600,
    engine: Annotated[
        Engine, typer.Option(help="goldpanner: this process; ray: workers, here or on a cluster.")
    ] = Engine.OWN,
    workers: Annotated[int | None, typer.Option(help="ray: worker processes (2).", min=1)] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="ray: a cluster's, auto or ray://HOST:10001; else $RAY_ADDRESS, else a Ray of our own."),
    ] = None,
    speak_of_support: Speak = False,
    config: ConfigFile = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Draw and judge samples into a store until a goal is met; interrupted, the same command goes on.

    Example: goldpanner sample runs/world-seed0/stages/base/model world/d2 --store demo --until settled --budget 20000
    """
    from goldpanner.cli import display
    from goldpanner.cli.collect import collect, command_to_measure, goal_of, params_of, why_unjudged
    from goldpanner.cli.problems import load_problems
    from goldpanner.cli.verify import judges_of

    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"--price is {price}; give what a million tokens cost, e.g. 0.6")
    params = params_of(task, temperature, top_p, top_k, max_tokens, template)
    drawn = load_problems(task, problems, seed, config, set_ or [], data, columns)
    judges = judges_of(task, drawn[0].task, verifier, threshold, columns)
    judge = judges()[0]
    base = load_base(against, margin, store, params, drawn, judge)
    goal = goal_of(n, until, group, budget, base, margin)
    place = open_store(store)
    server: dict[str, Any] = {"model": model, "dtype": dtype.value, "concurrency": concurrency}
    server |= {"override": speak_of_support, "timeout": timeout}
    with _drawing(policy, engine, workers, ray_address, server) as (drawing, pool):
        name = str(drawing.describe()["name"]) if "://" in policy else policy
        with display.Bars(quiet=as_json) as bars:
            counts, policy_id, spent = collect(
                drawing, name, drawn, params, goal, seed, place, bars.update, price, pool, judges
            )
    said = drawing.describe()
    result: dict[str, Any] = {
        "policy": policy_id,
        "params": params.hash,
        "verifier": judge.id,
        "problems": len(counts),
        "n": int(counts.n.sum()),
        "correct": int(counts.c.sum()),
        "unjudged": int(counts.unjudged.sum()),
        "truncated": int(counts.truncated.sum()),
    }
    if goal.kind == "settled":
        result["settled"] = goal.zones(counts)
        result["in_vain"] = int(goal.in_vain(counts).sum())
    if goal.kind != "fixed":
        result["open"] = int(goal.unmet(counts).sum()) + len(drawn) - len(counts)
    if as_json:
        typer.echo(json.dumps(result))
        return
    typer.echo(spent.line(price), err=True)
    if said.get("dtype") == "float32" and said.get("fast_bfloat16") and said["parameters"] >= LARGE:
        typer.echo("note: drawn in float32, as saved; --dtype bfloat16, a policy of its own, is faster here", err=True)
    if goal.kind == "settled":
        typer.echo(", ".join(f"{count} {zone}" for zone, count in result["settled"].items() if count))
        if result["in_vain"]:
            typer.echo(f"{result['in_vain']} open because {against} has too few samples there: draw more of it")
    typer.echo(
        f"{result['n']:,} samples of {result['problems']} problems: {result['correct']:,} correct, "
        f"{result['unjudged']:,} unjudged, {result['truncated']:,} cut at {params.max_tokens} tokens\n"
        f"policy {policy_id}, judged by {judge.id}"
    )
    if 2 * result["unjudged"] > result["n"]:
        typer.echo(f"note: unjudged, most often: {why_unjudged(place, policy_id, params.hash, judge.id)}", err=True)
    typer.echo(f"next: {command_to_measure(place, store, policy_id, drawn[0].task, params.hash, judge.id)}")


@contextmanager
def _drawing(
    policy: str, engine: Engine, workers: int | None, address: str | None, server: dict[str, Any]
) -> "Iterator[tuple[Policy | Held, Workers | None]]":
    """Give the policy that is sampled, and the workers of Ray if they draw.

    They load a model themselves. A server is asked what it is, and probed, in this process alone.
    """
    if engine is not Engine.RAY:
        if workers is not None or address is not None:
            raise InputError("--workers and --ray-address belong to Ray; give --engine ray with them")
        yield load_policy(policy, **server), None
        return
    from goldpanner.cluster import Workers

    here = load_policy(policy, **server) if "://" in policy else None
    with Workers(workers or 2, address, gpus=here is None) as pool:
        if here is None:  # a worker on another node knows no relative path
            policy, base = (str(Path(x).absolute()) if x and Path(x).is_dir() else x for x in (policy, server["model"]))
            yield pool.hold(partial(load_policy, policy, model=base, dtype=server["dtype"])), pool
        else:
            yield here, pool
        if pool.deaths:
            typer.echo(f"workers that died and were replaced: {pool.deaths}; their units were drawn again", err=True)


@app.command("import")
def import_(
    src: Annotated[Path, typer.Argument(help="A file or folder that another tool wrote.")],
    store: Annotated[
        Path | None, typer.Option("--store", help="Store to read it into; without it, counts are shown.")
    ] = None,
    counts: Annotated[Path | None, typer.Option("--counts", help="Write counts JSONL here.")] = None,
    format_: Format = None,
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

    log = Log(format_, threshold, score, filter_, step, pool_steps, rescore, torn_tail).read(src)
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


@app.command()
def export(
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
    from goldpanner.cli.verify import notes_for_verl
    from goldpanner.interop.selection import Weight

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
        drawn = place.get("params", params or samples[0].params) if samples else None
        interop.write_inspect(samples, place.problems(), out, model=policy, params=drawn)
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
        for note in notes_for_verl({problem.task for problem in chosen.problems}):
            typer.echo(f"note: {note}", err=True)


stores = typer.Typer(help="Look after a sample store.", no_args_is_help=True)
app.add_typer(stores, name="store")


@stores.command()
def check(
    store: Annotated[Path, typer.Argument(help="Folder of the store, or of a run.")], as_json: AsJson = False
) -> None:
    """Read every file through, set damaged ones aside, clear what dead writers left. Exits with 1 on damage.

    Example: goldpanner store check runs/world-seed0
    """
    report = open_store(store).check()
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))
    if not report.ok:
        raise typer.Exit(1)


@stores.command()
def compact(
    store: Annotated[Path, typer.Argument(help="Folder of the store, or of a run.")], as_json: AsJson = False
) -> None:
    """Merge the parts of a store into one, sorted and without duplicates.

    Example: goldpanner store compact runs/world-seed0
    """
    report = open_store(store).compact()
    typer.echo(json.dumps(asdict(report), default=str) if as_json else str(report))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder of a run.")], as_json: AsJson = False) -> None:
    """Draw report.html anew from what a run kept.

    Example: goldpanner report runs/world-seed0
    """
    from goldpanner.report import build

    if not (folder / "store").is_dir():
        raise InputError(f"{folder} holds no store; give the folder of a run, e.g. runs/world-seed0")
    page = str(build(folder))
    typer.echo(json.dumps({"report": page}) if as_json else page)


@app.command()
def score(
    scorer: Annotated[
        str,
        typer.Argument(help="The policy that scores: a model folder, a server (http://HOST:PORT/v1), or scripted:P."),
    ],
    policy: Annotated[str, typer.Argument(help="The policy of the store whose samples are scored.")],
    store: StoreFolder,
    params: Params = None,
    task: Task = None,
    model: Annotated[str, typer.Option(help="Model on a server; not needed where it has only one.")] = "",
    dtype: HoldIn = Dtype.AUTO,
    concurrency: Annotated[int, typer.Option(help="Requests to a server at once.", min=1)] = 16,
    as_json: AsJson = False,
) -> None:
    """Compute log P of stored completions under another policy, for `compare` to tell where gained problems came from.

    Example: goldpanner score runs/world-seed0/stages/base/model base-grpo --store runs/world-seed0
    """
    from goldpanner.cli import display
    from goldpanner.score import score_samples
    from goldpanner.studies.workers import Event

    place = open_store(store)
    who = find_policy(place, policy)
    scoring = load_policy(scorer, model=model, dtype=dtype.value, concurrency=concurrency)
    with display.Bars(quiet=as_json) as bars:
        drawn = place.sql(
            "SELECT DISTINCT problem FROM samples WHERE policy = $policy AND step IS NULL ORDER BY problem",
            {"policy": who},
        )
        known = place.problems(task)
        problems = {i: known[i] for i in drawn.column(0).to_pylist() if i in known}
        count = score_samples(
            scoring, who, place, problems, params, lambda done, total: bars.update(Event(who, "score", done, total))
        )
    distance = getattr(scoring, "scoring_distance", None)
    if as_json:
        typer.echo(json.dumps({"scorer": scoring.id, "policy": who, "scored": count, "distance": distance}))
        return
    if distance is not None:
        typer.echo(f"tokens of its own were scored as they were drawn, within {distance:.2g} nats a token", err=True)
    if scoring.id not in place.records("policies"):
        typer.echo(f"note: the store has no samples of {scoring.id} yet; `compare` needs some", err=True)
    typer.echo(
        f"{count:,} samples scored under {scoring.id}; next: goldpanner compare {scoring.id} {policy} --store {store}"
    )
