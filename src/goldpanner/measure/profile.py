"""Everything that one model's counts say, in one object: what `goldpanner measure` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import corrections, groups, mixture, passk
from goldpanner.measure.boundary import Boundary, boundary
from goldpanner.measure.corrections import VerifierErrors
from goldpanner.measure.groups import GroupShares
from goldpanner.measure.metrics import LabelledPart, all_right, cover
from goldpanner.measure.passk import Band
from goldpanner.measure.posterior import RateDistribution
from goldpanner.result import Result
from goldpanner.types import Counts, Estimate, FloatArray, IntArray, SamplingParams

FAR = (1_000, 10_000, 100_000, 1_000_000)
"""Where pass@k is extrapolated to when no k is asked."""


@dataclass(frozen=True, repr=False)
class Profile(Result):
    """One model's boundary."""

    counts: Counts
    curve: Band
    """pass@k for every k up to the smallest n."""
    boundary: Boundary
    groups: dict[int, GroupShares]
    these: dict[int, Estimate]
    """pass@k of these very problems, at the k of the table; by the Bayesian average at every k."""
    alike: dict[int, Estimate]
    """pass@k of the problems that these were drawn from: the band within n, the Bayesian average beyond."""
    rates: RateDistribution | None
    """The distribution of P(correct) over problems; None where nothing was judged."""
    unseen: Estimate
    """Share of problems whose P cannot be told from zero: below what the samples resolve (log 2 / largest n)."""
    truncated: Estimate
    chance_corrected: dict[int, Estimate]
    """pass@k with lucky guesses taken out, where the guess floor is known."""
    verified: dict[int, Estimate]
    """pass@k of these problems as a perfect verifier would see it, where the verifier was audited."""
    verified_p: tuple[FloatArray, FloatArray, FloatArray] | None
    """Every problem's P as a perfect verifier would see it: value, low, high."""
    rogan_gladen: Estimate | None
    """The share of right samples as a perfect verifier would see it."""
    support_refused: str | None
    """Why these samples cannot speak of the model's support, if they cannot."""
    by: Mapping[str, LabelledPart] = field(default_factory=dict)
    """By label, pass@k of the problems that have it, where labels were asked for."""
    support_asked: bool = False
    """Whether it is spoken of nevertheless, as asked."""

    @property
    def summary(self) -> str:
        """`facts` in one sentence."""
        return "; ".join(self.facts) + "."

    @property
    def facts(self) -> list[str]:
        """Samples, both ends of the curve, the boundary as far as it may be shown, and mixed groups."""
        counts, curve, states = self.counts, self.curve, self.boundary.states
        parts = [f"{len(counts):,} problems, {int(counts.n.sum()):,} samples"]
        parts += [f"pass@{k:,} {curve.at(k)}" for k in sorted({1, curve.largest} - {0})]
        if self.speaks_of_support:
            parts.append(
                f"{states['reached']} reached, {states['not_reached']} not reached within n, "
                f"{states['unresolved']} unresolved"
            )
        parts += [f"mixed groups {self.groups[size].mixed} at G = {size}" for size in (16,) if size in self.groups]
        return parts

    @property
    def speaks_of_support(self) -> bool:
        """Whether the boundary may be shown: the samples can speak of it, or it was asked for nevertheless."""
        return self.support_refused is None or self.support_asked

    def method_at(self, k: int) -> str:
        """Return how pass@k is estimated within n: where a problem has fewer than k judged, it counts with those."""
        judged = self.counts.judged
        return "unbiased" if k <= judged[judged > 0].min(initial=k) else "of the judged, at least"

    def _seen_p(self) -> list[list[float | None] | None]:
        """Return `verified_p` problem by problem, as JSON values."""
        if self.verified_p is None:
            return [None] * len(self.counts)
        return [[_finite(x) for x in row] for row in np.column_stack(self.verified_p)]

    def to_json(self) -> dict[str, Any]:
        """Return the object that `goldpanner measure --json` prints."""
        b = self.boundary
        numbers = zip(
            b.counts.ids, b.counts.n, b.counts.c, b.counts.unjudged, b.value, b.low, b.high, b.bound, b.stratum
        )
        return {
            "problems": len(self.counts),
            "samples": int(self.counts.n.sum()),
            "level": self.curve.level,
            "pass_at_k": self.curve.to_json(),
            "pass_at_k_of": {
                "these_problems": {str(k): e.to_json() for k, e in self.these.items()},
                "problems_like_these": {str(k): e.to_json() for k, e in self.alike.items()},
            },
            "groups": {str(size): shares.to_json() for size, shares in self.groups.items()},
            "pass_hat_k": all_right(self.counts, powers_of_two(self.curve.largest), self.curve.level).to_json(),
            "cover_at_tau": {}
            if self.rates is None
            else {str(tau): e.to_json() for tau, e in cover(self.rates, level=self.curve.level).items()},
            "boundary": b.to_json(),
            "strata": dict(b.strata),
            "cannot_be_told_from_zero": self.unseen.to_json(),
            "distribution": None if self.rates is None else self.rates.judged.mixture.to_json(),
            "truncated": self.truncated.to_json(),
            "chance_corrected": {str(k): e.to_json() for k, e in self.chance_corrected.items()},
            "verifier_corrected": {str(k): e.to_json() for k, e in self.verified.items()},
            "rogan_gladen": None if self.rogan_gladen is None else self.rogan_gladen.to_json(),
            "support_refused": self.support_refused,
            **({"by": {label: part.to_json() for label, part in self.by.items()}} if self.by else {}),
            "per_problem": [
                {
                    "id": i,
                    "n": int(n),
                    "c": int(c),
                    "unjudged": int(u),
                    "p": {"value": _finite(v), "low": float(low), "high": float(high)},
                    "upper_bound": _finite(bound),
                    "stratum": str(stratum),
                    **({} if seen is None else {"p_verified": dict(zip(("value", "low", "high"), seen))}),
                }
                for (i, n, c, u, v, low, high, bound, stratum), seen in zip(numbers, self._seen_p())
            ],
        }


def profile(
    counts: Counts,
    k: Sequence[int] = (),
    *,
    sizes: Sequence[int] = groups.SIZES,
    level: float = 0.95,
    seed: int = 0,
    params: SamplingParams | None = None,
    allow_truncated_sampling: bool = False,
    answer_space: float | None = None,
    verifier: VerifierErrors | None = None,
    clusters: IntArray | None = None,
) -> Profile:
    """Measure one model from its counts.

        >>> profile(Counts.of([16] * 20, [0] * 10 + [16] * 10)).boundary.states
        {'reached': 10, 'not_reached': 10, 'unresolved': 0}

    Args:
        counts: samples and successes of each problem.
        k: further k to report, beyond n too.
        sizes: group sizes G whose shares of mixed groups are estimated.
        level: coverage of bands and intervals.
        seed: seed of the draws from the posterior.
        params: how the samples were drawn; None: unknown.
        allow_truncated_sampling: report on support although top-p, top-k or temperature can make zeros.
        answer_space: number of answers that a blind guess chooses from, at least 2.
        verifier: audit of the verifier, to undo its errors.
        clusters: shape (P,), number of each problem's cluster, for the band of the curve.

    Raises:
        InputError: no problems, nothing judged, a k below 1, or an answer space below 2.
    """
    if not len(counts):
        raise InputError("there are no problems to measure; give counts of at least one")
    if not counts.judged.any():
        raise InputError(
            f"none of the samples of {len(counts)} problems is judged: there is nothing to measure; judge some"
        )
    if answer_space is not None and not answer_space >= 2:
        raise InputError(f"the answer space is {answer_space!r}; give the number of possible answers, at least 2")
    smallest = max(int(counts.n.min()), 1)
    chosen = passk.choose_ks(list(k), smallest) if len(k) else np.array([far for far in FAR if far > smallest])
    curve = passk.curve(
        counts,
        np.union1d(passk.default_ks(smallest), chosen if len(k) else []).astype(np.int64),
        level,
        clusters=clusters,
    )
    judged = bool(counts.judged.any())
    glance = [int(x) for x in chosen if x <= smallest] or sorted({1, smallest})
    undefined = Estimate.undefined("nothing was judged", level)
    rates = RateDistribution.of(counts, seed) if judged else None
    ks = sorted({*powers_of_two(curve.largest), *map(int, chosen)})
    return Profile(
        counts=counts,
        curve=curve,
        boundary=boundary(counts, level),
        groups=groups.expected(counts, sizes, level, seed, rates) if judged else {},
        these={} if rates is None else _these(rates, ks, curve, level),
        alike={} if rates is None else _alike(rates, ks, curve, level),
        rates=rates,
        unseen=_unseen(counts, rates, level) if rates is not None else undefined,
        truncated=corrections.truncated_share(counts, level),
        chance_corrected=corrections.chance_corrected(counts, 1 / answer_space, glance, level) if answer_space else {},
        verified=corrections.verified_pass_at_k(counts, verifier, glance, level, seed) if verifier else {},
        verified_p=corrections.verified_p(counts, verifier, level) if verifier else None,
        rogan_gladen=corrections.rogan_gladen(counts, verifier, level, seed) if verifier else None,
        support_refused=corrections.support_refusal(params, allow_truncated_sampling) if params else None,
        support_asked=allow_truncated_sampling,
    )


def powers_of_two(largest: int) -> list[int]:
    """Return the powers of two up to `largest`, and `largest` itself: the k that a table shows; [] for 0.

    >>> powers_of_two(10)
    [1, 2, 4, 8, 10]
    """
    return sorted({k for k in (2**i for i in range(40)) if k <= largest} | ({largest} if largest else set()))


def _these(rates: RateDistribution, ks: Sequence[int], curve: Band, level: float) -> dict[int, Estimate]:
    """Return pass@k of these problems at each k."""
    return dict(zip(ks, _not_below(curve, ks, rates.pass_at_k(ks, level))))


def _alike(rates: RateDistribution, ks: Sequence[int], curve: Band, level: float) -> dict[int, Estimate]:
    """Return pass@k of problems like these at each k, where n samples are enough from the band."""
    beyond = [k for k in ks if k > curve.largest]
    far = dict(zip(beyond, _not_below(curve, beyond, rates.pass_at_k(beyond, level, population=True))))
    return {k: far[k] if k in far else curve.at(k) for k in ks}


def _not_below(curve: Band, ks: Sequence[int], estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return the estimates, beyond n nowhere below the curve's value at its largest k: pass@k does not fall."""
    floor = curve.at(curve.largest).value if curve.largest else float("nan")
    return [
        replace(e, value=max(e.value, floor), high=max(e.high, floor)) if k > curve.largest and floor == floor else e
        for k, e in zip(ks, estimates)
    ]


def _unseen(counts: Counts, rates: RateDistribution, level: float) -> Estimate:
    """Return the share of these problems with P below log(2) / n, which n samples miss more often than not."""
    limit = np.log(2) / int(counts.n.max())
    return rates.estimate(lambda grid: mixture.below(grid, limit)[None, :], level)[0]


def _finite(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
