"""Checkpoints: everything a training stage needs to go on, in one file that appears whole or not at all.

Batches and prompts are functions of (seed, step), so the number of finished steps is the data position. On a CPU a
stage that is killed anywhere and started again ends with the same weights bit for bit.
"""

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile, ZipFile

import torch

from goldpanner.errors import InputError
from goldpanner.progress import Event, Notify, silent
from goldpanner.train.finite import check_finite
from goldpanner.train.metrics import Metrics

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 2

Record = TypeVar("Record", bound="DataclassInstance")
"""What one step of a stage leaves: a dataclass of plain values."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a stage keeps its state, how often, and what must agree before it goes on from there."""

    path: Path | None
    """The file; None keeps nothing."""
    every: int
    """Steps between saves; the last step is always saved."""
    identity: Mapping[str, object]
    """What the run is (stage, configuration, first batch, initial weights): a file of another one is refused."""
    count: int = 2
    """Files to keep: `checkpoint.pt`, and before it `checkpoint.1.pt`, ...; a damaged one is passed over."""
    metrics: Metrics | None = None
    """The metrics of the run. A file holds the rows of its steps, and they come back with its weights."""
    notify: Notify = silent
    """Told of a damaged file."""

    def files(self) -> list[Path]:
        """Return where the files are or will be, the newest first; none without a path."""
        if self.path is None:
            return []
        older = (self.path.with_suffix(f".{i}{self.path.suffix}") for i in range(1, self.count))
        return [self.path, *older]

    def restore(self, model: Any, optimizers: Sequence[torch.optim.Optimizer], kind: type[Record]) -> list[Record]:
        """Load what was saved into `model` and `optimizers`; return the finished steps' records, of class `kind`.

        The newest file that can be read is taken, and the metrics become those of its steps. Without a file the model
        is as it was, the list is empty, and the metrics have no step. Raises InputError when the file belongs to
        another run or none can be read.
        """
        files = [path for path in self.files() if path.exists()]
        if self.path is None or not files:
            if self.metrics is not None:
                self.metrics.replace([])
            return []
        for scratch in self.path.parent.glob(f".{self.path.name}.*"):  # of a process that was killed while it saved
            scratch.unlink(missing_ok=True)
        path, state = self._load(files)
        identity, records = state["identity"], state["records"]
        expected = {"format": FORMAT, **self.identity}
        differing = [key for key in expected if identity.get(key) != expected[key]]
        if differing:
            key = differing[0]
            raise InputError(
                f"checkpoint {str(path)!r} belongs to another run: {key} was {identity.get(key)!r}, now it is "
                f"{expected[key]!r}; give another folder, the old settings, or delete the file"
            )
        model.load_state_dict(state["model"])
        for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        torch.set_rng_state(state["rng"])
        if self.metrics is not None:
            self.metrics.replace(state["metrics"])
        if path != self.path:
            path.replace(self.path)  # in the place of the damaged one, which the next save would else keep for it
        return [kind(**record) for record in records]

    def _load(self, files: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
        """Return the first file that can be read, and its content; name those before it."""
        damage: list[str] = []
        for path in files:
            try:
                state = _read(path)
            except (RuntimeError, EOFError, KeyError, TypeError, OSError, BadZipFile, pickle.UnpicklingError) as error:
                damage.append(f"checkpoint {str(path)!r} cannot be read ({error!r})")
                continue
            if damage:
                text = f"{'; '.join(damage)}; going on from the one before, {path.name}, step {len(state['records'])}"
                self.notify(Event(path.parent.name, "train", message=text))
            return path, state
        raise InputError(f"{'; '.join(damage)}; delete {'it' if len(files) == 1 else 'them'} to start anew")

    def save(self, model: Any, optimizers: Sequence[torch.optim.Optimizer], records: Sequence[Record]) -> None:
        """Write the state after `len(records)` finished steps: temporary file, fsync, rename, fsync of the folder.

        Raises NotFiniteError, and leaves the last file as it is, where a weight or a number of an optimizer is not
        finite.
        """
        if self.path is None:
            return
        check_finite(model, optimizers)
        state = {
            "identity": {"format": FORMAT, **self.identity},
            "records": [asdict(record) for record in records],
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "rng": torch.get_rng_state(),
            "metrics": [] if self.metrics is None else self.metrics.rows(len(records)),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with scratch.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            files = self.files()
            for newer, older in zip(files[-2::-1], files[:0:-1]):
                if newer.exists():
                    newer.replace(older)
            scratch.replace(self.path)
        finally:
            scratch.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def due(self, done: int, steps: int) -> bool:
        """Whether to save after `done` of `steps` steps."""
        return self.path is not None and (done == steps or done % self.every == 0)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a file, each part of it compared with its checksum."""
    with ZipFile(path) as archive:
        if part := archive.testzip():
            raise BadZipFile(f"{part} was changed")
    state = dict(torch.load(path, map_location="cpu", weights_only=True))
    return state | {"identity": dict(state["identity"]), "records": list(state["records"])}
