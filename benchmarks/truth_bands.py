"""Do the pass@k bands, the tests and the estimator hold? Figures 1, 2, 3 and half of 7, each against the truth.

    python benchmarks/truth_bands.py                     # everything, 1,000 repetitions: about half an hour on one core
    python benchmarks/truth_bands.py --reps 100 --problems 15,30
    pip install --target DIR passk-inference==0.3.1; PYTHONPATH=DIR python ...   # measures it beside ours

Problems are drawn from a population, P(correct) of each is known, n answers are drawn: does the 95% band hold the
population's whole curve, k = 1 ... n, at once?
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaln
from scipy.stats import beta

from goldpanner import rng
from goldpanner.measure import passk
from goldpanner.measure.changes import changes
from goldpanner.measure.compare import compare, difference
from goldpanner.types import Counts, FloatArray, IntArray

try:
    from passk_inference import core as competitor
except ImportError:
    competitor = None

POPULATIONS = {"rare": (0.2, 5.0), "u-shaped": (0.3, 0.3), "uniform": (1.0, 1.0)}
RL: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "same policy": lambda p, other: p,
    "another policy": lambda p, other: other,
    "sharpened": lambda p, other: np.where(p > 0.02, 1 - (1 - p) ** 8, 0.0),
    "improved": lambda p, other: np.sqrt(p),
}
"""What RL made of P: the difference's truth. `other` is an independent draw from the same population."""


def draw(population: str, size: int, generator: np.random.Generator) -> FloatArray:
    return generator.beta(*POPULATIONS[population], size)


def true_curve(population: str, k: IntArray) -> FloatArray:
    """E[1 - (1-p)^k] = 1 - B(a, b+k)/B(a, b)."""
    a, b = POPULATIONS[population]
    log_ratio: FloatArray = betaln(a, b + k) - betaln(a, b)
    return -np.expm1(log_ratio)


def true_difference(population: str, kind: str, k: IntArray) -> FloatArray:
    """Exact where RL's population is the base's own; else the mean over 50,000 quantiles (error about 1e-5)."""
    if kind in ("same policy", "another policy"):
        return np.zeros(len(k))
    p = beta.ppf((np.arange(50_000) + 0.5) / 50_000, *POPULATIONS[population])
    log_fail = np.log1p(-np.minimum(RL[kind](p, p), 1 - 1e-16))
    return np.array([-np.expm1(each * log_fail).mean() for each in k]) - true_curve(population, k)


def sampled(p: FloatArray, n: int, generator: np.random.Generator) -> Counts:
    return Counts.of(np.full(len(p), n), generator.binomial(n, p))


def coverage(population: str, kind: str | None, m: int, n: int, reps: int) -> dict[str, Any]:
    """Coverage and mean width of the band of one curve (kind None) or of the difference; the competitor's beside it."""
    generator = rng.stream("truth/bands", population, str(kind), m, n)
    k = np.arange(1, n + 1)
    coarse = np.unique(np.round(np.geomspace(1, n, 48)).astype(np.int64)) - 1
    truth = true_curve(population, k) if kind is None else true_difference(population, kind, k)
    low, high, width, theirs = 0, 0, 0.0, 0
    for _ in range(reps):
        p = draw(population, m, generator)
        base = sampled(p, n, generator)
        if kind is None:
            band = passk.curve(base, k)
        else:
            rl = sampled(RL[kind](p, draw(population, m, generator)), n, generator)
            band = difference(base, rl, k)
        low += bool((band.low > truth + 1e-9).any())
        high += bool((band.high < truth - 1e-9).any())
        width += float((band.high - band.low).mean()) / reps
        if competitor is not None:
            rows = passk.rows_of(base.n, base.c, k[coarse])
            rows = rows if kind is None else passk.rows_of(rl.n, rl.c, k[coarse]) - rows
            found = competitor.simultaneous_band(rows, bootstrap=1000)
            inside = (found["lower"] <= truth[coarse] + 1e-9) & (found["upper"] >= truth[coarse] - 1e-9)
            inside[found["degenerate_columns"]] = True
            theirs += bool(inside.all())
    row = {"problems": m, "n": n, "population": population, "of": kind or "one model", "reps": reps}
    row |= {"covered": 1 - (low + high) / reps, "above": low / reps, "below": high / reps, "width": width}
    return row | ({} if competitor is None else {"passk-inference": theirs / reps})


def same_policy(population: str, m: int, n: int, reps: int) -> dict[str, Any]:
    """A/A: two draws from one policy. How often is a gain or loss declared, and how often any difference?"""
    generator = rng.stream("truth/same-policy", population, m, n)
    declared, words, few = 0, 0, max(1, reps // 5)
    for rep in range(reps):
        p = draw(population, m, generator)
        base, again = sampled(p, n, generator), sampled(p, n, generator)
        declared += bool(changes(base, again).established.any())
        if rep < few:
            words += compare(base, again).verdict not in ("no difference shown", "cannot be decided from these samples")
    return {
        "problems": m, "n": n, "population": population, "reps": reps,
        "established": declared / reps, "a difference, in words": words / few,
    }  # fmt: skip


def estimator() -> dict[str, Any]:
    """pass@k against enumeration (every n <= 40), and against exact integers at n = 1e6, k = 1e5."""
    cases = [(n, c, k) for n in range(1, 41) for c in range(n + 1) for k in range(1, n + 1)]
    n, c, k = np.array(cases).T
    exact = np.array([1 - Fraction(comb(b - x, j), comb(b, j)) for b, x, j in cases], dtype=np.float64)
    worst = float(np.abs(passk.pass_at_k(n, c, k) - exact).max())
    big, many = 10**6, 10**5
    few = np.array([1, 2, 3, 10, 100, 1000, 10**5, 9 * 10**5 - 1, 9 * 10**5, 9 * 10**5 + 1, 10**6])
    product = [1.0 if x > big - many else -np.expm1(np.log1p(-many / (big - np.arange(x))).sum()) for x in few]
    at = passk.pass_at_k(big, few, many)
    every = passk.pass_at_k(big, np.arange(big + 1), many)
    return {
        "largest error against enumeration, n <= 40": worst,
        "largest relative error at n = 1e6, k = 1e5": float(np.abs(at / np.array(product) - 1).max()),
        "outside [0, 1] or not monotone in c at n = 1e6": int(
            ((every < 0) | (every > 1)).sum() + (np.diff(every) < 0).sum()
        ),
    }


def speed(m: int = 1000, n: int = 1024) -> dict[str, float]:
    """Seconds for 1,000 problems x k = 1 ... 1,024: one model's band, and the paired one; best of three for ours."""
    generator = rng.stream("truth/speed")
    p = draw("rare", m, generator)
    base, rl = sampled(p, n, generator), sampled(np.sqrt(p), n, generator)
    k = np.arange(1, n + 1)

    def clock(work: Callable[[], object], times: int) -> float:
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        return min(taken)

    out = {
        "one model, ours": clock(lambda: passk.curve(base, k), 3),
        "paired, ours": clock(lambda: (passk.curve(base, k), passk.curve(rl, k), difference(base, rl, k)), 3),
    }
    if competitor is not None:

        def alone() -> None:
            competitor.simultaneous_band(np.column_stack([competitor.pass_at_k(base.c, base.n, int(j)) for j in k]))

        out["one model, passk-inference"] = clock(alone, 1)
        out["paired, passk-inference"] = clock(lambda: competitor.compare(base.c, base.n, rl.c, rl.n), 1)
        for name in ("one model", "paired"):
            out[f"{name}, times faster"] = out[f"{name}, passk-inference"] / out[f"{name}, ours"]
    return out


def show(row: dict[str, Any]) -> None:
    cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()]
    print(" | ".join(f"{name} {cell}" for name, cell in zip(row, cells)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--problems", default="15,30,100,500")
    parser.add_argument("--samples", default="64,256")
    parser.add_argument("--of", default="one model," + ",".join(RL), help="which bands")
    parser.add_argument("--only", choices=["coverage", "same-policy", "estimator", "speed"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes, samples = ([int(x) for x in text.split(",")] for text in (options.problems, options.samples))
    result: dict[str, Any] = {}

    def part(name: str, rows: Callable[[], list[dict[str, Any]]]) -> None:
        if options.only in (None, name):
            print(f"\n{name}")
            result[name] = rows()

    def shown(row: dict[str, Any]) -> dict[str, Any]:
        show(row)
        return row

    grid = list(itertools.product(sizes, samples, POPULATIONS))
    part("estimator", lambda: [shown(estimator())])
    part("speed", lambda: [shown(speed())])
    part("same-policy", lambda: [shown(same_policy(p, m, n, options.reps)) for m, n, p in grid])
    kinds = [None if kind == "one model" else kind for kind in options.of.split(",")]
    part(
        "coverage",
        lambda: [shown(coverage(p, kind, m, n, options.reps)) for kind in kinds for m, n, p in grid],
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
