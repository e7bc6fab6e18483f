"""The command line: every command is a few lines over one function."""

import io
import os
import sys
from typing import Annotated

import typer

from goldpanner import __version__
from goldpanner.errors import GoldpannerError, Interrupted

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


def main() -> None:
    """Run the command line; a user's mistake prints one message without a traceback and exits with 2."""
    for stream in (sys.stdout, sys.stderr):  # an id in letters that the terminal lacks is shown escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:2] in (["measure"], ["compare"], ["plan"]):
        # before numpy is loaded: matrices are small here, and on a busy machine BLAS threads wait for one another
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:2] == ["run"]:
        # before torch is loaded: on a busy machine, threads that spin while they wait take the time of those that work
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from goldpanner.cli import fetch, instrument, lab, samples, study, verify  # noqa: F401  (registers the commands)

    try:
        app()
    except Interrupted as stop:
        typer.echo(f"interrupted: {stop}", err=True)
        sys.exit(130)
    except GoldpannerError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        typer.echo(f"error: a file or folder cannot be used: {error}", err=True)
        sys.exit(2)
