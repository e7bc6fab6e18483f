"""How often is a word of `compare` false? Worlds where every P is known, in both directions.

    python benchmarks/truth_words.py --runs 400

When a word is false, in terms of the true P of these very problems (K: the largest k compared, R = 1,024):

- better, higher: mean over problems of 1 - (1 - P)^k at k = 1, K does not rise from base to RL. worse, lower: it does
  not fall.
- sharpened: the least k at which the base's true pass@k is within .01 of RL's true pass@K exceeds R. expanded: it does
  not.
- within: the true least k lies outside the stated interval (95%).
- rose, fell: the share of false ones among those listed, averaged over runs (a false discovery rate).

A cell fails where the lower 95% bound of a rate of false words exceeds 5%. Two statements on one pair of models, from
nested samples of different n, contradict each other where one says sharpened and the other expanded.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from goldpanner import rng
from goldpanner.measure.compare import Comparison, compare
from goldpanner.measure.intervals import proportion
from goldpanner.measure.thresholds import FURTHEST, NEAR, WITHIN
from goldpanner.types import Counts, FloatArray

World = Callable[[int, np.random.Generator], tuple[FloatArray, FloatArray]]


def best_of(p: FloatArray, k: float) -> FloatArray:
    """RL as re-weighting: what one try finds is what the base finds in k."""
    return -np.expm1(k * np.log1p(-np.minimum(p, 1 - 1e-15)))


def log_uniform(m: int, r: np.random.Generator, low: float, high: float = 1.0) -> FloatArray:
    return np.asarray(np.exp(r.uniform(np.log(low), np.log(high), m)))


def share(m: int, part: float) -> np.ndarray:
    """The first problems, a share of all."""
    return np.arange(m) < max(1, round(part * m))


def two_kinds(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    return np.where(share(m, 0.5), 0.5, 0.01), np.full(m, 0.9)


def with_new(part: float, after: float = 0.7, a: float = 0.5, b: float = 1.0) -> World:
    def draw(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        p, new = r.beta(a, b, m), share(m, part)
        return np.where(new, 0.0, p), np.where(new, after, best_of(p, 6))

    return draw


def amplified(k: float, a: float, b: float) -> World:
    def draw(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        p = r.beta(a, b, m)
        return p, best_of(p, k)

    return draw


def same(draw: Callable[[int, np.random.Generator], FloatArray]) -> World:
    def twice(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        p = draw(m, r)
        return p, p

    return twice


def falling(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    return np.full(m, 0.6), np.where(share(m, 0.3), 0.02, 0.8)


def narrowing(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    p = r.beta(0.4, 1.2, m)
    return p, np.where((p < 0.1) & (r.random(m) < 0.5), p / 300, best_of(p, 5))


def flatter(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    p = r.beta(0.4, 0.6, m)
    return p, np.where(p > 0.3, p * 0.7, np.maximum(p, 0.05))


def wide(low: float, k: float) -> World:
    def draw(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        p = log_uniform(m, r, low)
        return p, best_of(p, k)

    return draw


def wide_with_zeros(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    p = np.where(share(m, 0.2), 0.0, log_uniform(m, r, 1e-4))
    return p, best_of(p, 50)


def rare_found(p_base: float) -> World:
    """A tenth of the problems at one small P, which RL solves: within reach or not, by that P."""

    def draw(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        p, rare = r.beta(2, 2, m), share(m, 0.1)
        return np.where(rare, p_base, p), np.where(rare, 0.8, best_of(p, 3))

    return draw


def tight(centre: float, k: float) -> World:
    return lambda m, r: (np.full(m, centre), np.full(m, float(best_of(np.array(centre), k))))


def mixed(m: int, r: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    p = r.beta(0.5, 0.8, m)
    kind = r.random(m)
    after = np.select([kind < 0.1, kind < 0.2], [np.full(m, 0.001), np.maximum(p, 0.5)], best_of(p, 4))
    return np.where((kind >= 0.1) & (kind < 0.2), 0.0, p), after


@dataclass(frozen=True)
class Cell:
    name: str
    world: World
    problems: int
    n: int


CELLS = [
    Cell("two kinds", two_kinds, 200, 64),
    Cell("two kinds", two_kinds, 200, 256),
    Cell("few new", with_new(0.13), 30, 64),
    Cell("few new", with_new(0.13), 64, 32),
    Cell("few new", with_new(0.06), 200, 64),
    Cell("few new", with_new(0.06), 200, 256),
    Cell("one new", with_new(0.005), 200, 256),
    Cell("many new", with_new(0.3), 100, 64),
    Cell("many new", with_new(0.3), 200, 256),
    Cell("many new", with_new(0.4), 15, 128),
    Cell("many new, wide", with_new(0.2, 0.5, 0.2, 2.0), 200, 128),
    Cell("none new", amplified(8, 0.3, 2.0), 30, 64),
    Cell("none new", amplified(8, 0.3, 2.0), 200, 64),
    Cell("none new", amplified(8, 0.3, 2.0), 500, 256),
    Cell("none new, rare", amplified(30, 0.2, 8.0), 200, 64),
    Cell("none new, rare", amplified(30, 0.2, 8.0), 500, 16),
    Cell("none new, easy", amplified(4, 2.0, 2.0), 100, 16),
    Cell("tight .25", tight(0.25, 4), 100, 8),
    Cell("tight .01", tight(0.01, 20), 200, 64),
    Cell("tight .001", tight(0.001, 100), 200, 64),
    Cell("log-uniform 1e-3", wide(1e-3, 20), 100, 64),
    Cell("log-uniform 1e-6", wide(1e-6, 100), 200, 128),
    Cell("log-uniform 1e-6", wide(1e-6, 1000), 200, 256),
    Cell("log-uniform, zeros", wide_with_zeros, 200, 128),
    Cell("tenth at 3e-3", rare_found(3e-3), 200, 64),
    Cell("tenth at 1e-3", rare_found(1e-3), 200, 128),
    Cell("tenth at 1e-4", rare_found(1e-4), 200, 128),
    Cell("falling", falling, 100, 64),
    Cell("narrowing", narrowing, 200, 128),
    Cell("narrowing", narrowing, 500, 32),
    Cell("flatter", flatter, 200, 64),
    Cell("mixed", mixed, 200, 128),
    Cell("mixed", mixed, 500, 64),
    Cell("same, wide", same(lambda m, r: r.beta(0.3, 1.0, m)), 100, 64),
    Cell("same, tight", same(lambda m, r: np.full(m, 0.25)), 100, 16),
    Cell("same, log-uniform", same(lambda m, r: log_uniform(m, r, 1e-6)), 200, 64),
]
WORDS = ("better", "worse", "higher", "lower", "sharpened", "expanded", "open")


def true_pass(p: FloatArray, k: float) -> float:
    with np.errstate(divide="ignore"):
        return float(-np.expm1(k * np.log1p(-p)).mean())


def true_equivalent_k(base: FloatArray, rl: FloatArray, tries: int) -> float:
    """Least k with the base's true pass@k >= RL's true pass@K - .01, by bisection; infinite beyond 1e12."""
    target = true_pass(rl, tries) - NEAR
    if true_pass(base, 1) >= target:
        return 1.0
    low, high = 0.0, np.log(1e12)
    if true_pass(base, np.exp(high)) < target:
        return float("inf")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if true_pass(base, np.exp(middle)) < target else (low, middle)
    return float(np.ceil(np.exp(high)))


def said(found: Comparison) -> set[str]:
    """The words of one comparison that can be false, and open."""
    signs = {(1, 1): "better", (1, -1): "worse", (2, 1): "higher", (2, -1): "lower"}
    words = {signs.get((1, found.at_one_try.sign), ""), signs.get((2, found.at_k_tries.sign), "")}
    return (words | {*found.words}) & {*WORDS}


def false_words(found: Comparison, base: FloatArray, rl: FloatArray) -> set[str]:
    """The words that are false, by the definitions at the top."""
    tries = found.at_k_tries.k
    one, last = (true_pass(rl, k) - true_pass(base, k) for k in (1, tries))
    least = true_equivalent_k(base, rl, tries)
    truth = {
        "better": one > 0, "worse": one < 0, "higher": last > 0, "lower": last < 0,
        "sharpened": least <= WITHIN, "expanded": least > WITHIN, "open": True,
    }  # fmt: skip
    wrong = {word for word in said(found) if not truth[word]}
    k = found.equivalent_k.k
    # the ends are rounded outwards to the neighbouring k that was looked at, 3.5% apart
    if not min(k.low, FURTHEST) / 1.036 <= least <= k.high * 1.036 + 1:
        wrong.add("within")
    return wrong


def false_changes(found: Comparison, base: FloatArray, rl: FloatArray) -> float:
    """The share of false ones among the problems listed as risen or fallen; 0 where none is."""
    rose, fell = found.changes.rose, found.changes.fell
    listed = int(rose.sum() + fell.sum())
    return float((rose & (rl <= base)).sum() + (fell & (rl >= base)).sum()) / listed if listed else 0.0


def measure(at: int, runs: range) -> tuple[Counter[str], Counter[str], list[float]]:
    """Return how often each word of a cell was said, how often falsely, and the false shares of the listed problems."""
    cell = CELLS[at]
    words: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    shares = []
    for run in runs:
        r = rng.stream("truth/words", cell.name, cell.problems, cell.n, run)
        base, rl = cell.world(cell.problems, r)
        counts = [Counts.of([cell.n] * cell.problems, r.binomial(cell.n, p)) for p in (base, rl)]
        found = compare(*counts)
        words.update(said(found))
        wrong.update(false_words(found, base, rl))
        shares.append(false_changes(found, base, rl))
    return words, wrong, shares


def contradictions(at: int, runs: range) -> tuple[int, int]:
    """Return pairs of nested n with a decided word each, and how many of them contradict each other."""
    cell = CELLS[at]
    pairs = against = 0
    for run in runs:
        r = rng.stream("truth/words/nested", cell.name, cell.problems, run)
        base, rl = cell.world(cell.problems, r)
        draws = [r.random((cell.problems, 256)) < p[:, None] for p in (base, rl)]
        decided = []
        for n in (32, 64, 128, 256):
            found = compare(*(Counts.of([n] * cell.problems, x[:, :n].sum(1)) for x in draws))
            decided += [word for word in found.words if word in ("sharpened", "expanded")]
        for i, word in enumerate(decided):
            pairs += len(decided) - i - 1
            against += sum(word != other for other in decided[i + 1 :])
    return pairs, against


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="runs a cell")
    parser.add_argument("--only", default="", help="cells whose name begins so")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--nested", type=int, default=50, help="runs a world of the test of contradictions; 0: none")
    options = parser.parse_args()
    print(__doc__[__doc__.index("When a word") :].strip())
    print(f"\n{'world':20} {'m':>4} {'n':>4}  said: {', '.join(WORDS)} | false | interval | fdr | fails")
    cells = [cell for cell in CELLS if cell.name.startswith(options.only)]
    failing = 0
    step = max(1, options.runs // (4 * options.processes))
    blocks = [range(at, min(at + step, options.runs)) for at in range(0, options.runs, step)]
    with ProcessPoolExecutor(options.processes) as pool:
        for cell in cells:
            words: Counter[str] = Counter()
            wrong: Counter[str] = Counter()
            shares: list[float] = []
            for said_here, wrong_here, shares_here in pool.map(measure, [CELLS.index(cell)] * len(blocks), blocks):
                words, wrong, shares = words + said_here, wrong + wrong_here, shares + shares_here
            counts = np.array([wrong[w] for w in WORDS])
            low, _ = proportion(counts, np.full(len(counts), options.runs), level=0.9)
            fails = [w for w, bound in zip(WORDS, low) if bound > 0.05]
            failing += bool(fails)
            false = ", ".join(f"{w} {wrong[w] / options.runs:.1%}" for w in WORDS if wrong[w]) or "-"
            rates = " ".join(f"{words[w] / options.runs:4.0%}" for w in WORDS)
            print(
                f"{cell.name:20} {cell.problems:4} {cell.n:4}  {rates} | {false} | "
                f"{1 - wrong['within'] / options.runs:.1%} | {np.mean(shares):.1%} | {', '.join(fails) or '-'}",
                flush=True,
            )
        print(f"\n{failing} of {len(cells)} cells fail")
        if options.nested:
            worlds = list({cell.name: cell for cell in cells if cell.problems >= 100}.values())
            blocks = [range(at, min(at + 5, options.nested)) for at in range(0, options.nested, 5)]
            for cell in worlds:
                results = list(pool.map(contradictions, [CELLS.index(cell)] * len(blocks), blocks))
                pairs, against = (sum(x) for x in zip(*results))
                print(f"{cell.name:20} {cell.problems:4}  n = 32, 64, 128, 256: {against} of {pairs} pairs contradict")


if __name__ == "__main__":
    main()
