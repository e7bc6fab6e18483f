"""Options that several commands share: each stands here once, with one meaning; groups of them are dataclasses."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, cast, get_type_hints

import typer

from goldpanner.errors import need_lab

if TYPE_CHECKING:
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.policies.scripted import ScriptedPolicy
    from goldpanner.policies.server import ServerPolicy
    from goldpanner.runs.config import RunConfig
    from goldpanner.sources import Log, Source
    from goldpanner.tasks.catalog import DomainConfig
    from goldpanner.tasks.task import Task as OneTask

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def with_options(command: Callable[Parameters, Result]) -> Callable[..., Result]:
    """Return a command whose option groups are taken apart: each field of such a dataclass is an option of its own.

    Args:
        command: function with parameters as typer takes them; one annotated with a dataclass is an option group.

    Returns:
        Function that typer can register; it puts the groups together and calls `command`.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        group = parameter.annotation
        if not dataclasses.is_dataclass(group):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        hints = get_type_hints(group, include_extras=True)
        parts = dataclasses.fields(group)
        groups[name] = (cast(type, group), [part.name for part in parts])
        parameters += [
            inspect.Parameter(
                part.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if part.default is dataclasses.MISSING else part.default,
                annotation=hints[part.name],
            )
            for part in parts
        ]

    def registered(**values: Any) -> Result:
        options = {name: group(**{part: values.pop(part) for part in parts}) for name, (group, parts) in groups.items()}
        return command(**values, **options)  # type: ignore[call-arg]

    registered.__name__, registered.__doc__ = command.__name__, command.__doc__
    registered.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    registered.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return registered


STORE_FOLDER = typer.Option("--store", help="Folder of the sample store, or of a run.")
StoreOrNone = Annotated[Path | None, STORE_FOLDER]
StoreFolder = Annotated[Path, STORE_FOLDER]
VerdictsOf = Annotated[
    str | None, typer.Option("--verdicts-of", help="Verifier whose verdicts are counted, e.g. world-process@1.")
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--verifier",
        help="Verifier to judge with instead of the task's own: number, math, exact, file.py:function. Variants: "
        "docs/verifiers.md.",
    ),
]
Columns = Annotated[
    str | None, typer.Option(help="Columns of a data file where they have other names: question=NAME,answer=NAME.")
]
SetAside = Annotated[bool, typer.Option(help="Leave out rows whose right answer the verifier cannot judge.")]
Params = Annotated[str | None, typer.Option(help="Hash of the sampling parameters, where there are several.")]

Format = Annotated[str | None, typer.Option("--format", help="Format of a log, where it is not found by itself.")]
Map = Annotated[
    str | None,
    typer.Option("--map", help="Columns of a table: id=NAME,correct=NAME, maybe text, finish, policy, prompt, n, c."),
]
Threshold = Annotated[float | None, typer.Option(help="Rewards of at least this value count as correct.")]
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
SkipPartialLine = Annotated[
    bool, typer.Option("--skip-partial-line", help="Leave out an incomplete last line of a log.")
]

Level = Annotated[float, typer.Option(help="Coverage of intervals and bands.")]
Ks = Annotated[str, typer.Option("--k", help="Further k, separated by commas, beyond n too: 1,100,10000.")]
Page = Annotated[Path | None, typer.Option("--html", help="File for the result as a page.")]
AllowTruncated = Annotated[
    bool,
    typer.Option(
        "--allow-truncated-sampling",
        help="Accept samples whose zeros top-p, top-k, temperature or a server's fault can make; the results say so.",
    ),
]

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]

Seed = Annotated[int | None, typer.Option(help="Seed of everything that is drawn at random (0).")]

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Setting to change, e.g. grpo.steps=20 (docs/settings.md)."),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

TASK = typer.Option("--task", help="Task: an id such as world/d3, or a data file (goldpanner tasks lists them).")
MODEL = typer.Option("--model", help="Model: a folder, a name on the hub, smollm2, or its name on the server.")
OUT = typer.Option("--out", help="Folder for everything that the command keeps.")
EXAMPLES = typer.Option("--examples", help="File of worked examples for SFT, columns prompt and response.")


@dataclass(frozen=True)
class DataOptions:
    """The file of a task that reads one."""

    data: Annotated[Path | None, typer.Option(help="Data file or folder of a task that reads one (gsm8k/test).")] = None
    columns: Columns = None


@dataclass(frozen=True)
class TaskOptions(DataOptions):
    """How the task that a command names is read and judged."""

    verifier: Judge = None
    threshold: Threshold = None
    set_aside: SetAside = False

    def load(self, name: str, facts: "DomainConfig | None" = None, examples: Path | None = None) -> "OneTask":
        """Return the task; the choice of its verifier is printed where the task says so."""
        from goldpanner.tasks.catalog import task

        chosen = task(name, self.data, self.columns, self.verifier, self.threshold, facts, examples, self.set_aside)
        if chosen.note:
            typer.echo(chosen.note, err=True)
        return chosen


@dataclass(frozen=True)
class SettingsOptions:
    """The settings of the lab and its trainers."""

    config: ConfigFile = None
    seed: Seed = None
    overrides: Set = None

    def load(self) -> "RunConfig":
        """Return the settings: defaults, then the file, then the seed, then the overrides."""
        need_lab()
        from goldpanner.runs.config import RunConfig
        from goldpanner.runs.settings import load_settings

        return load_settings(RunConfig, self.config, self.overrides or (), seed=self.seed)

    def facts(self) -> "DomainConfig | None":
        """Return the facts of the lab's tasks, None where no setting was given: those of the default knobs."""
        if self.config is None and not self.overrides:
            return None
        return dataclasses.replace(self, seed=None).load().domain


@dataclass(frozen=True)
class LogOptions:
    """How another tool's log is read."""

    format_: Format = None
    threshold: Threshold = None
    score: Score = None
    filter_: Filter = None
    step: Step = None
    pool_steps: PoolSteps = False
    rescore: Rescore = None
    skip_partial_line: SkipPartialLine = False
    map_: Map = None

    def log(self) -> "Log":
        """Return the reader of a log that the options describe."""
        from goldpanner.sources import Log

        return Log(*dataclasses.astuple(self))


@dataclass(frozen=True)
class StoreSelection:
    """Which samples of a store are counted."""

    store: StoreOrNone = None
    task: Annotated[list[str] | None, TASK] = None
    verdicts_of: VerdictsOf = None
    params: Params = None

    def load(self, what: str, log: "LogOptions") -> "Source":
        """Return the counts that an argument stands for; what was left out of a log is printed."""
        from goldpanner.sources import load_counts

        source = load_counts(
            what, self.store, tasks=self.task or (), verifier=self.verdicts_of, params=self.params, log=log.log()
        )
        for line in source.remarks:
            typer.echo(f"{what}: {line}", err=True)
        return source


class Dtype(StrEnum):
    """Precision of a model's weights and arithmetic."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class PolicyOptions:
    """How a policy is loaded, or asked for where a server has it."""

    model: Annotated[str, MODEL] = ""
    dtype: Annotated[Dtype, typer.Option(help="Weight precision (auto: as saved); another one is another policy.")] = (
        Dtype.AUTO
    )
    concurrency: Annotated[int, typer.Option(help="Requests to a server at once (of each worker).", min=1)] = 16
    timeout: Annotated[float, typer.Option(help="Seconds that a request to a server may take.", min=1)] = 600

    def load(self, name: str, override: bool = False) -> "ScriptedPolicy | LocalPolicy | ServerPolicy":
        """Return the policy of a name; a model that is fetched is announced."""
        from goldpanner.cli.display import show_message
        from goldpanner.policies.resolve import load_policy

        return load_policy(
            name,
            model=self.model,
            dtype=self.dtype.value,
            concurrency=self.concurrency,
            timeout=self.timeout,
            override=override,
            notify=show_message,
        )
