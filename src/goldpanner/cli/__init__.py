"""The command line: every command is a few lines over one function."""

import io
import os
import signal
import sys

import typer

from goldpanner.cli.app import app
from goldpanner.errors import GoldpannerError, Interrupted


def application() -> typer.Typer:
    """Return the application with every command registered."""
    from goldpanner.cli import answer, exchange, instrument, judge, run, sample, study, tasks, train, verify_check  # noqa: F401

    return app


def main() -> None:
    """Run the command line; a user's mistake prints one message without a traceback and exits with 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it (Slurm, Docker, kill) gets a Ctrl-C
    for stream in (sys.stdout, sys.stderr):  # an id in letters that the terminal lacks is shown escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:2] in (["measure"], ["compare"], ["plan"], ["power"]):
        # before numpy is loaded: matrices are small here, and on a busy machine BLAS threads wait for one another
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:2] == ["run"]:
        # before torch is loaded: on a busy machine, threads that spin while they wait take the time of those that work
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        application()()
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
