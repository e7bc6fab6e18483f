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

import torch

from goldpanner.errors import InputError
from goldpanner.train.finite import check_finite

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1

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

    def restore(self, model: Any, optimizers: Sequence[torch.optim.Optimizer], kind: type[Record]) -> list[Record]:
        """Load what was saved into `model` and `optimizers`; return the finished steps' records, of class `kind`.

        Without a file nothing is touched and the list is empty. Raises InputError when the file belongs to another run
        or cannot be read.
        """
        if self.path is None or not self.path.exists():
            return []
        for scratch in self.path.parent.glob(f".{self.path.name}.*"):  # of a process that was killed while it saved
            scratch.unlink(missing_ok=True)
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            identity, records = dict(state["identity"]), list(state["records"])
        except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
            raise InputError(
                f"checkpoint {str(self.path)!r} cannot be read ({error!r}); delete it to start anew"
            ) from error
        expected = {"format": FORMAT, **self.identity}
        differing = [key for key in expected if identity.get(key) != expected[key]]
        if differing:
            key = differing[0]
            raise InputError(
                f"checkpoint {str(self.path)!r} belongs to another run: {key} was {identity.get(key)!r}, now it is "
                f"{expected[key]!r}; give another folder, the old settings, or delete the file"
            )
        model.load_state_dict(state["model"])
        for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        torch.set_rng_state(state["rng"])
        return [kind(**record) for record in records]

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
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with scratch.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self.path)
        finally:
            scratch.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def due(self, done: int, steps: int) -> bool:
        """Whether to save after `done` of `steps` steps."""
        return self.path is not None and (done == steps or done % self.every == 0)
