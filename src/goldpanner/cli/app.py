"""The application that every command registers with."""

from typing import Annotated

import typer

from goldpanner import __version__

app = typer.Typer(
    name="goldpanner",
    help="What does RL with verifiable rewards do to YOUR model? Measured before and after the run, with intervals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"goldpanner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
