"""The folder of a run: held by one process at a time, bound to one set of settings."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version

import yaml
from pydantic import BaseModel

from goldpanner import __version__
from goldpanner.errors import InputError
from goldpanner.runs import settings

STUDY = "story"


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the folder for this process; raises InputError when another one is telling its story there."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another process is at work in {out}; wait for it, or give another --out") from None
        yield


def claim(config: BaseModel, out: Path) -> None:
    """Write the settings into `out`, or check that they are those of the story that is there."""
    file = out / "config.yaml"
    if file.exists():
        try:
            there = settings.load(type(config), file)
        except InputError as error:
            raise InputError(f"{out} holds a run of another kind ({error}); give another --out") from None
        changed = settings.differences(there, config)
        if changed:
            shown = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
            raise InputError(f"{out} holds a story with other settings ({shown}); give another --out, or delete it")
        return
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give --out the name of a folder")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no story; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / ".config.yaml"
    scratch.write_text(
        yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    scratch.replace(file)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    packages = ("numpy", "scipy", "torch", "transformers", "duckdb", "pyarrow")
    return {
        "goldpanner": __version__,
        "python": python_version(),
        "platform": platform(),
        **{package: version(package) for package in packages},
    }
