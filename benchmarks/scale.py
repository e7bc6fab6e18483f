"""What a sample costs in bytes and in time, for docs/scale.md: by length and what is kept; many parts; resuming.

python benchmarks/scale.py        # a minute or two, 1.5 GB of memory
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from goldpanner.rng import stream
from goldpanner.store import Store
from goldpanner.types import Completion, Outcome, Sample, Verdict

WORDS = 32_000


def table(rows: int, tokens: int, keep: str, per_problem: int = 1000) -> pa.Table:
    """Return rows of `tokens` tokens each, of about 4 characters; which tokens is a Zipf law over 32,000."""
    rng = stream("benchmarks/scale", rows, tokens)
    size = rng.integers(2, 7, WORDS)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), n)) for n in size])
    ids = (rng.zipf(1.3, rows * tokens) % WORDS).astype(np.int32)
    text = [" ".join(words[part]) for part in ids.reshape(rows, tokens)]
    offsets = np.arange(0, rows * tokens + 1, tokens, dtype=np.int32)
    row = np.arange(rows)
    columns = {
        "run": ["r"] * rows, "policy": ["0123456789abcdef"] * rows, "task": ["gsm8k/train"] * rows,
        "problem": [f"{i:016x}" for i in row // per_problem], "params": ["0123456789ab"] * rows,
        "seed": np.zeros(rows, np.int64), "index": row % per_problem, "text": text,
        "finish": ["stop"] * rows, "outcome": np.array(["wrong", "correct"])[(rng.random(rows) < 0.3).astype(int)],
        "reason": [""] * rows, "verifier": ["number@1"] * rows, "logprob": -rng.random(rows) * tokens,
    }  # fmt: skip
    if "tokens" in keep:
        columns["tokens"] = pa.ListArray.from_arrays(offsets, ids)
    if "logprobs" in keep:
        values = (-rng.exponential(0.5, rows * tokens)).astype(np.float32)
        columns["token_logprobs"] = pa.ListArray.from_arrays(offsets, values)
    return pa.table(columns)


def on_disk(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.parquet"))


def sizes(folder: Path) -> None:
    print("bytes a sample on disk: its text | and token ids | and a log-probability a token")
    for tokens, rows in ((24, 50_000), (256, 8_000), (2048, 1_000), (16_384, 150)):
        found = []
        for keep in ("text", "text+tokens", "text+tokens+logprobs"):
            store = Store(folder / f"{tokens}-{keep}")
            store.append_table(table(rows, tokens, keep))
            found.append(on_disk(store.root) / rows)
        print(f"  {tokens:6,} tokens: " + " | ".join(f"{size:10,.0f}" for size in found))


def objects(folder: Path) -> None:
    rows, store = 50_000, Store(folder / "objects")
    verdict = Verdict(Outcome.WRONG, "number@1")
    samples = [
        Sample(f"{i // 1000:016x}", "p", "q", 0, i % 1000, Completion("x " * 24, tuple(range(24)), -1.0), verdict)
        for i in range(rows)
    ]
    started = time.perf_counter()
    with store.writer() as writer:
        writer.write(samples)
    print(f"samples as a policy hands them over (24 tokens): {rows / (time.perf_counter() - started):,.0f} rows/s")


def parts(folder: Path) -> None:
    number, rows, store = 2_000, 50, Store(folder / "parts")
    whole = table(number * rows, 8, "text", per_problem=100)
    started = time.perf_counter()
    for start in range(0, number * rows, rows):
        store.append_table(whole.slice(start, rows))
    took, size = (time.perf_counter() - started) / number, on_disk(store.root) / number
    print(f"a part (synced): {took * 1e3:.1f} ms, at {rows} rows {size / 1024:.1f} kB")
    for name in ("first", "again"):
        started = time.perf_counter()
        fresh = Store(store.root)
        fresh.counts("0123456789abcdef")
        print(f"counts over {number:,} parts, {name}: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    store.compact()
    done = time.perf_counter() - started
    started = time.perf_counter()
    Store(store.root).counts("0123456789abcdef")
    print(f"compacting them: {done:.2f} s; counts then: {time.perf_counter() - started:.2f} s")


def resuming(folder: Path) -> None:
    rows, store = 2_000_000, Store(folder / "resume")
    for start in range(0, rows, 500_000):
        part = table(500_000, 1, "none", per_problem=1000)
        problems = [f"{(start + i) // 1000:016x}" for i in range(500_000)]
        store.append_table(part.set_column(part.column_names.index("problem"), "problem", pa.array(problems)))
    del part, problems
    started = time.perf_counter()
    drawn = store.drawn("0123456789abcdef", "0123456789ab", 0)
    took = time.perf_counter() - started
    held = sum(sys.getsizeof(indices) for indices in drawn.values()) / rows + sys.getsizeof(1000)
    print(f"which of {rows:,} samples are there ({len(drawn):,} problems): {took:.2f} s, {held:.0f} bytes each")
    started = time.perf_counter()
    report = store.compact()
    print(f"compacting {report.rows['samples']:,} short rows: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for step in (resuming, sizes, objects, parts):
            step(Path(name))
