"""Progress of long work as events; whoever shows it decides how."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """How far one piece of work is, or a message about it."""

    stage: str
    """What is worked on: a stage, a run or a policy."""
    doing: str
    """`pretrain`, `sft`, `grpo`, `measure`, `sample`, ..."""
    done: int = 0
    total: int = 0
    note: str = ""
    """What to watch beside the numbers; replaced by the next event's."""
    message: str = ""
    """Lines that a person should read, now; an event with a message says nothing of progress."""


Notify = Callable[[Event], None]


def silent(event: Event) -> None:
    """Take an event and show nothing."""
