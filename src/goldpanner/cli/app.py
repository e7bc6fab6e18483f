"""The application that every command registers with, and the groups that its help lists them in."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from goldpanner import __version__

RUN, MEASURE, SAMPLE, TRAIN, STUDIES, STORE = "Run", "Measure", "Sample", "Train", "Studies", "Store"
"""Groups of commands in the order of the help; a command names its own as `rich_help_panel`."""


class CommandsByGroup(TyperGroup):
    """A list of commands whose help shows them in groups, each with its whole summary."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # click, by whichever name this typer has it
        """Write a section for each group that has commands."""
        commands = {name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))}
        groups = dict.fromkeys((RUN, MEASURE, SAMPLE, TRAIN, STUDIES, STORE, "Commands"))
        for group in groups:
            rows = [
                (name, command.get_short_help_str(limit=200))
                for name, command in commands.items()
                if (getattr(command, "rich_help_panel", None) or "Commands") == group
            ]
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)


app = typer.Typer(
    name="goldpanner",
    cls=CommandsByGroup,
    help="What does RL with verifiable rewards do to YOUR model? Measured before and after the run, with intervals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


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
