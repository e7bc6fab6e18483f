"""How well is pass@k beyond n known on real counts? Many samples a problem are thinned to 100, and asked for the rest.

    python benchmarks/real_counts.py COUNTS.csv [--repeats 4]

COUNTS.csv has the columns benchmark, model, problem, n, c. Of each benchmark and model 100 samples a problem are drawn
without replacement; truth is the unbiased pass@k of all samples at k = 10,000, or the smallest n where that is less.
Sets with a mean P of 1e-4 and less stand apart. Beside the mean |error| stands that of the exponentiated power law,
with the difference between the two and its standard error over the models.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from baselines import predict

from goldpanner import rng
from goldpanner.measure import passk
from goldpanner.measure.posterior import PARTICLES, RateDistribution
from goldpanner.types import Counts, IntArray

N, K, LEVEL, RARE = 100, 10_000, 0.90, 1e-4


def read_sets(path: Path) -> dict[tuple[str, str], tuple[IntArray, IntArray]]:
    """Return (n, c) of the problems of every (benchmark, model)."""
    rows = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["benchmark"], row["model"]].append((int(row["n"]), int(row["c"])))
    return {key: (np.array([n for n, _ in pairs]), np.array([c for _, c in pairs])) for key, pairs in rows.items()}


def main() -> None:
    """Print one row a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=Path)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--particles", type=int, default=PARTICLES)
    options = parser.parse_args()
    groups: dict[str, list[list[tuple[float, ...]]]] = defaultdict(list)
    for (benchmark, model), (n, c) in read_sets(options.counts).items():
        k = min(K, int(n.min()))
        truth = float(np.mean(passk.pass_at_k(n, c, k)))
        results = []
        for repeat in range(options.repeats):
            some = rng.stream("benchmark", "real", benchmark, model, repeat).hypergeometric(c, n - c, N)
            rates = RateDistribution.of(Counts.of([N] * len(n), some), repeat, options.particles)
            e = rates.pass_at_k([k], LEVEL)[0]
            other = float(predict("power-law", rates.judged.tally, np.array([k]))[0])
            hit = e.low - 1e-9 <= truth <= e.high + 1e-9
            results.append((abs(e.value - truth), abs(other - truth), e.value - truth, hit, e.high - e.low))
        groups[benchmark + (", mean P <= 1e-4" if (c / n).mean() <= RARE else "")].append(results)
    print(
        f"{'':28}{'models':>7}{'error':>7}{'power law':>11}{'difference':>16}{'bias':>8}{'90% covers':>12}{'width':>7}"
    )
    for name, sets in groups.items():
        error, other, bias, covers, width = np.mean(sets, axis=(0, 1))
        by_model = np.mean([[row[0] - row[1] for row in results] for results in sets], axis=1)
        spread = by_model.std(ddof=1) / np.sqrt(len(sets)) if len(sets) > 1 else np.nan
        print(
            f"{name:28}{len(sets):7}{error:7.3f}{other:11.3f}{error - other:+9.3f} ({spread:.3f}){bias:+8.3f}"
            f"{covers:12.2f}{width:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
