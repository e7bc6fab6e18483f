"""Programs judged a second by one worker: forked from a warm Python against one bubblewrap and one Python each.

python benchmarks/programs.py [--rounds 5] [--programs 60]
"""

import argparse
import statistics
import time
from dataclasses import replace

from goldpanner.types import Problem
from goldpanner.verify import Code

ADD = "def add(a, b):\n    return a + b\n"
SCRIPT = "import sys\na, b = map(int, sys.stdin.read().split())\nprint(a + b)\n"
KINDS = {
    "printed": (SCRIPT, [{"stdin": "3 4\n", "stdout": "7\n"}]),
    "calls": (ADD, [{"call": "add", "args": [i, 1], "returns": i + 1} for i in range(3)]),
    "asserts": (
        ADD,
        ["def check(f):\n" + "".join(f"    assert f({i}, 1) == {i + 1}\n" for i in range(7)) + "check(add)"],
    ),
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--programs", type=int, default=60)
    given = words.parse_args()
    code = Code()
    rates: dict[tuple[str, bool], list[float]] = {}
    for _ in range(given.rounds):
        for kind, (program, tests) in KINDS.items():
            problem = Problem("bench", "q", "", {"tests": tests})
            for warm in (True, False):
                object.__setattr__(code, "sandbox", replace(code.sandbox, warm=warm))
                assert code.judge(problem, program).correct
                start = time.perf_counter()
                for _ in range(given.programs):
                    assert code.judge(problem, program).correct
                rates.setdefault((kind, warm), []).append(given.programs / (time.perf_counter() - start))
    for kind in KINDS:
        warm, cold = (statistics.median(rates[kind, each]) for each in (True, False))
        ratio = statistics.median(a / b for a, b in zip(rates[kind, True], rates[kind, False]))
        print(f"{kind:8} warm {warm:6.1f}/s  cold {cold:6.1f}/s  {ratio:.1f}x  ({code.sandbox.id})")


if __name__ == "__main__":
    main()
