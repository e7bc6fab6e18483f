"""Power before data: how many problems and samples show a change of pass@k, and which change given ones can show.

The change is a sharpening or its reverse: RL's P is 1 - (1 - P)^t, what the base finds in t tries, with t chosen so
that mean pass@k moves by d. Per problem the paired difference of the unbiased estimators has variance

    Var(difference of the true pass@k) + E[Var of RL's estimator] + E[Var of the base's estimator],

all three computed exactly from the distribution of P and the binomial; divided by the number of problems it is the
variance of the mean. The band of `compare` holds for all k at once: its critical value is taken as the normal one for
`TRIES` independent k, which `tests/test_power.py` checks against the band itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.mixture import Grid, beta_weights
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts, FloatArray

TRIES = 3
"""Independent k that the simultaneous band is worth."""


@dataclass(frozen=True)
class Population:
    """P(correct) at nodes with their weights, shape (J,) each."""

    p: FloatArray
    weight: FloatArray
    name: str


def population_of(shape: str) -> Population:
    """Return a population by a word: `all:0.25` (every problem at .25), `beta:0.5,1`, `uniform`.

    Raises InputError for another word or numbers out of range.

        >>> population_of("all:0.25").name
        'all:0.25'
    """
    name, _, text = shape.partition(":")
    try:
        numbers = [float(x) for x in text.split(",")] if text else []
    except ValueError:
        numbers = [-1.0]
    if name == "all" and len(numbers) == 1 and 0 <= numbers[0] <= 1:
        return Population(np.array(numbers), np.ones(1), shape)
    if name == "uniform" and not numbers:
        numbers = [1.0, 1.0]
    elif name != "beta" or len(numbers) != 2 or min(numbers) <= 0:
        raise InputError(f"--shape is {shape!r}; write all:0.25, beta:0.5,1 or uniform, or give a pilot's counts")
    grid = Grid.resolving(1000)
    return Population(grid.p, beta_weights(grid, *numbers), shape)


def population_from(pilot: Counts) -> Population:
    """Return the posterior mean of the distribution of P, given a pilot's counts."""
    mixture = RateDistribution.of(pilot).judged.mixture
    return Population(mixture.grid.p, mixture.weight, f"pilot of {len(pilot)} problems")


@dataclass(frozen=True)
class Requirement:
    """What it takes to show a change of pass@k."""

    k: int
    samples: int
    """Samples a problem, of each model."""
    size: float
    """Change of pass@k."""
    problems: int | None
    """Problems for the power; None: pass@k cannot change by so much."""

    def to_json(self) -> dict[str, object]:
        """Return k, samples, size and problems."""
        return {"k": self.k, "samples": self.samples, "size": self.size, "problems": self.problems}


@dataclass(frozen=True)
class Sensitivity:
    """The smallest change of pass@k that given problems and samples show, up and down; None: none."""

    k: int
    rise: float | None
    fall: float | None

    def to_json(self) -> dict[str, object]:
        """Return k, rise and fall."""
        return {"k": self.k, "rise": self.rise, "fall": self.fall}


def required(
    population: Population,
    size: float,
    ks: Sequence[int],
    samples: Sequence[int] = (),
    power: float = 0.8,
    level: float = 0.95,
) -> list[Requirement]:
    """Return the problems that show a change of pass@k by `size`, for every k and number of samples.

    Args:
        population: distribution of P of the base.
        size: change of pass@k, above or below 0, within (-1, 1).
        ks: numbers of tries, at least 1.
        samples: samples a problem; empty: k, 2k, 4k and 16k. Those below k are left out.
        power: chance that the change is shown.
        level: coverage of the band.

    Returns:
        One requirement for each k and number of samples.

    Raises:
        InputError: a size of 0 or beyond 1, a k below 1, or a power outside (0, 1).
    """
    _check(ks, power, level)
    if not 0 < abs(size) < 1:
        raise InputError(f"the size of the change is {size!r}; give a number such as 0.05 or -0.05")
    rows = []
    for k in ks:
        tries = exponent_for(population, k, size)
        for n in sorted({n for n in (samples or (k, 2 * k, 4 * k, 16 * k)) if n >= k}):
            if tries is None:
                rows.append(Requirement(k, n, size, None))
                continue
            variance = _variance(population, tries, k, n)
            rows.append(
                Requirement(k, n, size, max(int(np.ceil(_quantiles(power, level) ** 2 * variance / size**2)), 2))
            )
    return rows


def sensitivity(
    population: Population, problems: int, n: int, ks: Sequence[int], power: float = 0.8, level: float = 0.95
) -> list[Sensitivity]:
    """Return the smallest rise and fall of pass@k that a measurement shows, for every k <= n.

    Args:
        population: distribution of P(correct) over problems.
        problems: number of problems, at least 2.
        n: samples of each problem.
        ks: numbers of tries; those above n are left out.
        power: probability that the change is shown, in (0, 1).
        level: coverage of the interval that shows it.

    Raises:
        InputError: fewer than 2 problems, n or a k below 1, or a power outside (0, 1).
    """
    _check(ks, power, level)
    if problems < 2 or n < 1:
        raise InputError(f"{problems} problems x {n} samples; give at least 2 problems and 1 sample")
    return [
        Sensitivity(k, *(_smallest(population, problems, n, k, sign, power, level) for sign in (1, -1)))
        for k in ks
        if k <= n
    ]


def exponent_for(population: Population, k: int, size: float) -> float | None:
    """Return t at which mean pass@k of 1 - (1 - P)^t is `size` above the base's; None where none is."""

    def rise(log_t: float) -> float:
        return _mean(population, k * np.exp(log_t)) - _mean(population, k)

    low, high = (0.0, 30.0) if size > 0 else (-30.0, 0.0)
    edge = rise(high if size > 0 else low)
    if abs(edge) < abs(size):
        return None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rise(middle) < size else (low, middle)
    return float(np.exp((low + high) / 2))


def _check(ks: Sequence[int], power: float, level: float) -> None:
    passk.check_k(list(ks))
    if not (0 < power < 1 and 0 < level < 1):
        raise InputError(f"power is {power!r} and level {level!r}; give numbers in (0, 1), e.g. 0.8 and 0.95")


def _quantiles(power: float, level: float) -> float:
    alpha = 1 - level ** (1 / TRIES)
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))


def _mean(population: Population, k: float) -> float:
    with np.errstate(divide="ignore"):
        return float(population.weight @ -np.expm1(k * np.log1p(-population.p)))


def _variance(population: Population, tries: float, k: int, n: int) -> float:
    """Return the variance of a problem's paired difference."""
    with np.errstate(divide="ignore"):
        log_miss = np.log1p(-population.p)
        before, after = (-np.expm1(k * t * log_miss) for t in (1.0, tries))
    within = _estimator_variance(population.p, k, n) + _estimator_variance(-np.expm1(tries * log_miss), k, n)
    shift = after - before
    between = population.weight @ shift**2 - (population.weight @ shift) ** 2
    return float(between + population.weight @ within)


def _estimator_variance(p: FloatArray, k: int, n: int) -> FloatArray:
    """Return the variance of the unbiased estimator of pass@k from n samples, for every P, shape (J,)."""
    c = np.arange(n + 1)
    values = passk.pass_at_k(n, c, k)
    chance = stats.binom.pmf(c, n, np.clip(p, 0, 1)[:, None])
    mean = chance @ values
    out: FloatArray = np.maximum(chance @ values**2 - mean**2, 0)
    return out


def _smallest(
    population: Population, problems: int, n: int, k: int, sign: int, power: float, level: float
) -> float | None:
    """Return the smallest change with the power, by bisection; None where even the largest one is not shown."""
    room = 1 - _mean(population, k) if sign > 0 else _mean(population, k)
    low, high = 0.0, room * (1 - 1e-9)

    def shown(size: float) -> bool:
        tries = exponent_for(population, k, sign * size)
        if tries is None:
            return True
        return bool(size >= _quantiles(power, level) * np.sqrt(_variance(population, tries, k, n) / problems))

    edge = high * 0.999
    if edge <= 0 or exponent_for(population, k, sign * edge) is None or not shown(edge):
        return None
    high = edge
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
