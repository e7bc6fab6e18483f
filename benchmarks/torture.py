"""What must hold under attack, tried at random: kills, flipped bits, hostile completions, too little memory or disk.

    make test-torture        (or: python benchmarks/torture.py [--minutes 10] [--seed 0] [--lite])

Prints one line a kind: trials, and how many did not hold. The exit status is 1 if one did not.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from goldpanner.errors import StoreError
from goldpanner.rng import stream
from goldpanner.sampling.rollout import judge
from goldpanner.store import Store
from goldpanner.types import Completion, Outcome, Problem, Sample, Verdict
from goldpanner.verify import Exact, Verifier
from goldpanner.verify.named import VERIFIERS

CHILD = """
import resource, sys
kind, limit = sys.argv[2], int(sys.argv[3])
from goldpanner.store import Store
from goldpanner.errors import StoreError
from goldpanner.types import Completion, Outcome, Sample, Verdict
store = Store(sys.argv[1])
def rows(start, n):
    verdict = Verdict(Outcome.WRONG, "v@1")
    return [Sample("p1", "policy", "params", 0, start + i, Completion("x" * 400), verdict) for i in range(n)]
try:
    if kind == "write":
        for block in range(10**6):
            samples = rows(50 * block, 50)
            with store.writer() as sink:
                sink.write(samples, [(s, Verdict(Outcome.CORRECT, "w@1")) for s in samples])
            print(block + 1, flush=True)
            if block % 7 == 6:
                store.compact()
    elif kind == "disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for block in range(40):
            store.append(rows(10**6 + 50 * block, 50))
        store.compact()
    else:
        store.samples(limit=1)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
        Store(sys.argv[1]).check()
        Store(sys.argv[1]).repair()
        Store(sys.argv[1]).samples()
except (StoreError, MemoryError) as error:
    print("one line:", error)
"""

PIECES = [
    "\\boxed{", "}", "{", "\\frac", "$", "\\", "\0", "\x1b[2J", "\x1b]0;x\x07", "\ud800", "\u202e", "9" * 500,
    "1e999999",
    "10**10**10", "__import__('os')", "The answer is ", "nan", "inf", "-", ".", ",", "\n", "((((((((",
    "[[[[",
    "\\left(", "=", "²", "½", "٣", "𝟙", "<|endoftext|>", "```python\n", "```", "#### ", "sqrt(", "!", "%", "^^^",
    "é", "\ufeff",
]  # fmt: skip


def start(root: Path, kind: str, limit: int = 0) -> subprocess.Popen[str]:
    """Start a child that works on a store."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), kind, str(limit)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def kill(root: Path, rng: np.random.Generator) -> str:
    """Kill a writer that also compacts at a random instant; return what did not hold."""
    child = start(root, "write")
    assert child.stdout is not None
    said = 0
    for _ in range(int(rng.integers(1, 13))):
        said = int(child.stdout.readline() or said)
    time.sleep(rng.random() * 0.05)
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate()
    said = int(rest.split()[-1]) if rest.split() else said
    store = Store(root)
    counts = store.counts("policy", verifier="v@1")
    problems = [] if store.check().ok else [str(store.check())]
    if counts.n[0] < 50 * said or counts.n[0] % 50:
        problems.append(f"{said} blocks were written, {counts.n[0]} samples are there")
    if store.counts("policy", verifier="w@1").c[0] < 50 * said:
        problems.append("a verdict is lost")
    return "; ".join(problems)


def flip(root: Path, rng: np.random.Generator) -> str:
    """Flip one bit of a part of a sound store, and back; return what did not hold."""
    paths = sorted(root.glob("*/*.parquet"))
    path = paths[int(rng.integers(len(paths)))]
    whole = path.read_bytes()
    content, place = bytearray(whole), int(rng.integers(8 * len(whole)))
    content[place // 8] ^= 1 << (place % 8)
    path.write_bytes(content)
    try:
        Store(root).sql("SELECT * FROM samples JOIN verdicts USING (problem, policy, params, seed, index)")
    except StoreError:
        return ""
    finally:
        path.write_bytes(whole)
    return f"bit {place} of {path.name} was not noticed"


def limited(root: Path, rng: np.random.Generator, kind: str) -> str:
    """Work on a sound store with little memory or disk; return what did not hold."""
    limit = int(rng.integers(1_000, 60_000)) if kind == "disk" else int(rng.integers(1, 200)) << 20
    before = int(Store(root).counts("policy", verifier="v@1").n[0])
    child = start(root, kind, limit)
    _, errors = child.communicate()
    store = Store(root)
    report = store.check()
    if not report.ok or any((root / "damaged").glob("*/samples/*.parquet")):
        return f"{kind} {limit}: {report}"
    if store.counts("policy", verifier="v@1").n[0] < before:
        return f"{kind} {limit}: samples are lost"
    if kind == "disk" and child.returncode:
        return f"{kind} {limit}: no clear line, but {errors[-300:]}"
    return ""


def hostile(judges: list[Verifier], rng: np.random.Generator) -> str:
    """Judge a random text that holds no right answer with each verifier; return what did not hold."""
    text = "".join(PIECES[i] for i in rng.integers(0, len(PIECES), int(rng.integers(1, 41))))
    problem = Problem("torture", "What?", "734218")
    for verifier in judges:
        began = time.monotonic()
        verdict = judge(verifier, problem, Completion(text))
        if not isinstance(verdict, Verdict) or verdict.outcome is Outcome.CORRECT:
            return f"{verifier.id} says {verdict} of {text!r}"
        if "raised" in verdict.reason:
            return f"{verifier.id}: {verdict.reason} of {text!r}"
        if time.monotonic() - began > 30:
            return f"{verifier.id} took {time.monotonic() - began:.0f} s for {text!r}"
    return ""


def sound_store(root: Path) -> Path:
    """Write a small store with several parts of both kinds."""
    rows = [
        Sample("p1", "policy", "params", 0, i, Completion(f"{i} " * 60), Verdict(Outcome.CORRECT, "v@1"))
        for i in range(200)
    ]
    for i in range(0, 200, 50):
        with Store(root).writer() as sink:
            sink.write(rows[i : i + 50], [(row, Verdict(Outcome.WRONG, "w@1")) for row in rows[i : i + 50]])
    return root


def run(seconds: float, seed: int, least: int = 1, most: int = 10**6) -> dict[str, dict[str, object]]:
    """Try each kind for its share of the time; return trials and failures by kind."""
    rng, results = stream("torture", seed), dict[str, dict[str, object]]()
    judges: list[Verifier] = [Exact(), VERIFIERS["number"](), VERIFIERS["math"]()]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store = sound_store(place / "sound")
        kinds: dict[str, tuple[float, Callable[[int], str]]] = {
            "kills of a writer": (0.4, lambda i: kill(place / f"kill{i}", rng)),
            "flipped bits": (0.1, lambda i: flip(store, rng)),
            "little memory": (0.15, lambda i: limited(store, rng, "memory")),
            "full disk": (0.1, lambda i: limited(sound_store(place / f"disk{i}"), rng, "disk")),
            "hostile completions": (0.25, lambda i: hostile(judges, rng)),
        }
        for name, (share, trial) in kinds.items():
            began, failures, trials = time.monotonic(), list[str](), 0
            while trials < least or (trials < most and time.monotonic() - began < share * seconds):
                failures += [failure] if (failure := trial(trials)) else []
                trials += 1
            results[name] = {"trials": trials, "failures": failures}
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lite", action="store_true")
    options = parser.parse_args()
    results = run(0, options.seed, 2, 2) if options.lite else run(60 * options.minutes, options.seed)
    for name, result in results.items():
        failures = result["failures"]
        assert isinstance(failures, list)
        print(f"{name:22} {result['trials']:>8,} trials, {len(failures)} did not hold", *failures[:3], sep="\n    ")
    print(json.dumps({name: [r["trials"], len(r["failures"])] for name, r in results.items()}))  # type: ignore[arg-type]
    sys.exit(any(r["failures"] for r in results.values()))
