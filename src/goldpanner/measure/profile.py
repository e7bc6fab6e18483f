"""Everything that one model's counts say, in one object: what `goldpanner measure` prints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import corrections, extrapolate, groups, mixture, passk
from goldpanner.measure.boundary import Boundary, boundary
from goldpanner.measure.corrections import VerifierErrors
from goldpanner.measure.extrapolate import Extrapolation, beyond_n
from goldpanner.measure.groups import GroupShares
from goldpanner.measure.mixture import Mixture
from goldpanner.measure.passk import Band
from goldpanner.measure.posterior import Shapes
from goldpanner.types import Counts, Estimate, FloatArray, SamplingParams

FAR = (1_000, 10_000, 100_000, 1_000_000)
"""Where pass@k is extrapolated to when no k is asked."""


@dataclass(frozen=True)
class Profile:
    """One model's boundary."""

    counts: Counts
    curve: Band
    """pass@k for every k up to the smallest n."""
    boundary: Boundary
    groups: dict[int, GroupShares]
    beyond: Extrapolation | None
    """pass@k at every k asked; None where nothing was judged."""
    fits: tuple[Mixture, ...]
    """The distribution of P(correct): beta-binomial, zero-inflated, non-parametric."""
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
    support_asked: bool = False
    """Whether it is spoken of nevertheless, as asked."""

    @property
    def speaks_of_support(self) -> bool:
        """Whether the boundary may be shown: the samples can speak of it, or it was asked for nevertheless."""
        return self.support_refused is None or self.support_asked

    @cached_property
    def at_a_glance(self) -> Sequence[int]:
        """Return the powers of two up to the largest k, and that k: what a table shows."""
        largest = self.curve.largest
        return sorted({k for k in (2**i for i in range(40)) if k <= largest} | ({largest} if largest else set()))

    def method_at(self, k: int) -> str:
        """Return how pass@k is estimated within n: where a problem has fewer than k judged, it counts with those."""
        judged = self.counts.judged
        return "unbiased" if k <= judged[judged > 0].min(initial=k) else "of the judged, at least"

    def _seen_p(self) -> list[list[float | None] | None]:
        """Return `verified_p` problem by problem, as JSON values."""
        if self.verified_p is None:
            return [None] * len(self.counts)
        return [[_finite(x) for x in row] for row in np.column_stack(self.verified_p)]

    def _beyond_json(self) -> dict[str, Any]:
        """Return every k asked: within n the unbiased estimate with its band, beyond it the extrapolation.

        `of` says whose pass@k the interval is about: the population's that the problems were drawn from (the band, the
        bootstrap over problems), or that of these very problems (the shape average beyond n).
        """
        if self.beyond is None:
            return {}
        rows = {}
        for k, estimate in zip(self.beyond.k.tolist(), self.beyond.estimates):
            inside = k <= self.curve.largest
            shown = self.curve.at(k) if inside else estimate
            method = self.method_at(k) if inside else estimate.method
            these = not inside and method == extrapolate.DEFAULT
            rows[str(k)] = {**shown.to_json(), "method": method, "of": "these problems" if these else "population"}
        return rows

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
            "beyond_n": self._beyond_json(),
            "models_beyond_n": {} if self.beyond is None else _models(self.beyond),
            "groups": {str(size): shares.to_json() for size, shares in self.groups.items()},
            "boundary": b.to_json(),
            "strata": dict(b.strata),
            "cannot_be_told_from_zero": self.unseen.to_json(),
            "fits": [fit.to_json() for fit in self.fits],
            "truncated": self.truncated.to_json(),
            "chance_corrected": {str(k): e.to_json() for k, e in self.chance_corrected.items()},
            "verifier_corrected": {str(k): e.to_json() for k, e in self.verified.items()},
            "rogan_gladen": None if self.rogan_gladen is None else self.rogan_gladen.to_json(),
            "support_refused": self.support_refused,
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
    override_support: bool = False,
    answer_space: float | None = None,
    verifier: VerifierErrors | None = None,
) -> Profile:
    """Measure one model from its counts.

    `k` are further k to report, beyond n too; `answer_space` is the number of answers a blind guess chooses from;
    `verifier` its audit; `params` how the samples were drawn (None: unknown). Raises InputError for no problems, a k
    below 1, or an answer space below 2.
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
    asked = passk.choose_ks(list(k), smallest) if len(k) else np.array([far for far in FAR if far > smallest])
    curve = passk.curve(counts, np.union1d(passk.default_ks(smallest), asked if len(k) else []).astype(np.int64), level)
    judged = bool(counts.judged.any())
    glance = [int(x) for x in asked if x <= smallest] or sorted({1, smallest})
    undefined = Estimate.undefined("nothing was judged", level)
    shapes = Shapes.of(counts, seed) if judged else None
    return Profile(
        counts=counts,
        curve=curve,
        boundary=boundary(counts, level),
        groups=groups.expected(counts, sizes, level, seed, shapes) if judged else {},
        beyond=_joined(beyond_n(counts, asked, level, seed, shapes), curve) if judged and len(asked) else None,
        fits=(mixture.beta_binomial(counts), mixture.zero_inflated(counts), mixture.npmle(counts)) if judged else (),
        unseen=_unseen(counts, shapes, level) if shapes is not None else undefined,
        truncated=corrections.truncated_share(counts, level),
        chance_corrected=corrections.chance_corrected(counts, 1 / answer_space, glance, level) if answer_space else {},
        verified=corrections.verified_pass_at_k(counts, verifier, glance, level, seed) if verifier else {},
        verified_p=corrections.verified_p(counts, verifier, level) if verifier else None,
        rogan_gladen=corrections.rogan_gladen(counts, verifier, level, seed) if verifier else None,
        support_refused=corrections.support_refusal(params, override_support) if params else None,
        support_asked=override_support,
    )


def _joined(found: Extrapolation, curve: Band) -> Extrapolation:
    """Return the extrapolation, nowhere below what the curve already has at its largest k: pass@k does not fall."""
    if not curve.largest:
        return found
    floor = curve.at(curve.largest).value
    if np.isnan(floor):
        return found
    pairs = zip(found.k.tolist(), found.estimates)
    estimates = (
        replace(e, value=max(e.value, floor), high=max(e.high, floor)) if k > curve.largest else e for k, e in pairs
    )
    return replace(found, estimates=tuple(estimates))


def _unseen(counts: Counts, shapes: Shapes, level: float) -> Estimate:
    """Return the share of these problems with P below log(2) / n, which n samples miss more often than not."""
    limit = np.log(2) / int(counts.n.max())
    return shapes.estimate(lambda grid: mixture.below(grid, limit)[None, :], level)[0]


def _models(found: Extrapolation) -> dict[str, Any]:
    """Return what every model says, the plug-in as what not to do, and how each fared on held-out samples."""
    return {
        name: {
            "values": {str(k): _finite(v) for k, v in zip(found.k.tolist(), values)},
            "held_out_error": float(found.held_out[name].mean()) if name in found.held_out else None,
            "use": "reported" if name == found.method else "do not use" if name == extrapolate.PLUG_IN else "beside",
        }
        for name, values in found.models.items()
    }


def _finite(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
