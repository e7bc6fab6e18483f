"""`metrics.jsonl`: a line for each step of a run, each step once, whatever a killed process left behind."""

import json
import math
from collections.abc import Mapping
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
        lines: dict[float, str] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            if (step := _step(line)) < repeated_from:
                lines[step] = line
        if path.exists():
            text = "".join(f"{line}\n" for line in lines.values())
            write_atomically(path, lambda file: file.write(text.encode()))
        self.steps = set(lines)
        """Steps that have their line."""

    def add(self, record: Mapping[str, object]) -> None:
        """Append the record of a step; one that has its line already is left as it is."""
        step = record["step"]
        assert isinstance(step, int)
        if step not in self.steps:
            self.steps.add(step)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def _step(line: str) -> float:
    """Return the step of a line, infinity for one that was cut off."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
