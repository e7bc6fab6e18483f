"""Progress of long work as events; whoever shows it decides how."""

import time
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


DOING = {
    "pretrain": "pretraining",
    "sft": "SFT",
    "grpo": "GRPO",
    "ppo": "PPO",
    "rft": "RFT",
    "measure": "measuring",
    "pilot": "pilot of",
}
"""What events call a piece of work -> what a person reads."""
FIRST, LAST, SHARE = 5.0, 60.0, 0.1
"""Seconds from one line to the next: a tenth of the time gone by, at least the first and at most the last of these."""


class ProgressLines:
    """Progress as plain lines, for a log: one when something begins, every so often, and when it ends.

    gp.collect(policy, task, store, goal, notify=ProgressLines(print))
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._began: dict[tuple[str, str], tuple[float, int]] = {}
        self._wrote: dict[tuple[str, str], float] = {}

    def __call__(self, event: Event) -> None:
        """Take an event: write its message, or a line where one is due."""
        if event.message:
            self._write(event.message)
            return
        key, now = (event.stage, event.doing), self._clock()
        head = f"{DOING.get(event.doing, event.doing)} {event.stage}"
        first = key not in self._began
        began, before = self._began.setdefault(key, (now, event.done))
        gone = now - began
        if event.done >= event.total > 0:
            if first or self._wrote.get(key) is not None:
                took = "" if first else f" in {duration(gone)}"  # a single event does not say how long it took
                self._write(f"{head}: done{took}  {event.note}".rstrip())
            self._wrote.pop(key, None)
        elif first:
            self._wrote[key] = now
            self._write(f"{head}: {event.done:,} of {event.total:,}  {event.note}".rstrip())
        elif now - self._wrote.setdefault(key, began) >= min(max(FIRST, SHARE * gone), LAST):
            self._wrote[key] = now
            done = event.done - before
            left = f", {duration(gone * (event.total - event.done) / done)} left" if done else ""
            self._write(f"{head}: {event.done:,} of {event.total:,}  {event.note}  ({duration(gone)} elapsed{left})")


def duration(seconds: float) -> str:
    """Return a time as `12 s`, `3 min 05 s` or `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
