"""Train and test problems: a hash of a question's text decides, so that the two never meet."""

from collections.abc import Callable, Iterable
from typing import Literal

from goldpanner.errors import InputError
from goldpanner.rng import seed_for

Split = Literal["train", "test"]

TEST_SHARE = 0.2
"""Share of the questions of a made task, or of a data file that is split, that only the test split holds."""

MOST = 1_000_000
"""Problems made at once at most: a minute or two, and all of them in memory."""


def in_test(query: str, share: float) -> bool:
    """Return whether a query belongs to the test split, which holds `share` of all queries."""
    return seed_for("split", query) < share * 2**63


def distinct_queries(
    draw: Callable[[int], Iterable[str]], n: int, split: Split, share: float, label: str, batch: int = 4096
) -> list[str]:
    """Return n distinct queries of a split, so that a longer list begins with a shorter one.

    Args:
        draw: writes a number of queries, repeats among them.
        n: number of queries.
        split: `train` or `test`.
        share: share of all queries that belongs to the test split.
        label: name of the task, for errors.
        batch: queries drawn at a time.

    Raises:
        InputError: n < 1 or above `MOST`, an unknown split, or three batches in a row that bring nothing new.
    """
    if not 1 <= n <= MOST:
        raise InputError(f"{label}: {n:,} problems were asked for; ask for 1 to {MOST:,}")
    if split not in ("train", "test"):
        raise InputError(f"{label}: no split is called {split!r}; give 'train' or 'test'")
    queries: dict[str, None] = {}
    idle = 0
    while len(queries) < n:
        before = len(queries)
        for query in draw(batch):
            if len(queries) == n:
                break  # a hash for each query of a whole batch would be a third of the time of a small draw
            if in_test(query, share) == (split == "test"):
                queries[query] = None
        idle = idle + 1 if len(queries) == before else 0
        if idle == 3:
            raise InputError(f"{label}: {n} {split} problems were asked for, {len(queries)} were found; ask for fewer")
    return list(queries)


def shares_of(n: int, parts: int) -> list[int]:
    """Return n split over `parts` as evenly as possible, the first ones larger: 64 over 3 is 22, 21, 21.

    >>> shares_of(64, 3)
    [22, 21, 21]
    """
    return [n // parts + (i < n % parts) for i in range(parts)]
