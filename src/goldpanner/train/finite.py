"""Finite numbers only: an update whose loss or gradient is not finite is skipped, and such weights are never kept."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from goldpanner.errors import GoldpannerError

SKIPS_IN_A_ROW = 5
"""So many steps in a row with a skipped update stop a run."""


class NotFiniteError(GoldpannerError):
    """A run cannot go on, because its loss, gradient or weights are not finite."""


class CountsSkips(Protocol):
    """What is read of a step's record."""

    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def loss(self) -> float: ...  # noqa: D102
    @property
    def grad_norm(self) -> float: ...  # noqa: D102
    @property
    def skipped(self) -> int: ...  # noqa: D102


def step_if_finite(optimizers: Sequence[torch.optim.Optimizer], loss: float, grad_norm: float) -> bool:
    """Take the optimizers' step if the loss and the gradient norm are finite; return whether it was taken.

    A step that is not taken leaves the weights and the optimizers' state as they are.
    """
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        return False
    for optimizer in optimizers:
        optimizer.step()
    return True


def check_skips(records: Sequence[CountsSkips]) -> None:
    """Raise NotFiniteError where each of the last `SKIPS_IN_A_ROW` steps skipped an update."""
    last = records[-SKIPS_IN_A_ROW:]
    if len(last) == SKIPS_IN_A_ROW and all(record.skipped for record in last):
        raise NotFiniteError(
            f"steps {last[0].step} to {last[-1].step} skipped updates, because a loss or gradient was not finite (the "
            f"last loss is {last[-1].loss:g}, the last gradient norm {last[-1].grad_norm:g}); the last good checkpoint "
            "is kept; train with a lower learning rate in another folder"
        )


def check_gradients(model: Any, step: int) -> None:
    """Raise NotFiniteError where a gradient is not finite: to be asked before a step that others take."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise NotFiniteError(
                f"step {step}: the gradient of {name} is not finite, so the step was not taken; the last checkpoint is "
                "kept; train with a lower learning rate in another folder"
            )


def check_finite(model: Any, optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
    """Raise NotFiniteError where a weight of the model, or a number that an optimizer keeps, is not finite."""
    values = dict(model.named_parameters())
    for optimizer in optimizers:
        for index, state in enumerate(optimizer.state.values()):
            values |= {f"{name} of optimizer state {index}": value for name, value in state.items()}
    for name, value in values.items():
        if torch.is_tensor(value) and not bool(torch.isfinite(value).all()):
            raise NotFiniteError(
                f"{name} holds a number that is not finite, so it was not saved; the last good checkpoint is kept; "
                "train with a lower learning rate in another folder"
            )
