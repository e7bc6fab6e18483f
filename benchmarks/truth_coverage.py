"""Do the 90% intervals of the distribution of P cover, from all problems equal to log-uniform? Truth is known here.

For each population, number of problems and samples a problem: coverage and mean width of three intervals for these very
problems, the share of mixed groups of 8, the share of problems with P below log(2) / n, and pass@(10 n).
About 20 minutes on one core:

    nice python benchmarks/truth_coverage.py [--repeats 60] [--cells 200x2 30x256]
"""

import argparse

import numpy as np

from goldpanner import rng
from goldpanner.measure.groups import shares
from goldpanner.measure.mixture import below
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts, FloatArray

LEVEL, GROUP, PARTICLES = 0.90, 8, 400
POPULATIONS = {
    "all .25": lambda r, m: np.full(m, 0.25),
    "all .9": lambda r, m: np.full(m, 0.9),
    "all .01": lambda r, m: np.full(m, 0.01),
    "logit normal, .3 nats": lambda r, m: 1 / (1 + np.exp(1 - 0.3 * r.standard_normal(m))),
    "half .5, half .01": lambda r, m: np.where(r.random(m) < 0.5, 0.5, 0.01),
    "beta(.3, .3)": lambda r, m: r.beta(0.3, 0.3, m),
    "beta(.2, 5)": lambda r, m: r.beta(0.2, 5, m),
    "uniform": lambda r, m: r.random(m),
    "half 0, half uniform": lambda r, m: np.where(r.random(m) < 0.5, 0.0, r.random(m)),
    "log-uniform 1e-4 to .3": lambda r, m: 10 ** r.uniform(-4, np.log10(0.3), m),
}
CELLS = ((30, 2), (30, 16), (30, 256), (200, 1), (200, 2), (200, 4), (200, 16), (200, 1000), (2000, 2), (2000, 16))


def truths_and_estimates(p: FloatArray, n: int, seed: int, r: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return (truth, low, high) of each of the three quantities."""
    edge = min(np.log(2) / n, 0.5)
    rates = RateDistribution.of(Counts.of(np.full(len(p), n), r.binomial(n, p)), seed, PARTICLES)
    estimates = (
        rates.estimate(lambda grid: shares(grid.p, GROUP)[0][None], LEVEL)[0],
        rates.estimate(lambda grid: below(grid, edge)[None], LEVEL)[0],
        rates.pass_at_k([10 * n], LEVEL)[0],
    )
    truth = (shares(p, GROUP)[0].mean(), (p < edge).mean(), (1 - (1 - p) ** (10 * n)).mean())
    return [(float(t), e.low, e.high) for t, e in zip(truth, estimates)]


def main() -> None:
    """Print coverage (width) for every population and cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--cells", nargs="*", help="problems x samples, e.g. 200x2")
    given = parser.parse_args()
    cells = [tuple(map(int, cell.split("x"))) for cell in given.cells] if given.cells else CELLS
    print(f"{'population':24}{'problems':>9}{'n':>6}   mixed groups    P below ln 2/n  pass@10n")
    for name, draw in POPULATIONS.items():
        for problems, n in cells:
            rows = []
            for repeat in range(given.repeats):
                r = rng.stream("benchmark", name, problems, n, repeat)
                rows.append(truths_and_estimates(draw(r, problems), n, repeat, r))
            t, low, high = np.array(rows).transpose(2, 0, 1)
            covered, width = ((low - 1e-9 <= t) & (t <= high + 1e-9)).mean(0), (high - low).mean(0)
            cellwise = "   ".join(f"{c:.2f} ({w:.3f})" for c, w in zip(covered, width))
            print(f"{name:24}{problems:9}{n:6}   {cellwise}", flush=True)


if __name__ == "__main__":
    main()
