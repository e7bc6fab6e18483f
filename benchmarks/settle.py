"""How many samples does it take to know which problems are live, mixed or dead in groups of 16?

    python benchmarks/settle.py [--problems 1000] [--repeats 5] [--group 16]

P is drawn from a population, then samples from P; the instrument sees samples alone. Two questions, on the same P for
uniform allocation (every problem gets the same n) and for `adaptive.Goal` (`--until settled --group 16`):

1. With a budget: samples a problem until the labels err no more often than a target. The label is the likeliest zone
   of `sequential.misplaced` for both.
2. Without: samples a problem until the confidence sequence has settled a share of them, and how many wrongly.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from goldpanner.measure import sequential
from goldpanner.rng import stream
from goldpanner.sampling.goal import Goal
from goldpanner.types import Counts, FloatArray

POPULATIONS = {"beta(.2, 5)": (0.2, 5.0), "beta(.3, .3)": (0.3, 0.3), "uniform": (1.0, 1.0)}
ERRORS = (0.10, 0.05, 0.03, 0.02)
SHARES = (0.80, 0.90, 0.95)
MOST, SETTLED_MOST = 40_000, 1 << 17


def adaptive(p: FloatArray, goal: Goal, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Follow a goal; return, after each round, samples a problem, shares mislabelled and settled; and wrongly so."""
    truth, n, c = np.searchsorted(goal.cuts, p), np.zeros(len(p), np.int64), np.zeros(len(p), np.int64)
    rows, wrong = [], 0.0
    while (share := goal.next(Counts.of(n, c))).any():
        n, c = n + share, c + rng.binomial(share, p)
        label = sequential.misplaced(c, n, goal.cuts)[0]
        at = sequential.zone(*sequential.confidence_sequence(c, n), goal.cuts)
        wrong = float(((at >= 0) & (at != truth)).mean())
        rows.append((n.sum() / len(p), (label != truth).mean(), (at >= 0).mean()))
    spent, error, settled = np.array(rows).T
    return spent, error, settled, wrong


def even(
    p: FloatArray, cuts: FloatArray, most: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return n, share mislabelled and share settled of uniform allocation, n on a grid."""
    truth, sizes = np.searchsorted(cuts, p), np.unique(np.geomspace(8, most, 90).astype(int))
    c, rows, last = np.zeros(len(p), np.int64), [], 0
    for n in sizes.tolist():
        c, last = c + rng.binomial(n - last, p), n
        size = np.full(len(p), n)
        at = sequential.zone(*sequential.confidence_sequence(c, size), cuts)
        rows.append((n, (sequential.misplaced(c, size, cuts)[0] != truth).mean(), (at >= 0).mean()))
    grid, error, settled = np.array(rows).T
    return grid, error, settled


def first(spent: FloatArray, met: np.ndarray) -> float:
    """Return the samples a problem from which the target is met for good; infinite where it never is."""
    missed = np.flatnonzero(~met)
    at = missed[-1] + 1 if len(missed) else 0
    return float(spent[at]) if at < len(spent) else float("inf")


def compare(
    shape: tuple[float, float], problems: int, group: int, seed: int
) -> tuple[list[tuple[float, float]], float]:
    """Return (uniform, adaptive) samples a problem for every target, and the share settled wrongly."""
    p = stream("benchmark/settle", seed, *map(str, shape)).beta(*shape, problems)
    rng = stream("benchmark/settle/samples", seed, *map(str, shape))
    budget = Goal("settled", MOST, group=group, budget=1500 * problems)
    plain = Goal("settled", SETTLED_MOST, group=group)
    grid, error, settled = even(p, budget.cuts, SETTLED_MOST, rng)
    spent, errors, _, _ = adaptive(p, budget, rng)
    all_spent, _, all_settled, wrong = adaptive(p, plain, rng)
    found = [(first(grid, error <= target), first(spent, errors <= target)) for target in ERRORS]
    found += [(first(grid, settled >= share), first(all_spent, all_settled >= share)) for share in SHARES]
    return found, wrong


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--group", type=int, default=16)
    options = parser.parse_args(arguments)
    heads = [f"error {target:.0%}" for target in ERRORS] + [f"settled {share:.0%}" for share in SHARES]
    print(f"samples a problem, uniform / adaptive = ratio; median of {options.repeats} x {options.problems} problems")
    for name, shape in POPULATIONS.items():
        runs = [compare(shape, options.problems, options.group, seed) for seed in range(options.repeats)]
        table = np.median([run[0] for run in runs], axis=0)
        print(f"\n{name}: settled wrongly {np.mean([run[1] for run in runs]):.2%} (at most 5%)")
        for head, (uniform, ours) in zip(heads, table):
            print(f"  {head:>12}  {uniform:9,.0f} / {ours:7,.0f} = {uniform / ours:5.1f}x")


if __name__ == "__main__":
    main()
