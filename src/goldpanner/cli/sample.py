"""`sample` and `score`: samples of a policy into a store, and their probability under another policy."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from goldpanner.cli.app import SAMPLE, OptionGroup, cli_command, option, print_json
from goldpanner.cli.options import (
    ENGINE,
    AllowTruncated,
    AsJson,
    GroupSize,
    Params,
    PolicyOptions,
    Problems,
    RehearsalOptions,
    SettingsOptions,
    StoreFolder,
    TaskOptions,
    Tasks,
    stored_tasks,
)
from goldpanner.errors import InputError

if TYPE_CHECKING:
    from goldpanner.policies.base import Policy
    from goldpanner.sampling.goal import Goal
    from goldpanner.sampling.ray_workers import RemotePolicy, Workers
    from goldpanner.types import Counts

POLICY = "a model's folder or name on the hub, smollm2 (fetched), a server (http://HOST:PORT/v1), or scripted:P"


@dataclass(frozen=True)
class GoalOptions(OptionGroup):
    """When a problem has enough samples."""

    title = "Goal"

    n: int | None = option("Samples of each problem (64); with another goal, its most (4,096).", "N", "-n", low=1)
    until: str | None = option("Goal for every problem: settled, or halfwidth<0.05.", "GOAL")
    group: GroupSize = None
    against: str | None = option(
        "Policy or counts file to compare with: a problem stops when it is shown better, worse, or equal "
        "within --margin.",
        "NAME",
    )
    margin: float | None = option("Largest difference of P that counts as equal (0.1).", "P")
    budget: int | None = option("Samples in all; they go to the least settled problems.", "N", low=1)
    price: float | None = option("Price of a million tokens, to show the cost.", "PRICE")

    def check(self) -> None:
        """Raise InputError for a price that is none, and for a margin without a comparison."""
        if self.price is not None and not 0 <= self.price < float("inf"):
            raise InputError(f"--price is {self.price}; give what a million tokens cost, e.g. 0.6")
        if self.margin is not None and self.against is None:
            raise InputError(f"--margin {self.margin:g} is that of a comparison; name the other policy with --against")

    def goal(self, base: "Counts | None" = None) -> "Goal":
        """Return the goal; `base` are counts of the policy that --against names."""
        from goldpanner.sampling.goal import Goal

        return Goal.read(self.until, self.n, self.group, self.budget, base, self.margin)


@dataclass(frozen=True)
class SamplingOptions(OptionGroup):
    """How completions are drawn; what is not given is the task's own."""

    title = "Sampling"

    temperature: float = option("Temperature; 1: the model's own distribution.", "T", default=1.0)
    top_p: float = option("Share of probability that is kept; below 1, rare tokens get 0.", "P", default=1.0)
    top_k: int = option("Number of most likely tokens that are kept; 0: all.", "K", default=0)
    max_tokens: int | None = option("Longest completion in tokens, instead of the task's limit.", "N")
    template: str | None = option("Prompt template, instead of the task's; chat: the model's own.", "TEXT")


@dataclass(frozen=True)
class RayOptions(OptionGroup):
    """Who draws: this process, or workers on Ray."""

    title = "Ray (--engine ray)"

    engine: Annotated[Literal["goldpanner", "ray"], ENGINE] = "goldpanner"
    workers: int | None = option("Worker processes (2).", "N", low=1)
    ray_address: str | None = option(
        "Cluster: auto or ray://HOST:10001. Otherwise $RAY_ADDRESS, or a local Ray.", "ADDRESS"
    )

    @contextmanager
    def loaded(
        self, name: str, options: PolicyOptions, override: bool
    ) -> "Iterator[tuple[Policy | RemotePolicy, Workers | None]]":
        """Give the policy of a name, and the workers of Ray if they draw.

        They load a model themselves. A server is asked what it is, and probed, in this process alone.
        """
        if self.engine != "ray":
            if self.workers is not None or self.ray_address is not None:
                raise InputError("--workers and --ray-address belong to Ray; give --engine ray with them")
            yield options.load(name, override), None
            return
        from goldpanner.cli.display import show_message
        from goldpanner.policies.resolve import policy_builder
        from goldpanner.sampling.ray_workers import Workers

        server = options.load(name, override) if "://" in name else None
        with Workers(self.workers or 2, self.ray_address, gpus=server is None) as pool:
            yield server or pool.load(policy_builder(name, options.model, options.dtype, show_message)), pool
            if pool.deaths:
                text = f"workers that died and were replaced: {pool.deaths}; their units were drawn again"
                typer.echo(text, err=True)


@cli_command("sample", SAMPLE)
def sample_command(
    policy: Annotated[str, typer.Argument(help=f"Policy: {POLICY} (right with probability P).")],
    task: Annotated[str, typer.Argument(help="Task: an id such as world/d3, or a data file or folder.")],
    store: StoreFolder,
    goal: GoalOptions,
    problems: Problems = 64,
    *,
    sampling: SamplingOptions,
    tasks: TaskOptions,
    loading: PolicyOptions,
    ray: RayOptions,
    rehearsal: RehearsalOptions,
    allow_truncated_sampling: AllowTruncated = False,
    settings: SettingsOptions,
    as_json: AsJson = False,
) -> None:
    """Sample a policy on a task into a store.

    The completions are judged and stored. Rerun the command to resume.

    Example: goldpanner sample smollm2 arithmetic/add-2d2d --store demo --until settled
    """
    from goldpanner.cli import display
    from goldpanner.sampling.collect import top_up
    from goldpanner.sampling.rehearsal import rehearse_first
    from goldpanner.sampling.summary import collection_json, collection_lines, collection_notes, command_to_measure
    from goldpanner.sources import load_base
    from goldpanner.store.find import open_store

    goal.check()
    seed = settings.seed or 0
    chosen = tasks.load(task, settings.facts())
    params = chosen.sampling(**asdict(sampling))
    questions = chosen.problems(problems, seed)
    base = None
    if goal.against is not None:
        base = load_base(goal.against, store, params, questions, chosen.verifiers()[0], display.show_message)
    place, until = open_store(store), goal.goal(base)
    verifier, notice = chosen.verifiers()[0], display.show_message
    for check in rehearse_first(chosen, verifier, questions, place, skip=rehearsal.skip, notify=notice):
        place.put(check)
    with ray.loaded(policy, loading, allow_truncated_sampling) as (model, workers):
        name = str(model.describe()["name"]) if "://" in policy else policy
        with display.Bars(quiet=as_json) as bars:
            collection = top_up(
                model, questions, chosen.verifiers, params, place, until, seed=seed, name=name, notify=bars.update,
                price=goal.price, workers=workers,
            )  # fmt: skip
    if as_json:
        print_json("sample", collection_json(collection, until, len(questions)))
        return
    typer.echo(collection.line(goal.price), err=True)
    typer.echo("\n".join(collection_lines(collection, until, goal.against)))
    typer.echo(f"next: {command_to_measure(collection, place, store, questions[0].task)}")
    for note in collection_notes(collection, place, model.describe()):
        typer.echo(f"note: {note}", err=True)


@cli_command("score", SAMPLE)
def score_command(
    scorer: Annotated[str, typer.Argument(help=f"Policy that scores: {POLICY}.")],
    policy: Annotated[str, typer.Argument(help="Policy in the store whose samples are scored.")],
    store: StoreFolder,
    params: Params = None,
    task: Tasks = None,
    *,
    loading: PolicyOptions,
    as_json: AsJson = False,
) -> None:
    """Score stored samples under another policy.

    With their log-probabilities, `compare` says where gained problems came from.

    Example: goldpanner score runs/world-seed0/stages/base/model base-grpo --store runs/world-seed0
    """
    from goldpanner.cli import display
    from goldpanner.sampling.score import score_policy
    from goldpanner.store.find import find_policy, open_store
    from goldpanner.store.schema import PolicyRecord

    place = open_store(store)
    sampled_by = find_policy(place, policy)
    scoring = loading.load(scorer)
    with display.Bars(quiet=as_json) as bars:
        count = score_policy(scoring, sampled_by, place, stored_tasks(task) or (), params, bars.update)
    distance = getattr(scoring, "scoring_distance", None)
    if as_json:
        print_json("score", {"scorer": scoring.id, "policy": sampled_by, "scored": count, "distance": distance})
        return
    if distance is not None:
        typer.echo(f"tokens of its own were scored as they were drawn, within {distance:.2g} nats a token", err=True)
    if scoring.id not in place.records(PolicyRecord):
        typer.echo(f"note: the store has no samples of {scoring.id} yet; `compare` needs some", err=True)
    typer.echo(
        f"{count:,} samples scored under {scoring.id}; next: goldpanner compare {scoring.id} {policy} --store {store}"
    )
