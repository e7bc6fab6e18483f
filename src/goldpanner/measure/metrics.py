"""Other questions about the same counts: are all k right, is the majority right, how many problems are at P >= tau."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.bands import mean_band
from goldpanner.measure.corrections import ParseSplit
from goldpanner.measure.groups import GroupShares
from goldpanner.measure.mixture import below
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts, Estimate, IntArray

TAUS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
"""Thresholds of Cover@tau that are reported."""
DRAWS = 200
"""Subsets of k answers that a majority is taken of, a problem."""


@dataclass(frozen=True)
class Votes:
    """The answers of one problem's samples, equal ones together; a sample without an answer casts no vote."""

    times: IntArray
    """Shape (A,): how often each answer came."""
    correct: IntArray
    """Shape (A,): 1 for the right answer, else 0; all right answers are one."""
    silent: int = 0
    """Samples without an answer."""

    @classmethod
    def of(cls, answers: Mapping[tuple[str | None, bool], int]) -> "Votes":
        """Return the votes of (answer, whether it is right) with how often each came; None: no answer."""
        right = sum(times for (_, correct), times in answers.items() if correct)
        wrong = [times for (answer, correct), times in answers.items() if not correct and answer is not None]
        silent = answers.get((None, False), 0)
        times = np.array([right, *wrong], np.int64)
        return cls(times, np.array([1] + [0] * len(wrong), np.int64), silent)

    @property
    def n(self) -> int:
        """Samples in all."""
        return int(self.times.sum()) + self.silent


def all_right(counts: Counts, k: Sequence[int] | IntArray | None = None, level: float = 0.95) -> Band:
    """Return pass^k, the mean chance that all of k samples are right, C(c, k) / C(n, k) (tau-bench, arXiv 2406.12045).

        >>> all_right(Counts.of([4], [2]), [1, 2]).value.round(3).tolist()
        [0.5, 0.167]

    Args:
        counts: one model's.
        k: by default every k up to the smallest n; NaN beyond.
        level: coverage of the simultaneous band over problems.

    Returns:
        The curve, which falls with k.

    Raises:
        InputError: no problems, or a k below 1.
    """
    smallest = smallest_n(counts)
    ks = passk.choose_ks(k, max(smallest, 1))
    use = ks <= smallest
    value, low, high = (np.full(len(ks), np.nan) for _ in range(3))
    if use.any():
        lowest, highest = (1 - passk.rows_of(counts.n, counts.n - c, ks[use]) for c in (counts.c, _most(counts)))
        low[use], high[use] = mean_band([lowest], level, True)[0], mean_band([highest], level, True)[1]
        judged = counts.judged > 0
        rows = 1 - passk.rows_of(counts.judged[judged], (counts.judged - counts.c)[judged], ks[use])
        value[use] = rows.mean(axis=0) if judged.any() else np.nan
    method = f"studentised bootstrap over {len(counts)} problems"
    return Band(ks, value, np.clip(low, 0, 1), np.clip(high, 0, 1), level, method, True, len(counts))


def _most(counts: Counts) -> IntArray:
    most: IntArray = counts.c + counts.unjudged
    return most


def cover(rates: RateDistribution, taus: Sequence[float] = TAUS, level: float = 0.95) -> dict[float, Estimate]:
    """Return Cover@tau, the share of these problems with P(correct) >= tau (arXiv 2510.08325), by threshold.

    Raises InputError for a threshold outside (0, 1).
    """
    for tau in taus:
        if not 0 < tau < 1:
            raise InputError(f"a threshold of Cover@tau is {tau!r}; give numbers in (0, 1), e.g. 0.5")
    estimates = rates.estimate(lambda grid: np.array([1 - below(grid, tau) for tau in taus]), level)
    return dict(zip(taus, estimates))


def majority(votes: Sequence[Votes], k: Sequence[int], level: float = 0.95, seed: int = 0) -> dict[int, Estimate]:
    """Return maj@k, the mean chance that the commonest of k answers is right (Wang et al., arXiv 2203.11171).

    The k samples are drawn without replacement, `DRAWS` subsets a problem; of tied answers each wins equally often; k
    samples without an answer are wrong.

    Args:
        votes: one entry per problem.
        k: numbers of samples, at least 1; those above the smallest n are undefined.
        level: coverage of each interval over problems.
        seed: of the subsets.

    Returns:
        One estimate for each k.

    Raises:
        InputError: no problems, or a k below 1.
    """
    if not votes:
        raise InputError("there are no problems to take a majority of; give at least one")
    passk.check_k(list(k))
    smallest = min(each.n for each in votes)
    method = f"studentised bootstrap over {len(votes)} problems"
    estimates = {}
    for size in k:
        if size > smallest:
            estimates[size] = Estimate.undefined(method, level)
            continue
        generator = rng.stream("bootstrap", seed, "majority", size)
        rows = np.array([[_wins(each, size, generator)] for each in votes])
        low, high = mean_band([rows], level, simultaneous=False)
        value = float(rows.mean())
        ends = float(np.clip(low[0], 0, value)), float(np.clip(high[0], value, 1))
        estimates[size] = Estimate(value, *ends, level, method, len(votes))
    return estimates


def _wins(votes: Votes, k: int, generator: np.random.Generator) -> float:
    """Return how often the right answer is the commonest of k, ties shared."""
    if len(votes.times) == 1 and not votes.silent:
        return 1.0
    urn = np.append(votes.times, votes.silent)
    drawn = generator.multivariate_hypergeometric(urn, k, size=DRAWS)[:, :-1] if k < votes.n else urn[None, :-1]
    top = drawn.max(axis=1)
    tied = (drawn == top[:, None]) & (top[:, None] > 0)
    share = tied[:, 0] / np.maximum(tied.sum(axis=1), 1)
    return float(share.mean())


@dataclass(frozen=True)
class Cost:
    """Tokens that a model spends on a try."""

    mean: float
    right: float
    """Of right answers; NaN where there is none."""
    wrong: float

    def to_json(self) -> dict[str, float | None]:
        """Return the three means, NaN as None."""
        values = {"mean": self.mean, "right": self.right, "wrong": self.wrong}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}


@dataclass(frozen=True)
class Confounds:
    """What the texts of one model's samples show that counts cannot."""

    split: ParseSplit
    """P(parses) and P(correct | parses)."""
    guess_floor: float | None
    """Mean chance that the model's answer to another problem would have been right here."""
    less_own_guesses: Mapping[int, Estimate]
    """By k, pass@k with such luck taken out problem by problem."""
    observed_groups: Mapping[int, GroupShares]
    """By size, the groups that RL drew from this very policy."""
    majority: Mapping[int, Estimate]
    """By k, maj@k."""
    tokens: Cost
    confirmed: Mapping[str, Mapping[int, Estimate]]
    """By further verifier of the store and k, pass@k where a sample is right only if that verifier agrees."""

    def to_json(self) -> dict[str, object]:
        """Return every part under its name, P(parses) and P(correct | parses) by themselves."""
        return {
            "parses": self.split.parses.to_json(),
            "correct_given_parsed": self.split.correct_given_parsed.to_json(),
            "guess_floor": self.guess_floor,
            "less_own_guesses": {str(k): e.to_json() for k, e in self.less_own_guesses.items()},
            "observed_groups": {str(size): shares.to_json() for size, shares in self.observed_groups.items()},
            "majority": {str(k): e.to_json() for k, e in self.majority.items()},
            "tokens": self.tokens.to_json(),
            "confirmed": {
                name: {str(k): e.to_json() for k, e in of_k.items()} for name, of_k in self.confirmed.items()
            },
        }


def equal_cost(base: Counts, rl: Counts, costs: tuple[Cost, Cost], level: float = 0.95) -> list[dict[str, object]]:
    """Return pass@k of both where they spend equally many tokens a problem: at k tries of RL, and 1, 2, 4 ... of these.

    Args:
        base: counts of the model before RL.
        rl: counts of the model after RL, of the same problems in the same order.
        costs: tokens of a try, base and RL.
        level: coverage of the pointwise interval of the difference.

    Returns:
        One row per budget that both have samples for: tokens, tries of each, pass@k of each, and their difference.
    """
    rows: list[dict[str, object]] = []
    for tries in passk.choose_ks([2**i for i in range(40)], 1).tolist():
        budget = tries * costs[1].mean
        base_tries = int(budget / costs[0].mean)
        if tries > smallest_n(rl) or base_tries > smallest_n(base):
            break
        if base_tries < 1:
            continue
        ks = np.array([base_tries]), np.array([tries])
        before, after = (passk.mean_value(x, k)[0] for x, k in zip((base, rl), ks))
        gap = float(after - before)
        # unjudged samples at their worst for either end
        rows_of = [
            (
                passk.rows_of(rl.n, _most(rl) if up else rl.c, ks[1]),
                passk.rows_of(base.n, base.c if up else _most(base), ks[0]),
            )
            for up in (False, True)
        ]
        low, high = (float(mean_band(pair, level, False)[up][0]) for up, pair in enumerate(rows_of))
        difference = Estimate(gap, max(min(low, gap), -1.0), min(max(high, gap), 1.0), level, "paired bootstrap")
        rows.append(
            {"tokens": budget, "base_tries": base_tries, "rl_tries": tries, "base": float(before), "rl": float(after),
             "difference": difference.to_json()}
        )  # fmt: skip
    return rows


@dataclass(frozen=True)
class LabelledPart:
    """The problems of one label."""

    problems: int
    pass_at_1: Estimate
    k: int
    """The smallest n of any of these problems."""
    pass_at_k: Estimate

    def to_json(self) -> dict[str, object]:
        """Return the number of problems, pass@1, k and pass@k."""
        ends = {"pass_at_1": self.pass_at_1.to_json(), "pass_at_k": self.pass_at_k.to_json()}
        return {"problems": self.problems, "k": self.k, **ends}


def by_label(counts: Counts, labels: Sequence[str], level: float = 0.95) -> dict[str, LabelledPart]:
    """Return pass@1 and pass@n of the problems of each label, in the order of the labels.

    Raises InputError where there are not as many labels as problems.
    """
    if len(labels) != len(counts):
        raise InputError(f"{len(labels)} labels of {len(counts)} problems; give one for each")
    out: dict[str, LabelledPart] = {}
    for label in sorted(set(labels)):
        part = counts.select([i for i, each in enumerate(labels) if each == label])
        k = max(smallest_n(part), 1)
        band = passk.curve(part, sorted({1, k}), level, simultaneous=False)
        out[label] = LabelledPart(len(part), band.at(1), k, band.at(k))
    return out
