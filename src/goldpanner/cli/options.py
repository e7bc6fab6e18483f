"""Options that several commands share: each stands here once, with one meaning; groups of them are dataclasses."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from goldpanner.cli.app import OptionGroup, flag, option, print_json
from goldpanner.errors import need_lab

if TYPE_CHECKING:
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.policies.scripted import ScriptedPolicy
    from goldpanner.policies.server import ServerPolicy
    from goldpanner.result import Result
    from goldpanner.runs.config import RunConfig
    from goldpanner.sources import Log, Source
    from goldpanner.tasks.catalog import DomainConfig
    from goldpanner.tasks.task import Task as LoadedTask

MODEL = typer.Option(
    "--model", metavar="NAME", help="Model: a folder, a name on the hub, smollm2, or the name that a server has for it."
)
TASK = typer.Option("--task", metavar="NAME", help="Task: an id such as world/d3, or a data file.")
OUT = typer.Option("--out", metavar="DIR", help="Folder for all results.")
STORE = typer.Option("--store", metavar="DIR", help="Folder of a sample store, or of a run.")
PARAMS = typer.Option("--params", metavar="HASH", help="Hash of the sampling parameters, where a store has several.")
VERIFIER = typer.Option(
    "--verifier",
    metavar="NAME",
    help="Verifier to use instead of the task's own: number, math, exact, file.py:function, or another one of "
    "docs/verifiers.md.",
)
THRESHOLD = typer.Option("--threshold", metavar="R", help="Lowest reward that counts as correct.")
EXAMPLES = typer.Option("--examples", metavar="FILE", help="Worked examples for SFT, columns prompt and response.")
PROBLEMS = typer.Option("--problems", metavar="N", help="Number of problems.", min=1)
GROUP = typer.Option("--group", metavar="G", help="Group size: completions of a prompt in one RL step.", min=2)
ENGINE = typer.Option("--engine", help="Program that does the work.")

Model = Annotated[str, MODEL]
Task = Annotated[str | None, TASK]
Tasks = Annotated[list[str] | None, TASK]
Out = Annotated[Path, OUT]
OutOrNone = Annotated[Path | None, OUT]
StoreFolder = Annotated[Path, STORE]
StoreOrNone = Annotated[Path | None, STORE]
Params = Annotated[str | None, PARAMS]
Examples = Annotated[Path | None, EXAMPLES]
Problems = Annotated[int, PROBLEMS]
GroupSize = Annotated[int | None, GROUP]

Level = Annotated[float, typer.Option(metavar="P", help="Coverage of intervals and bands.")]
Ks = Annotated[str, typer.Option("--k", metavar="K,K", help="More values of k, beyond n too: 1,100,10000.")]
AllowTruncated = Annotated[
    bool,
    typer.Option(
        "--allow-truncated-sampling",
        help="Go on where top-p, top-k, temperature or a server's fault can produce zeros; the results say so.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def stored_tasks(words: list[str] | None) -> list[str] | None:
    """Return the names that a store has for the tasks of `--task`; None: all tasks."""
    if not words:
        return None
    from goldpanner.tasks.catalog import stored_names

    return stored_names(words)


@dataclass(frozen=True)
class DataOptions(OptionGroup):
    """The file of a task that reads one."""

    title = "Task"

    data: Path | None = option("Data file or folder of a task that reads one: gsm8k/test.", "PATH")
    columns: str | None = option("Columns of a data file with other names: question=NAME,answer=NAME.", "NAMES")


@dataclass(frozen=True)
class TaskOptions(DataOptions):
    """How the task that a command names is read and judged."""

    verifier: Annotated[str | None, VERIFIER] = None
    threshold: Annotated[float | None, THRESHOLD] = None
    set_aside: bool = flag("Leave out problems whose right answer the verifier cannot judge.", "--set-aside")

    def load(self, name: str, facts: "DomainConfig | None" = None, examples: Path | None = None) -> "LoadedTask":
        """Return the task; the choice of its verifier is printed where the task says so."""
        from goldpanner.tasks.catalog import task

        chosen = task(name, self.data, self.columns, self.verifier, self.threshold, facts, examples, self.set_aside)
        if chosen.note:
            typer.echo(chosen.note, err=True)
        return chosen


@dataclass(frozen=True)
class RehearsalOptions(OptionGroup):
    """Whether the verifier is tried on known answers before anything is drawn."""

    title = "Task"

    no_rehearsal: bool = flag("Do not try the verifier on known answers first.", "--no-rehearsal")

    @property
    def skip(self) -> str | None:
        """Why the rehearsal is skipped, for the record; None: it is not."""
        return "--no-rehearsal" if self.no_rehearsal else None


@dataclass(frozen=True)
class SettingsOptions(OptionGroup):
    """The settings of the lab and its trainers."""

    title = "Settings"

    config: Path | None = option("YAML file of settings.", "FILE")
    seed: int | None = option("Seed of everything random; 0 unless given.", "N")
    overrides: list[str] | None = option(
        "Setting to change, e.g. grpo.steps=20 (docs/settings.md).", "KEY=VALUE", "--set"
    )

    @property
    def changed(self) -> bool:
        """Whether settings other than the seed were given."""
        return self.config is not None or bool(self.overrides)

    def load(self) -> "RunConfig":
        """Return the settings: defaults, then the file, then the seed, then the overrides."""
        need_lab()
        from goldpanner.runs.config import RunConfig
        from goldpanner.runs.settings import load_settings

        return load_settings(RunConfig, self.config, self.overrides or (), seed=self.seed)

    def facts(self) -> "DomainConfig | None":
        """Return the facts of the lab's tasks, None where no setting was given: those of the default knobs."""
        return dataclasses.replace(self, seed=None).load().domain if self.changed else None


@dataclass(frozen=True)
class LogOptions(OptionGroup):
    """How another tool's log is read."""

    title = "Another tool's log"

    format_: str | None = option("Format of the log, where it is not recognised.", "NAME", "--format")
    threshold: Annotated[float | None, THRESHOLD] = None
    score: str | None = option("Metric, scorer or reward column that says what is correct.", "NAME")
    filter_: str | None = option("Filter of lm-evaluation-harness.", "NAME", "--filter")
    step: int | None = option("Training step to read; the others are left out.", "N")
    pool_steps: bool = flag("Count all training steps together.", "--pool-steps")
    rescore: str | None = option(
        "Verifier that judges the log's completions again: exact, number, math, file.py:function, or another "
        "one of docs/verifiers.md.",
        "NAME",
    )
    skip_partial_line: bool = flag("Leave out an incomplete last line of a log.", "--skip-partial-line")
    map_: str | None = option(
        "Columns of a table: id=NAME,correct=NAME; also text, finish, policy, prompt, n, c.", "NAMES", "--map"
    )
    join: str | None = option("File of the problems of a batch, joined by their id to its custom_id.", "FILE")

    def log(self) -> "Log":
        """Return the reader of a log that the options describe."""
        from goldpanner.sources import Log

        return Log(*dataclasses.astuple(self))


@dataclass(frozen=True)
class StoreSelection(OptionGroup):
    """Which samples of a store are counted."""

    title = "Samples of a store"

    store: StoreOrNone = None
    task: Tasks = None
    verdicts_of: str | None = option("Verifier whose verdicts are counted, e.g. world-process@1.", "NAME")
    params: Params = None

    @property
    def tasks(self) -> list[str] | None:
        """The tasks by the names that a store has for them; None: all."""
        return stored_tasks(self.task)


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """Where counts come from."""

    title = "Samples"

    selection: StoreSelection
    log: LogOptions

    def load(self, what: str) -> "Source":
        """Return the counts that an argument stands for; what was left out of a log is printed."""
        from goldpanner.sources import load_counts

        of = self.selection
        source = load_counts(
            what, of.store, tasks=of.tasks or (), verifier=of.verdicts_of, params=of.params, log=self.log.log()
        )
        for line in source.remarks:
            typer.echo(f"{what}: {line}", err=True)
        return source


@dataclass(frozen=True)
class OutputOptions(OptionGroup):
    """How a result is shown and saved."""

    title = "Output"

    save: list[Path] | None = option(
        "Save a table or figure: curve.pdf, curve.csv, table.tex, problems.csv.", "FILE", "--save"
    )
    as_json: bool = flag("Print one JSON object.", "--json")

    def show(self, name: str, result: "Result", record: Mapping[str, object], print_it: Callable[[], None]) -> None:
        """Print a result, as its record under the name of docs/json.md or as text; save its tables and figures."""
        if self.as_json:
            print_json(name, record)
        else:
            print_it()
        if self.save:
            from goldpanner.report.results import save_all

            save_all(result, self.save)
            typer.echo("\n".join(map(str, self.save)), err=True)


@dataclass(frozen=True)
class PageOptions(OutputOptions):
    """How a result that has a page is shown and saved."""

    html: Path | None = option("File for the result as an HTML page.", "FILE", "--html")


@dataclass(frozen=True)
class PolicyOptions(OptionGroup):
    """How a policy is loaded, or asked for where a server has it."""

    title = "Model"

    model: Model = ""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "Precision of the weights: auto (as saved), float32, bfloat16, float16. Each is another policy.",
        "DTYPE",
        default="auto",
    )
    concurrency: int = option("Requests to a server at the same time, per process.", "N", default=16, low=1)
    timeout: float = option("Longest time for one request.", "SECONDS", default=600, low=1)

    def load(self, name: str, override: bool = False) -> "ScriptedPolicy | LocalPolicy | ServerPolicy":
        """Return the policy of a name; a model that is fetched is announced."""
        from goldpanner.cli.display import show_message
        from goldpanner.policies.resolve import load_policy

        return load_policy(name, override=override, notify=show_message, **dataclasses.asdict(self))
