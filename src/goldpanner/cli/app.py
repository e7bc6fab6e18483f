"""The application: how a command is registered, in which group the help lists it, and how its options are grouped."""

import dataclasses
import inspect
import shlex
import sys
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, ParamSpec, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from goldpanner import __version__

RUN, MEASURE, SAMPLE, TRAIN, STUDIES, STORE = GROUPS = ("Run", "Measure", "Sample", "Train", "Studies", "Store")
"""Groups of commands in the order of the help."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class CommandsByGroup(TyperGroup):
    """A list of commands whose help shows them in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # click, by whichever name this typer has it
        """Write a section for each group that has commands."""
        rows = [
            (str(getattr(command, "rich_help_panel", "")), (name, command.get_short_help_str(limit=200)))
            for name, command in self.commands.items()
        ]
        write_sections(formatter, sorted(rows, key=lambda row: GROUPS.index(row[0])))


class OptionsByGroup(TyperCommand):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for the arguments, the command's own options, and each group of options."""
        rows = []
        for parameter in self.get_params(ctx):
            title = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if (row := parameter.get_help_record(ctx)) is not None:
                rows.append((getattr(parameter, "rich_help_panel", None) or title, row))
        write_sections(formatter, rows)


def write_sections(formatter: Any, rows: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Write rows of a help under the titles that stand before them, in the order of each title's first row."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for title, row in rows:
        sections.setdefault(title, []).append(row)
    for title, group in sections.items():
        with formatter.section(title):
            formatter.write_dl(group)


@dataclasses.dataclass(frozen=True)
class OptionGroup:
    """Options that belong together: each field of a subclass is one, and the help shows them under `title`."""

    title: ClassVar[str]

    def given(self) -> list[str]:
        """Return the options that differ from their defaults."""
        return [
            f"--{each.name.replace('_', '-')}"
            for each in dataclasses.fields(self)
            if getattr(self, each.name) != each.default
        ]


app = typer.Typer(
    name="goldpanner",
    cls=CommandsByGroup,
    help="What does RL with verifiable rewards do to YOUR model? Measured before and after the run, with intervals.\n\n"
    "Example: goldpanner run --seed 1",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def cli_command(
    name: str, group: str, of: typer.Typer = app
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Register a function as a command. A parameter that is an `OptionGroup` is taken apart into its options.

    Args:
        name: name of the command.
        group: group that the help lists it in, one of `GROUPS`.
        of: application that the command belongs to.
    """

    def register(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        of.command(name, cls=OptionsByGroup, rich_help_panel=group)(with_options(function))
        return function

    return register


def with_options(function: Callable[Parameters, Result]) -> Callable[..., Result]:
    """Return a function that takes every option by itself, puts the groups together and calls `function`."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[OptionGroup], list[str]]] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        group = parameter.annotation
        if not (isinstance(group, type) and issubclass(group, OptionGroup)):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        hints = get_type_hints(group, include_extras=True)
        parts = dataclasses.fields(group)
        groups[name] = group, [part.name for part in parts]
        for part in parts:
            kind, option = get_args(hints[part.name])
            option = copy(option)
            option.rich_help_panel = group.title
            default = inspect.Parameter.empty if part.default is dataclasses.MISSING else part.default
            parameters.append(
                inspect.Parameter(
                    part.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
                )
            )

    def registered(**values: Any) -> Result:
        options = {name: group(**{part: values.pop(part) for part in parts}) for name, (group, parts) in groups.items()}
        return function(**values, **options)  # type: ignore[call-arg, arg-type]

    registered.__name__, registered.__doc__ = function.__name__, function.__doc__
    registered.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    registered.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return registered


def command_line() -> str:
    """Return the command as it was typed, the program by its name alone."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"goldpanner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
