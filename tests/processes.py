"""Programs in processes of their own, forked from one that has imported torch: as new as `python FILE`, and sooner."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

PRELOADED = ["goldpanner.runs.lab_run", "goldpanner.train.rlvr", "pytest"]


class Ended(NamedTuple):
    """What is left of a program."""

    returncode: int
    stdout: str
    stderr: str


def context():
    """Return the `multiprocessing` context whose processes have torch imported."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    return found


def run_program(program, *arguments, cwd, env=(), timeout=300):
    """Run a script (a path) or a module (its name) to its end; `env` is added to the environment.

    What reads the environment while torch is imported does not see `env`.
    """
    out, err = (Path(cwd) / f".program.{name}" for name in ("out", "err"))
    process = context().Process(target=_be, args=(str(program), arguments, str(cwd), dict(env), str(out), str(err)))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
    ended = Ended(process.exitcode, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))
    out.unlink()
    err.unlink()
    return ended


def _be(program, arguments, cwd, env, out, err):
    for path, stream in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    os.chdir(cwd)
    os.environ |= env
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
