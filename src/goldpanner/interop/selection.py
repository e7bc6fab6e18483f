"""Choosing problems by what was measured of them, for a problem set to train on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from goldpanner.errors import InputError
from goldpanner.types import Counts, FloatArray, IntArray, Problem

Weight = Literal["uniform", "variance"]


@dataclass(frozen=True)
class ProblemSelection:
    """Problems with what was measured of them; each array has one entry a problem."""

    problems: tuple[Problem, ...]
    counts: Counts
    weight: FloatArray
    copies: IntArray
    """Rows that each problem gets."""

    def rows(self) -> Iterator[tuple[str, Problem, dict[str, int | float]]]:
        """Yield (id, problem, its `n, c, unjudged, p, weight`) for each row to write, copies in a row."""
        for i, problem in enumerate(self.problems):
            n, c = int(self.counts.n[i]), int(self.counts.c[i])
            measured: dict[str, int | float] = {
                "n": n,
                "c": c,
                "unjudged": int(self.counts.unjudged[i]),
                "p": c / n,
                "weight": float(self.weight[i]),
            }
            for _ in range(int(self.copies[i])):
                yield self.counts.ids[i], problem, measured


def select(
    problems: Mapping[str, Problem],
    counts: Counts,
    *,
    low: float = 0.0,
    high: float = 1.0,
    weight: Weight = "uniform",
    rows: int | None = None,
) -> ProblemSelection:
    """Return the problems whose measured P, all of [c/n, (c + unjudged)/n], lies in [low, high], with weights.

    `weight="variance"` weighs a problem by p (1 - p), `uniform` all alike; with `rows`, problems are repeated
    in proportion to their weights to that many rows in all (largest remainders), since trainers draw rows uniformly.
    Raises InputError when ids of `counts` are not among `problems`, or nothing is left.

        >>> select({"a": Problem("t", "1 + 1 =", "2")}, Counts.of([8], [4], ["a"]), low=0.2).copies.tolist()
        [1]
    """
    if not 0 <= low <= high <= 1:
        raise InputError(f"export: P between {low} and {high}; give 0 <= low <= high <= 1")
    missing = [name for name in counts.ids if name not in problems]
    if missing:
        raise InputError(
            f"export: {len(missing)} of {len(counts)} counted problems have no text here (first: {missing[0]!r}); "
            "give the store or log that the counts came from"
        )
    n = np.maximum(counts.n, 1)
    inside = (counts.c / n >= low) & ((counts.c + counts.unjudged) / n <= high)
    keep = np.flatnonzero((counts.n > 0) & inside)
    if keep.size == 0:
        raise InputError(
            f"export: none of {len(counts)} problems has its measured P in [{low:g}, {high:g}]; widen the range"
        )
    chosen = counts.select(keep)
    p = chosen.c / chosen.n
    weights: FloatArray = np.ones(keep.size) if weight == "uniform" else p * (1 - p)
    copies = np.ones(keep.size, np.int64) if rows is None else _copies(weights, rows)
    return ProblemSelection(tuple(problems[name] for name in chosen.ids), chosen, weights, copies)


def _copies(weights: FloatArray, rows: int) -> IntArray:
    """Return whole numbers in proportion to the weights that add up to `rows` (largest remainders)."""
    total = float(weights.sum())
    if rows < 1 or total == 0:
        raise InputError(
            f"export: {rows} rows over a total weight of {total:g}; give rows >= 1, and some P inside (0, 1)"
        )
    share = rows * weights / total
    copies: IntArray = np.floor(share).astype(np.int64)
    copies[np.argsort(copies - share, kind="stable")[: rows - int(copies.sum())]] += 1
    return copies
