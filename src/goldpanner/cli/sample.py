"""`sample`, `import`, `export`, `store` and `report`: samples in, samples out, and what is kept of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import (
    AsJson,
    Columns,
    ConfigFile,
    Judge,
    Params,
    Set,
    Speak,
    StoreFolder,
    Task,
    Threshold,
)
from goldpanner.errors import InputError
from goldpanner.sources import find_policy, load_base, load_policy, open_store

if TYPE_CHECKING:
    from goldpanner.policies.base import Policy
    from goldpanner.sampling.ray_workers import Held, Workers


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
        int | None, typer.Option(help="Settled means: it is known how often groups of this size are mixed.", min=4)
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
    from goldpanner.cli.run import load_config
    from goldpanner.sampling.collect import collect, command_to_measure, goal_of, why_unjudged
    from goldpanner.tasks.catalog import task as load_task

    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"--price is {price}; give what a million tokens cost, e.g. 0.6")
    facts = None if config is None and not set_ else load_config(config, None, set_).domain
    chosen = load_task(task, data, columns, verifier, threshold, facts)
    params = chosen.sampling(temperature, top_p, top_k, max_tokens, template)
    drawn = chosen.problems(problems, seed)
    if chosen.note:
        typer.echo(chosen.note, err=True)
    judge = chosen.verifiers()[0]
    base = load_base(against, margin, store, params, drawn, judge)
    goal = goal_of(n, until, group, budget, base, margin)
    place = open_store(store)
    server: dict[str, Any] = {"model": model, "dtype": dtype.value, "concurrency": concurrency}
    server |= {"override": speak_of_support, "timeout": timeout}
    with _drawing(policy, engine, workers, ray_address, server) as (drawing, pool):
        name = str(drawing.describe()["name"]) if "://" in policy else policy
        with display.Bars(quiet=as_json) as bars:
            counts, policy_id, spent = collect(
                drawing, name, drawn, params, goal, seed, place, bars.update, price, pool, chosen.verifiers
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
    from goldpanner.sampling.ray_workers import Workers

    here = load_policy(policy, **server) if "://" in policy else None
    with Workers(workers or 2, address, gpus=here is None) as pool:
        if here is None:  # a worker on another node knows no relative path
            policy, base = (str(Path(x).absolute()) if x and Path(x).is_dir() else x for x in (policy, server["model"]))
            yield pool.hold(partial(load_policy, policy, model=base, dtype=server["dtype"])), pool
        else:
            yield here, pool
        if pool.deaths:
            typer.echo(f"workers that died and were replaced: {pool.deaths}; their units were drawn again", err=True)


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
    from goldpanner.progress import Event
    from goldpanner.sampling.score import score_samples

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
