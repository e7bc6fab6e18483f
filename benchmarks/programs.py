"""Programs judged by one worker: forked from a warm Python against one bubblewrap and one Python each.

python benchmarks/programs.py [--rounds 5] [--programs 60]

A second by the clock, and a second of processor time (of this process, of what it starts and of the warm Python), which
a busy machine changes less.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from goldpanner.types import Problem
from goldpanner.verify import Code
from goldpanner.verify.sandbox.warm import zygote

ADD = "def add(a, b):\n    return a + b\n"
SCRIPT = "import sys\na, b = map(int, sys.stdin.read().split())\nprint(a + b)\n"
KINDS = {
    "printed": (SCRIPT, [{"stdin": "3 4\n", "stdout": "7\n"}]),
    "calls": (ADD, [{"call": "add", "args": [i, 1], "returns": i + 1} for i in range(3)]),
    "asserts": (ADD, [f"assert add({i}, 1) == {i + 1}" for i in range(7)]),
}


def processors(code: Code) -> float:
    """Seconds of processor time so far, of this process, its ended children, and the warm Python with its forks."""
    used = sum(os.times()[:4])
    warm = zygote(code.sandbox.warm_command)._process
    for pid in [] if warm is None else family(warm.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return used


def family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--programs", type=int, default=60)
    given = words.parse_args()
    code, n = Code(), given.programs
    rates: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for _ in range(given.rounds):
        for kind, (program, tests) in KINDS.items():
            problem = Problem("bench", "q", "", {"tests": tests})
            for warm in (True, False):
                object.__setattr__(code, "sandbox", replace(code.sandbox, warm=warm))
                assert code.judge(problem, program).correct
                clock, used = time.perf_counter(), processors(code)
                for _ in range(n):
                    assert code.judge(problem, program).correct
                clock, used = time.perf_counter() - clock, processors(code) - used
                rates.setdefault((kind, warm), []).append((n / clock, n / used))
    for kind in KINDS:
        for at, unit in enumerate(("s by the clock", "CPU s")):
            warm, cold = ([each[at] for each in rates[kind, which]] for which in (True, False))
            ratio = statistics.median(a / b for a, b in zip(warm, cold, strict=True))
            medians = f"warm {statistics.median(warm):6.1f}  cold {statistics.median(cold):6.1f}"
            print(f"{kind:8} a {unit:14}  {medians}  {ratio:.1f}x")


if __name__ == "__main__":
    main()
