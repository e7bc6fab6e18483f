"""`sample` and `score`: samples of a policy into a store, and their probability under another policy."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
    SetAside,
    Speak,
    StoreFolder,
    Task,
    Threshold,
)
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.policies.base import Policy
    from goldpanner.sampling.collect import Collection
    from goldpanner.sampling.goal import Goal
    from goldpanner.sampling.ray_workers import RemotePolicy, Workers
    from goldpanner.store import Store
    from goldpanner.types import Counts

MOST = 4096
"""Samples a problem gets at most where a goal decides: one beside a threshold would never settle."""
LARGE = 50_000_000
"""Parameters from which bfloat16 pays on a processor that has it: 3.1 times as fast for SmolLM2-135M."""


class Dtype(StrEnum):
    """In what a model's weights are held and its arithmetic is done."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


HoldIn = Annotated[
    Dtype,
    typer.Option("--dtype", help="Weight precision (auto: as saved). In another precision a model is another policy."),
]


class SamplingEngine(StrEnum):
    """What draws."""

    OWN = "goldpanner"
    RAY = "ray"


@app.command("sample")
def sample_command(
    policy: Annotated[
        str,
        typer.Argument(
            help="Model folder, name on the hub, smollm2 (fetched), server (http://HOST:PORT/v1), or scripted:P (right "
            "with probability P)."
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
        typer.Option(
            help="Compare with this policy or counts file: stop a problem when it is shown better, worse, or equal "
            "within --margin."
        ),
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
    set_aside: SetAside = False,
    model: Annotated[
        str, typer.Option(help="Model on a server, needed where it has several; of adapters, their base's folder.")
    ] = "",
    dtype: HoldIn = Dtype.AUTO,
    concurrency: Annotated[int, typer.Option(help="Requests to a server at once (of each worker).", min=1)] = 16,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a request to a server may take; it is tried five times.", min=1)
    ] = 600,
    engine: Annotated[
        SamplingEngine, typer.Option(help="goldpanner: this process; ray: workers, here or on a cluster.")
    ] = SamplingEngine.OWN,
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
    """Sample a policy on a task and store the judged completions. Rerun the command to resume.

    Example: goldpanner sample runs/world-seed0/stages/base/model world/d2 --store demo --until settled --budget 20000
    """
    from goldpanner.cli import display
    from goldpanner.cli.run import load_config
    from goldpanner.sampling.collect import top_up, why_unjudged
    from goldpanner.sources import load_base
    from goldpanner.store.find import open_store
    from goldpanner.tasks.catalog import task as load_task

    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"--price is {price}; give what a million tokens cost, e.g. 0.6")
    if margin is not None and against is None:
        raise InputError(f"--margin {margin:g} is that of a comparison; name the other policy with --against")
    facts = None if config is None and not set_ else load_config(config, None, set_).domain
    chosen = load_task(task, data, columns, verifier, threshold, facts, set_aside=set_aside)
    params = chosen.sampling(temperature, top_p, top_k, max_tokens, template)
    questions = chosen.problems(problems, seed)
    if chosen.note:
        typer.echo(chosen.note, err=True)
    base = None
    if against is not None:
        base = load_base(against, store, params, questions, chosen.verifiers()[0], display.show_message)
    goal = goal_of(n, until, group, budget, base, margin)
    place = open_store(store)
    server: dict[str, Any] = {"model": model, "dtype": dtype.value, "concurrency": concurrency}
    server |= {"override": speak_of_support, "timeout": timeout}
    with _policy(policy, engine, workers, ray_address, server) as (drawing, pool):
        name = str(drawing.describe()["name"]) if "://" in policy else policy
        with display.Bars(quiet=as_json) as bars:
            collection = top_up(
                drawing, questions, chosen.verifiers, params, place, goal, seed=seed, name=name, notify=bars.update,
                price=price, workers=pool,
            )  # fmt: skip
    result = summary(collection, goal, len(questions))
    if as_json:
        typer.echo(json.dumps(result))
        return
    record = drawing.describe()
    typer.echo(collection.line(price), err=True)
    if record.get("dtype") == "float32" and record.get("fast_bfloat16") and record["parameters"] >= LARGE:
        typer.echo("note: drawn in float32, as saved; --dtype bfloat16, a policy of its own, is faster here", err=True)
    if goal.kind == "settled":
        typer.echo(", ".join(f"{count} {zone}" for zone, count in result["settled"].items() if count))
        if result["undecidable"]:
            typer.echo(f"{result['undecidable']} open because {against} has too few samples there: draw more of it")
    typer.echo(
        f"{result['n']:,} samples of {result['problems']} problems: {result['correct']:,} correct, "
        f"{result['unjudged']:,} unjudged, {result['truncated']:,} cut at {params.max_tokens} tokens\n"
        f"policy {collection.policy}, judged by {collection.verifier}"
    )
    if 2 * result["unjudged"] > result["n"]:
        typer.echo(f"note: unjudged, most often: {why_unjudged(collection, place)}", err=True)
    typer.echo(f"next: {command_to_measure(collection, place, store, questions[0].task)}")


def goal_of(
    n: int | None,
    until: str | None,
    group: int | None,
    budget: int | None,
    base: "Counts | None" = None,
    margin: float | None = None,
) -> "Goal":
    """Return the goal that the options stand for; a budget alone is spent on settling the strata.

    `base`: counts of the policy that this one is compared with, up to a difference of `margin`.
    """
    from goldpanner.sampling.goal import Goal

    if until is None and group is None and budget is None and base is None:
        return Goal(most=64 if n is None else n)
    goal = Goal.read(until or "settled", MOST if n is None else n, group, budget)
    return goal if base is None else replace(goal, base=base, margin=goal.margin if margin is None else margin)


def summary(collection: "Collection", goal: "Goal", problems: int) -> dict[str, Any]:
    """Return the object that `sample --json` prints; `problems` is the number that was asked for."""
    counts = collection.counts
    result: dict[str, Any] = {
        "policy": collection.policy,
        "params": collection.params.hash,
        "verifier": collection.verifier,
        "problems": len(counts),
        "n": int(counts.n.sum()),
        "correct": int(counts.c.sum()),
        "unjudged": int(counts.unjudged.sum()),
        "truncated": int(counts.truncated.sum()),
    }
    if goal.kind == "settled":
        result["settled"] = goal.zone_counts(counts)
        result["undecidable"] = int(goal.undecidable(counts).sum())
    if goal.kind != "fixed":
        result["open"] = int(goal.open_problems(counts).sum()) + problems - len(counts)
    return result


def command_to_measure(collection: "Collection", place: "Store", store: Path, task: str) -> str:
    """Return the command that measures a collection, with what tells it from the policy's other samples there."""
    words = ["goldpanner", "measure", collection.policy, "--store", str(store)]
    query = "SELECT DISTINCT task, params, verifier FROM samples WHERE policy = $policy AND step IS NULL"
    others = place.sql(query, {"policy": collection.policy}).to_pylist()
    for name, value in (("task", task), ("params", collection.params.hash), ("verifier", collection.verifier)):
        if any(row[name] != value for row in others):
            words += [f"--{name}", value]
        others = [row for row in others if row[name] == value]
    return shlex.join(words)


@contextmanager
def _policy(
    policy: str, engine: SamplingEngine, workers: int | None, address: str | None, server: dict[str, Any]
) -> "Iterator[tuple[Policy | RemotePolicy, Workers | None]]":
    """Give the policy that is sampled, and the workers of Ray if they draw.

    They load a model themselves. A server is asked what it is, and probed, in this process alone.
    """
    from goldpanner.cli.display import show_message
    from goldpanner.policies.fetch import MODELS
    from goldpanner.policies.resolve import load_policy, model_folder

    if engine is not SamplingEngine.RAY:
        if workers is not None or address is not None:
            raise InputError("--workers and --ray-address belong to Ray; give --engine ray with them")
        yield load_policy(policy, **server, notify=show_message), None
        return
    from goldpanner.sampling.ray_workers import Workers

    on_server = load_policy(policy, **server) if "://" in policy else None
    with Workers(workers or 2, address, gpus=on_server is None) as pool:
        if on_server is None:  # a worker on another node knows no relative path
            policy = str(model_folder(policy, show_message)) if policy in MODELS else policy
            policy, base = (str(Path(x).absolute()) if x and Path(x).is_dir() else x for x in (policy, server["model"]))
            yield pool.load(partial(load_policy, policy, model=base, dtype=server["dtype"])), pool
        else:
            yield on_server, pool
        if pool.deaths:
            typer.echo(f"workers that died and were replaced: {pool.deaths}; their units were drawn again", err=True)


@app.command("score")
def score_command(
    scorer: Annotated[
        str,
        typer.Argument(
            help="Policy that scores: model folder, name on the hub, smollm2, server (http://HOST:PORT/v1), scripted:P."
        ),
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
    from goldpanner.policies.resolve import load_policy
    from goldpanner.progress import Event
    from goldpanner.sampling.score import score_samples
    from goldpanner.store.find import find_policy, open_store

    place = open_store(store)
    who = find_policy(place, policy)
    scoring = load_policy(scorer, model=model, dtype=dtype.value, concurrency=concurrency, notify=display.show_message)
    with display.Bars(quiet=as_json) as bars:
        sampled = place.sql(
            "SELECT DISTINCT problem FROM samples WHERE policy = $policy AND step IS NULL ORDER BY problem",
            {"policy": who},
        )
        stored = place.problems(task)
        problems = {i: stored[i] for i in sampled.column(0).to_pylist() if i in stored}
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
