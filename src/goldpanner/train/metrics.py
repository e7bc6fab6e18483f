"""`metrics.jsonl`: a line for each step of a run, each step once, whatever a killed process left behind."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from goldpanner.files import write_atomically


class Metrics:
    """The file of one run, open for appending."""

    def __init__(self, path: Path, repeated_from: float = math.inf) -> None:
        """Read the lines of earlier processes, and write back those that count.

        Args:
            path: the file; it need not exist.
            repeated_from: the run will write this step and those after it again, so their lines are removed. By
                default every whole line stays. A line that was cut off when its process was killed never does.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines: dict[float, str] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            if (step := _step(line)) < repeated_from:
                self._lines[step] = line
        if path.exists():
            self._write()

    @property
    def steps(self) -> set[float]:
        """Steps that have their line."""
        return set(self._lines)

    def rows(self, done: int) -> list[str]:
        """Return the lines of the first `done` steps, and of what was measured before them."""
        return [line for step, line in self._lines.items() if step < done]

    def replace(self, rows: Iterable[str]) -> None:
        """Make these the lines; what was measured before the first step stays."""
        first = [line for step, line in self._lines.items() if step < 0]
        self._lines = {_step(line): line for line in (*first, *rows)}
        self._write()

    def _write(self) -> None:
        text = "".join(f"{line}\n" for line in self._lines.values())
        write_atomically(self.path, lambda file: file.write(text.encode()))

    def add(self, record: Mapping[str, object]) -> None:
        """Append the record of a step; one that has its line already is left as it is."""
        step = record["step"]
        assert isinstance(step, int)
        if step not in self._lines:
            self._lines[step] = json.dumps(record)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self._lines[step] + "\n")


def _step(line: str) -> float:
    """Return the step of a line, infinity for one that was cut off."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
