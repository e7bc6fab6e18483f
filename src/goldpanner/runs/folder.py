"""The folder of a run, a recipe, a study or a single stage: bound to one set of settings, held by one process."""

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
from goldpanner.files import replacing
from goldpanner.runs.settings import differences, load_settings
from goldpanner.types import content_hash

SETTINGS = "config.yaml"


def claim_folder(folder: Path, config: BaseModel) -> None:
    """Bind a folder to settings: write them into a new one, or check that they are those of the work that lies there.

    Args:
        folder: made where there is none.
        config: settings that determine what comes to lie in the folder.

    Raises:
        InputError: a file, a folder of something else, or of work with other settings (they are named).
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give --out the name of a folder")
    file = folder / SETTINGS
    if file.exists():
        try:
            earlier = load_settings(type(config), file)
        except InputError as error:
            raise InputError(f"{folder} holds work of another kind ({error}); give another --out") from None
        if changes := differences(earlier, config):
            shown = "; ".join(changes[:5]) + (f"; and {len(changes) - 5} more" if len(changes) > 5 else "")
            raise InputError(f"{folder} holds work with other settings ({shown}); give another --out, or delete it")
        return
    if folder.exists() and any(not path.name.startswith(".writing-") for path in folder.iterdir()):
        raise InputError(f"{folder} is not empty, and no {SETTINGS} says what it holds; give another --out")
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with replacing(file) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def lock_folder(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process while the block runs.

    Args:
        folder: an existing folder.
        wait: wait until another process has left it.

    Raises:
        InputError: another process holds it, and `wait` is False.
    """
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise InputError(f"another process is at work in {folder}; wait for it, or give another --out") from None
        yield


def default_folder(name: str, config: BaseModel, *, changed: bool) -> Path:
    """Return `runs/NAME`; where settings were `changed`, with a hash of them, as `runs/world-seed0-3fa2c1`."""
    return Path("runs") / (f"{name}-{content_hash(config.model_dump(mode='json'), 6)}" if changed else name)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    packages = ("numpy", "scipy", "torch", "transformers", "duckdb", "pyarrow")
    return {
        "goldpanner": __version__,
        "python": python_version(),
        "platform": platform(),
        **{package: version(package) for package in packages},
    }
