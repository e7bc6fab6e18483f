"""`goldpanner measure` on 10 million stored samples: seconds from a fresh process to the whole output, and of what.

    python benchmarks/measure_speed.py [--rows 10000000] [--problems 1000] [--root DIR]

The store is written first (about a minute; kept in DIR where one is given, and used again). Then the command runs in a
process of its own, as a person would call it, with the parts in the page cache.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from goldpanner.instrument import confounds
from goldpanner.measure import boundary, groups, passk
from goldpanner.measure.posterior import RateDistribution
from goldpanner.measure.profile import profile
from goldpanner.rng import stream
from goldpanner.sources import load_counts
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord, PolicyRecord
from goldpanner.types import Problem, SamplingParams

POLICY, PARAMS, KS = "0123456789abcdef", "0123456789ab", [1, 100, 100_000, 1_000_000]


def write(root: Path, rows: int, problems: int, block: int = 100_000) -> None:
    """Store `rows` samples: P ~ Beta(0.3, 1), short answers, one in a hundred without one."""
    r = stream("benchmark/measure")
    asked = sorted((Problem("benchmark", f"question {i}", "0") for i in range(problems)), key=lambda x: x.id)
    names = [problem.id for problem in asked]
    p, each, store = r.beta(0.3, 1, problems), rows // problems, Store(root)
    store.put_problems(asked)
    store.put(PolicyRecord(id=POLICY, name="base"))
    store.put(ParamsRecord.of(SamplingParams()).model_copy(update={"id": PARAMS}))

    def coded(codes: np.ndarray, values: list[str | None]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(values)).cast(pa.string())

    for start in range(0, rows, block):
        row = np.arange(start, min(start + block, rows))
        right, zero = r.random(len(row)) < p[row // each], np.zeros(len(row), np.int32)
        answer = np.where(right, 0, r.integers(1, 102, len(row)))
        store.append_table(
            pa.table(
                {
                    "run": coded(zero, ["base"]),
                    "policy": coded(zero, [POLICY]),
                    "problem": coded(row // each, names),
                    "task": coded(zero, ["benchmark"]),
                    "params": coded(zero, [PARAMS]),
                    "seed": np.zeros(len(row), np.int64),
                    "index": row % each,
                    "text": coded(answer, [f"Let me think: the answer is {i}." for i in range(102)]),
                    "logprob": -20 * r.random(len(row)),
                    "finish": coded((r.random(len(row)) < 0.02), ["stop", "length"]),
                    "outcome": coded(right, ["wrong", "correct"]),
                    "extracted": coded(answer, [*map(str, range(101)), None]),
                    "reason": coded(zero, [""]),
                    "verifier": coded(zero, ["exact@1"]),
                }
            )
        )


def timed(label: str, work: Callable[[], Any]) -> Any:
    """Run, print and return."""
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    result = work()
    seconds, busy = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    print(f"  {label:46}{seconds:8.2f} s (processor {busy:6.2f} s)", flush=True)
    return result


def parts(root: Path) -> None:
    """Print the seconds of each step of `measure` in this process."""
    counts = timed("samples to counts", lambda: load_counts("base", root))
    timed("parsing, guess floor, observed groups", lambda: confounds(counts))
    timed("pass@k with its band", lambda: passk.curve(counts, passk.choose_ks(KS[:2], int(counts.n.min()))))
    timed("every problem's interval", lambda: boundary.boundary(counts))
    rates = timed("posterior of the distribution of P", lambda: RateDistribution.of(counts))
    timed("groups", lambda: groups.expected(counts, rates=rates))
    timed("pass@k beyond n", lambda: rates.pass_at_k(KS))
    timed("all of the profile", lambda: profile(counts, KS))


def main() -> None:
    """Write the store if it is not there, time the command, then its steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--problems", type=int, default=1_000)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = options.root or Path(tempfile.mkdtemp(prefix="goldpanner-bench-"))
    try:
        if not (folder / "store").is_dir():
            write(folder / "store", options.rows, options.problems)
        command = [sys.executable, "-m", "goldpanner.cli", "measure", "base", "--store", str(folder), "--json"]
        command += ["--k", ",".join(map(str, KS))]
        print(f"{options.rows:,} samples of {options.problems:,} problems, {os.cpu_count()} cores: goldpanner measure")
        for _ in range(options.repeats):
            out = timed("the command", lambda: subprocess.run(command, check=True, capture_output=True).stdout)
        assert json.loads(out)["samples"] == options.rows
        print("its steps, in one process:")
        parts(folder)
    finally:
        if options.root is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
