"""The application: how a command is registered, in which group the help lists it, and how its options are grouped."""

import dataclasses
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, ParamSpec, Self, TypeVar, get_args, get_type_hints

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


def option(text: str, metavar: str | None = None, *names: str, default: object = None, low: float | None = None) -> Any:
    """Return an option: a field of an `OptionGroup`, or the default of a command's own parameter.

    Args:
        text: help text.
        metavar: word that stands for the value in the help.
        names: names of the option, unless that of the field is its name.
        default: value where the option is not given.
        low: lowest value that is taken.
    """
    return dataclasses.field(
        default=default, metadata={"option": typer.Option(*names, metavar=metavar, help=text, min=low)}
    )


def flag(text: str, name: str) -> Any:
    """Return an option that is true where `name` is given."""
    return option(text, None, name, default=False)


def _parameter(name: str, default: object, kind: Any, own: object = None) -> inspect.Parameter:
    annotation = kind if own is None else Annotated[kind, own]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def is_group(kind: object) -> bool:
    """Return whether an annotation is that of a group of options."""
    return isinstance(kind, type) and issubclass(kind, OptionGroup)


@dataclasses.dataclass(frozen=True)
class OptionGroup:
    """Options that belong together: each field of a subclass is one, or a group; the help shows them under `title`."""

    title: ClassVar[str]

    def given(self) -> list[str]:
        """Return the options that differ from their defaults."""
        return [
            f"--{each.name.replace('_', '-')}"
            for each in dataclasses.fields(self)
            if getattr(self, each.name) != each.default
        ]

    @classmethod
    def parameters(cls) -> Iterator[inspect.Parameter]:
        """Give the options of the group as parameters that typer reads."""
        hints = get_type_hints(cls, include_extras=True)
        for each in dataclasses.fields(cls):
            if is_group(kind := hints[each.name]):
                yield from kind.parameters()
                continue
            kind, own = (kind, each.metadata["option"]) if each.metadata else get_args(kind)
            own = copy(own)
            own.rich_help_panel = cls.title
            default = inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
            yield _parameter(each.name, default, kind, own)

    @classmethod
    def take(cls, values: dict[str, Any]) -> Self:
        """Return the group made from its own options, which are taken out of `values`."""
        hints = get_type_hints(cls)
        parts = {each.name: hints[each.name] for each in dataclasses.fields(cls)}
        return cls(**{n: kind.take(values) if is_group(kind) else values.pop(n) for n, kind in parts.items()})


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


def subcommands(name: str, group: str, text: str) -> typer.Typer:
    """Register a command that has commands of its own, listed in `group` with the help `text`; return it."""
    commands = typer.Typer(cls=CommandsByGroup, help=text, no_args_is_help=True)
    app.add_typer(commands, name=name, rich_help_panel=group)
    return commands


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
    groups: dict[str, type[OptionGroup]] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if is_group(parameter.annotation):
            groups[name] = parameter.annotation
            parameters += parameter.annotation.parameters()
        elif isinstance(own := parameter.default, dataclasses.Field):
            parameters.append(_parameter(name, own.default, parameter.annotation, own.metadata["option"]))
        else:
            parameters.append(_parameter(name, parameter.default, parameter.annotation))

    def registered(**values: Any) -> Result:
        options = {name: group.take(values) for name, group in groups.items()}
        return function(**values, **options)  # type: ignore[call-arg, arg-type]

    registered.__name__, registered.__doc__ = function.__name__, function.__doc__
    registered.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    registered.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return registered


SCHEMA = 1
"""Version of the fields that `--json` prints (docs/results.md); a field that changes its meaning gets the next."""


def print_json(result: str, values: Mapping[str, object]) -> None:
    """Print a result as one JSON object: which it is, the version of its fields, the program's version, the values."""
    head = {"schema": f"goldpanner/{result}/{SCHEMA}", "goldpanner": __version__}
    typer.echo(json.dumps({**head, **values}, ensure_ascii=False, allow_nan=False, default=str))


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
