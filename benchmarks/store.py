"""The store at 5 million samples: rows/s in, megabytes on disk, seconds to counts.

    python benchmarks/store.py [--rows 5000000] [--problems 5000] [--block 50000] [--no-compact]

Each question is put to a fresh Store, as a new command would, with the parts in the page cache.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from goldpanner.rng import stream
from goldpanner.store import Store
from goldpanner.types import Completion, Outcome, Sample, Verdict

SYLLABLES = np.array(["ka", "lo", "mi", "tur", "es", "no", "vra", "pel", "qi", "dun", "sho", "ibe", "ran", "ux", "gal"])


def texts(count: int, rng: np.random.Generator) -> pa.Array:
    """Return `count` texts of about 200 characters that no compressor finds trivial."""
    words = SYLLABLES[rng.integers(0, len(SYLLABLES), (4000, 2))]
    vocabulary = np.array([a + b for a, b in words])
    return pa.array([" ".join(row) for row in vocabulary[rng.integers(0, 4000, (count, 36))]])


def constant(value: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [value]).cast(pa.string())


def block(
    start: int, count: int, per_problem: int, ids: pa.Array, text: pa.Array, rng: np.random.Generator
) -> pa.Table:
    """Return rows start ... start + count of the store, problem after problem."""
    row = np.arange(start, start + count)
    outcome = pa.DictionaryArray.from_arrays((rng.random(count) < 0.3).astype(np.int32), ["wrong", "correct"])
    finish = pa.DictionaryArray.from_arrays((rng.random(count) < 0.05).astype(np.int32), ["stop", "length"])
    tokens = pa.ListArray.from_arrays(
        np.arange(0, 24 * count + 1, 24, dtype=np.int32), rng.integers(0, 68, 24 * count, np.int32)
    )
    return pa.table(
        {
            "run": constant("base", count),
            "policy": constant("0123456789abcdef", count),
            "problem": ids.take(pa.array(row // per_problem)),
            "task": constant("world/d3", count),
            "params": constant("0123456789ab", count),
            "seed": np.zeros(count, np.int64),
            "index": row % per_problem,
            "text": text,
            "tokens": tokens,
            "logprob": -20 * rng.random(count),
            "finish": finish,
            "outcome": outcome,
            "reason": constant("", count),
            "verifier": constant("world-answer@1", count),
        }
    )


def timed(label: str, work: Callable[[], Any], rows: int = 0) -> Any:
    start, start_cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    rate = f"  {rows / seconds:12,.0f} rows/s" if rows else ""
    print(f"{label:50s} {seconds:8.3f} s (processor {cpu:7.3f} s){rate}", flush=True)
    return result


def size(root: Path) -> str:
    files = list(root.rglob("*.parquet"))
    return f"{len(files)} parts, {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--problems", type=int, default=5_000)
    parser.add_argument("--block", type=int, default=50_000)
    parser.add_argument("--no-compact", action="store_true")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="goldpanner-bench-"))
    try:
        measure(root, options)
    finally:
        shutil.rmtree(root)


def measure(root: Path, options: argparse.Namespace) -> None:
    rows, policy = options.rows, "0123456789abcdef"
    rng = stream("benchmark/store")
    ids = pa.array([f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}" for i in range(options.problems)])
    print(
        f"{rows:,} samples of {options.problems:,} problems, text of ~200 characters, 24 tokens; {os.cpu_count()} cores"
    )
    store, spent, cpu = Store(root / "big"), 0.0, 0.0
    pool = [texts(options.block, rng) for _ in range(4)]
    for number, start in enumerate(range(0, rows, options.block)):
        table = block(start, options.block, rows // options.problems, ids, pool[number % 4], rng)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        store.append_table(table)
        spent, cpu = spent + time.perf_counter() - begin, cpu + time.process_time() - begin_cpu
    rate = f"{rows / spent:12,.0f} rows/s; {size(root)}"
    print(f"{'append_table, durable':50s} {spent:8.3f} s (processor {cpu:7.3f} s)  {rate}")
    samples = [
        Sample(f"p{i // 16}", "q", "x", 0, i % 16,
               Completion("a short answer of some forty characters", tuple(range(24)), -3.0, "stop", (-0.125,) * 24),
               Verdict(Outcome.WRONG, "v@1", "42", "other answer"), "world/d1", "r", 0.0, i // 16384, i // 16)
        for i in range(80_000)
    ]  # fmt: skip
    timed("append 80,000 Sample objects", lambda: Store(root / "small").append(samples), 80_000)
    timed("read them back as Sample objects", lambda: Store(root / "small").samples(), 80_000)
    questions(root / "big", policy, ids)
    if not options.no_compact:
        timed("compact", lambda: Store(root / "big").compact(), rows)
        print(f"compacted: {size(root / 'big')}")
        questions(root / "big", policy, ids)
    timed("check (every page against its checksum)", lambda: Store(root / "big").check(), rows)
    doubled = min(rows, 1_000_000)
    for start in range(0, doubled, options.block):
        Store(root / "big").append_table(block(start, options.block, rows // options.problems, ids, pool[0], rng))
    counts = timed(f"counts with {doubled:,} rows stored twice", lambda: Store(root / "big").counts(policy))
    assert counts.n.sum() == rows, counts.n.sum()


def questions(root: Path, policy: str, ids: pa.Array) -> None:
    store = Store(root)
    counts = timed("counts per problem, de-duplicated", lambda: store.counts(policy))
    assert len(counts) == len(ids)
    timed("counts again in the same process", lambda: store.counts(policy))
    timed("drawn indices", lambda: Store(root).drawn(policy, "0123456789ab", 0))
    timed("one problem's samples", lambda: store.samples(policy=policy, problem=ids[len(ids) // 2].as_py()))


if __name__ == "__main__":
    main()
