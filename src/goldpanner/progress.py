"""Progress of long work as events; whoever shows it decides how."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One line of progress."""

    stage: str
    doing: str
    """`pretrain`, `sft`, `grpo` or `measure`."""
    done: int
    total: int
    note: str = ""


Notify = Callable[[Event], None]
