"""Is the instrument right where samples cannot see? Truth is known here: P is drawn, then counts are drawn from P.

Prints three tables beside the plain alternatives: pass@10,000 from 100 samples a problem, the share of mixed groups
from a pilot of 16, and the base's P(correct) by importance sampling. About 12 minutes on one core:

    nice python benchmarks/truth_tails.py [--repeats 12] [--only beyond] [--json PATH]

Two columns of the first table are oracles, no estimators: the posterior mean given the counts and the very population
that P was drawn from, and given that it was one of the table's populations. On average nobody who is not told which can
have a smaller squared error than the second.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from baselines import BASELINES, predict
from scipy.special import gammaln

from goldpanner import rng
from goldpanner.measure import groups, origin
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts, FloatArray

Draw = Callable[[np.random.Generator, int], np.ndarray]
N, K, LEVEL = 100, 10_000, 0.90


def beta(a: float, b: float, highest: float = 1.0, impossible: float = 0.0) -> Draw:
    """P = highest * Beta(a, b), and exactly 0 for a share of the problems."""
    return lambda r, m: np.where(r.random(m) < impossible, 0.0, highest * r.beta(a, b, m))


def log_normal(centre: float, decades: float) -> Draw:
    """log10 P normal; what lies above 1 is drawn again."""

    def draw(r: np.random.Generator, m: int) -> np.ndarray:
        log = centre + decades * r.standard_normal(m)
        while (log >= 0).any():
            log = np.where(log >= 0, centre + decades * r.standard_normal(m), log)
        return 10.0**log

    return draw


def split(share: float, first: Draw, second: Draw) -> Draw:
    """A share of the problems from the first population, the rest from the second."""
    return lambda r, m: np.where(r.random(m) < share, first(r, m), second(r, m))


def log_uniform(low: float, high: float) -> Draw:
    """log10 P uniform."""
    return lambda r, m: 10 ** r.uniform(low, high, m)


POWER_LAW: dict[str, Draw] = {
    f"{name}, {int(100 * z)}% impossible": beta(*parameters, impossible=z)
    for name, parameters in (
        ("P^(0.1-1)", (0.1, 1)),
        ("P^(0.2-1)", (0.2, 1)),
        ("P^(0.3-1)", (0.3, 1)),
        ("P^(0.5-1)", (0.5, 1)),
        ("beta(0.2, 5)", (0.2, 5)),
        ("P^(0.3-1) to 0.2", (0.3, 1, 0.2)),
    )
    for z in (0, 0.1, 0.5)
}
OTHER: dict[str, Draw] = {
    "beta(0.3, 0.3)": beta(0.3, 0.3),
    "uniform": beta(1, 1),
    "0.3 x beta(0.4, 2)": beta(0.4, 2, 0.3),
    "0.05 x beta(0.3, 1)": beta(0.3, 1, 0.05),
    "log-normal 1e-2, 1 decade": log_normal(-2, 1),
    "log-normal 1e-3, 1.2 decades": log_normal(-3, 1.2),
    "log-normal 1e-4, 1.5 decades": log_normal(-4, 1.5),
    "log-normal 1e-6, 2 decades": log_normal(-6, 2),
    "log-uniform 1e-6..1": log_uniform(-6, 0),
    "log-uniform 1e-4..0.3": log_uniform(-4, -0.5),
    "half easy, half power law": split(0.5, beta(8, 2), beta(0.3, 3)),
    "gap: nothing in 1e-5..1e-2": split(0.6, beta(1, 1), log_uniform(-9, -5)),
}
COLUMNS = ("reported", *BASELINES, "oracle: population", "oracle: table")
"""The Bayesian average, the baselines, and the oracles."""


def binomial(n: int, k: np.ndarray) -> FloatArray:
    """log C(n, k)."""
    out: FloatArray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return out


class Oracle:
    """The posterior mean of pass@K given counts of N and a list of populations that P may come from."""

    def __init__(self, populations: dict[str, Draw], size: int = 100_000) -> None:
        self.names = list(populations)
        c = np.arange(N + 1)[:, None]
        log, mean = [], []
        for name, draw in populations.items():
            p = np.clip(draw(rng.stream("benchmark", "oracle", name), size), 1e-300, 1 - 1e-16)
            likelihood = np.exp(c * np.log(p) + (N - c) * np.log1p(-p) + binomial(N, c))
            log.append(np.log(np.maximum(likelihood.mean(axis=1), 1e-300)))
            mean.append(likelihood @ np.exp(K * np.log1p(-p)) / np.maximum(likelihood.sum(axis=1), 1e-300))
        self.log_evidence, self.failing = np.array(log), np.array(mean)

    def answer(self, c: np.ndarray, name: str) -> tuple[float, float]:
        """Return the mean if the population `name` is known, and if only the list is."""
        means, evidence = 1 - self.failing[:, c].mean(axis=1), self.log_evidence[:, c].sum(axis=1)
        weight = np.exp(evidence - evidence.max())
        return float(means[self.names.index(name)]), float(means @ weight / weight.sum())


def tail_row(draw: Draw, problems: int, repeats: int, name: str, oracle: Oracle) -> dict[str, Any]:
    """Mean |error| of every model at pass@K from N samples; coverage, width and bias of the interval."""
    errors: dict[str, list[float]] = {column: [] for column in COLUMNS}
    hits, widths, truths = [], [], []
    for repeat in range(repeats):
        r = rng.stream("benchmark", name, problems, repeat)
        p = draw(r, problems)
        counts = Counts.of(np.full(problems, N), r.binomial(N, p))
        truth = float(-np.expm1(K * np.log1p(-np.minimum(p, 1 - 1e-16))).mean())
        rates = RateDistribution.of(counts, repeat)
        estimate = rates.pass_at_k([K], LEVEL)[0]
        values = {model: float(predict(model, rates.judged.tally, np.array([K]))[0]) for model in BASELINES}
        values["reported"] = estimate.value
        values["oracle: population"], values["oracle: table"] = oracle.answer(counts.c, name)
        for column in COLUMNS:
            errors[column].append(values[column] - truth)
        hits.append(estimate.low <= truth <= estimate.high)
        widths.append(estimate.high - estimate.low)
        truths.append(truth)
    return {
        "population": name,
        "problems": problems,
        "truth": float(np.mean(truths)),
        "error": {model: float(np.abs(found).mean()) for model, found in errors.items()},
        "bias": float(np.mean(errors["reported"])),
        "coverage": float(np.mean(hits)),
        "width": float(np.mean(widths)),
    }


def tails(repeats: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Table of item 5: extrapolation."""
    rows = []
    kept = ("truth", "bias", "coverage", "width")
    for title, populations in (("power-law tails", POWER_LAW), ("other shapes", OTHER)):
        for problems in sizes:
            print(f"\npass@{K:,} from n = {N}, {problems} problems, {title}: mean |error| ({repeats} repeats)")
            print(f"{'':34}{'truth':>6}" + "".join(f"{m:>19}" for m in COLUMNS) + f"{'90% covers':>12}{'width':>7}")
            oracle = Oracle(populations)
            part = [tail_row(draw, problems, repeats, name, oracle) for name, draw in populations.items()]
            for row in part:
                print(f"{row['population']:34}{row['truth']:6.3f}" + _errors(row["error"]) + _cover(row))
            rows += part
            for name in ("0% impossible", "10% impossible", "50% impossible", ""):
                some = [row for row in part if row["population"].endswith(name and f", {name}")]
                if not some:
                    continue
                mean = {m: float(np.mean([row["error"][m] for row in some])) for m in COLUMNS}
                total = {key: float(np.mean([row[key] for row in some])) for key in kept}
                label = f"mean, {name}" if name else "mean"
                print(f"{label:34}{total['truth']:6.3f}" + _errors(mean) + _cover(total), flush=True)
                rows.append({"population": f"{label} of {title}", "problems": problems, "error": mean, **total})
    return rows


def _errors(error: dict[str, float]) -> str:
    return "".join(f"{error[m]:19.4f}" for m in COLUMNS)


def _cover(row: dict[str, Any]) -> str:
    return f"{row['coverage']:12.2f}{row['width']:7.2f}"


def live(repeats: int) -> list[dict[str, Any]]:
    """Table of item 4: live groups from a pilot of 16."""
    sizes = (8, 16, 64, 256)
    print("\nshare of live groups from a pilot of 16: mean |error| fitted / plug-in, coverage of the 95% interval")
    print(f"{'':28}" + "".join(f"{f'G = {g}':>22}" for g in sizes))
    rows = []
    for name, (a, b) in {"beta(0.2, 5)": (0.2, 5), "beta(0.3, 0.3)": (0.3, 0.3), "uniform": (1, 1)}.items():
        for problems in (128, 500):
            found = []
            for repeat in range(repeats):
                r = rng.stream("benchmark", "live", name, problems, repeat)
                p = r.beta(a, b, problems)
                counts = Counts.of(np.full(problems, 16), r.binomial(16, p))
                expected = groups.expected(counts, sizes, rates=RateDistribution.of(counts, repeat))
                row = []
                for g in sizes:
                    truth, e = groups.shares(p, g)[0].mean(), expected[g].live
                    plug = groups.shares(counts.c / 16, g)[0].mean()
                    row.append((abs(e.value - truth), abs(plug - truth), e.low <= truth <= e.high))
                found.append(row)
            mean = np.mean(found, axis=0)
            print(f"{f'{name}, {problems} problems':28}" + "".join(f"{a:9.3f} /{b:6.3f}{c:5.2f}" for a, b, c in mean))
            rows.append({"population": name, "problems": problems, **dict(zip(map(str, sizes), mean.tolist()))})
    return rows


def routes(r: np.random.Generator, n: int, p_base: float, spread: float, count: int, missed: float) -> dict[str, Any]:
    """Draw n RL samples of a problem with `count` right routes; base mass `p_base`, a share `missed` RL never takes.

    The log-ratio of the routes' densities is normal with standard deviation `spread`.
    """
    rl = 0.6 * r.dirichlet(np.full(count, 2.0))
    ratio = np.exp(spread * r.standard_normal(count))
    base = rl * ratio
    base *= p_base * (1 - missed) / base.sum()
    pick = r.choice(count + 1, n, p=[*rl, 1 - rl.sum()])
    correct = pick < count
    # a wrong sample's density ratio: whatever keeps the base's total at 1
    log_base = np.log([*base, 1 - p_base])[pick]
    log_rl = np.log([*rl, 1 - rl.sum()])[pick]
    return {"correct": correct, "logp_base": log_base, "logp_rl": log_rl, "base_c": int(r.binomial(256, p_base))}


def origins(trials: int) -> list[dict[str, Any]]:
    """Table of item 6: importance sampling of the base's P(correct)."""
    scenes = {
        "one route": (0.0, 1, 0.0),
        "40 routes, ratio spread e^0.5": (0.5, 40, 0.0),
        "200 routes, ratio spread e^1": (1.0, 200, 0.0),
        "2000 routes, ratio spread e^2": (2.0, 2000, 0.0),
        "2000 routes, ratio spread e^4": (4.0, 2000, 0.0),
        "RL misses 99% of the base's mass": (0.5, 40, 0.99),
    }
    print(f"\norigin by importance sampling, P_base = 1e-3 ... 1e-12 at random, base 256 samples, {trials} trials each")
    print(
        f"{'':36}{'RL samples':>11}{'reliable':>10}{'worst factor':>13}{'covers':>8}{'amplified':>11}"
        f"{'cannot say':>11}{'new':>5}{'false':>6}"
    )
    rows = []
    for name, (spread, count, missed) in scenes.items():
        for n in (64, 256):
            factors, labels, false_new, covered = [], [], 0, []
            for trial in range(trials):
                r = rng.stream("benchmark", "origin", name, n, trial)
                p_base = 10 ** r.uniform(-12, -3)
                found = origin.origin(**routes(r, n, p_base, spread, count, missed), base_n=256)
                labels.append(found.label)
                false_new += found.label == "new" and p_base > found.upper
                if found.diagnostics.reliable:
                    seen = p_base * (1 - missed)
                    factors.append(float(np.exp(abs(np.log(found.p_base.value / seen)))))
                    covered.append(found.p_base.low <= seen <= found.p_base.high)
            row = {
                "scene": name,
                "samples": n,
                "reliable": len(factors) / trials,
                "worst_factor": max(factors, default=float("nan")),
                "coverage": float(np.mean(covered)) if covered else float("nan"),
                **{label: labels.count(label) for label in ("amplified", "cannot say", "new")},
                "false_new": false_new,
            }
            rows.append(row)
            print(
                f"{name:36}{n:11}{row['reliable']:10.3f}{row['worst_factor']:13.2f}{row['coverage']:8.2f}"
                f"{row['amplified']:11}{row['cannot say']:11}{row['new']:5}{false_new:6}",
                flush=True,
            )
    return rows


def main() -> None:
    """Run the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=12, help="populations drawn per row")
    parser.add_argument("--trials", type=int, default=1000, help="importance-sampling trials per row")
    parser.add_argument("--problems", default="128,500", help="how many problems a population of the first table has")
    parser.add_argument("--only", choices=["origin", "live", "beyond"])
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    tables: dict[str, Callable[[], Any]] = {
        "origin": lambda: origins(options.trials),
        "live": lambda: live(max(2 * options.repeats, 2)),
        "beyond": lambda: tails(options.repeats, [int(m) for m in options.problems.split(",")]),
    }
    result = {name: table() for name, table in tables.items() if options.only in (None, name)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
