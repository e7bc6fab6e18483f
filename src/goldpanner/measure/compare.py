"""Did RL move the boundary? Base against RL, paired by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.bands import mean_band
from goldpanner.measure.extrapolate import beyond_n
from goldpanner.measure.intervals import check_level
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.support import CHANGES, Changes, SupportChange, changes, support
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

Verdict = Literal[
    "sharpened",
    "expanded",
    "narrowed",
    "shifted",
    "no difference shown",
    "cannot be decided from these samples",
]
MATERIAL = 0.05
"""Established gains (losses) count when they are at least this share of the problems that either model solved."""
REACH = 10
"""What the base would solve with so many times the samples is not counted as beyond it."""
EXCHANGE = 3
"""Gains and losses are an exchange when neither outnumbers the other this many times."""
MARGIN = 0.1
"""A difference of pass@k that goes unseen matters from here on: wider bands cannot decide."""


@dataclass(frozen=True)
class Comparison:
    """What two sets of counts say about the difference between two models."""

    problems: int
    level: float
    base: Band
    rl: Band
    difference: Band
    """RL minus base."""
    crossover_k: Estimate
    """First k at which the base catches up with RL, log-interpolated. NaN: RL does not lead at k = 1. Infinite: not
    within n. Its interval is the confidence set from the band of the difference: from the last k up to which RL surely
    leads to the first at which the base surely does."""
    equivalent_k: Estimate
    """Smallest k with pass@k of the base >= pass@1 of RL, log-interpolated; infinite where n is too small to see it."""
    changes: Changes
    verdict: Verdict
    more_per_problem: int | None
    """About how many more samples per problem would decide; None where none are needed or more problems are."""
    summary: str
    """The paragraph."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Problem id -> where a gained problem came from (`measure.rare`), carried along."""

    @property
    def four_way(self) -> dict[str, int]:
        """Number of problems kept, lost, gained and neither."""
        return {name: self.changes.count(name) for name in CHANGES}

    @property
    def support(self) -> SupportChange:
        """SRR, NDR, SDS and NSCR as published."""
        return support(self.changes)

    @property
    def support_established(self) -> SupportChange:
        """The same with only established gains and losses."""
        return support(self.changes, established=True)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `goldpanner compare --json` prints."""
        found = self.changes
        per_problem = zip(found.ids, found.change, found.p_value, found.q_value, found.established)
        return {
            "problems": self.problems,
            "level": self.level,
            "pass_at_k": {
                "base": self.base.to_json(),
                "rl": self.rl.to_json(),
                "difference": self.difference.to_json(),
            },
            "crossover_k": self.crossover_k.to_json() | {"beyond": _beyond(self.crossover_k, self.difference.largest)},
            "equivalent_k": self.equivalent_k.to_json() | {"beyond": _beyond(self.equivalent_k, self.base.largest)},
            "four_way": self.four_way,
            "established": {name: found.of(name, established=True) for name in ("lost", "gained")},
            "fdr": found.fdr,
            "support": {"as_published": self.support.to_json(), "established": self.support_established.to_json()},
            "per_problem": [
                {"id": i, "change": str(c), "p_value": float(p), "q_value": float(q), "established": bool(e)}
                for i, c, p, q, e in per_problem
            ],
            "origin": {i: (o.to_json() if hasattr(o, "to_json") else o) for i, o in self.origin.items()},
            "verdict": self.verdict,
            "more_per_problem": self.more_per_problem,
            "summary": self.summary,
        }


def _beyond(estimate: Estimate, largest: int) -> int | None:
    """Return the k up to which an infinite estimate was looked for in vain."""
    return largest if np.isinf(estimate.value) else None


def compare(
    base: Counts,
    rl: Counts,
    *,
    k: Sequence[int] | IntArray | None = None,
    level: float = 0.95,
    fdr: float = 0.05,
    margin: float = MARGIN,
    origin: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare two models on the same problems, paired by id.

    `k` defaults to every k up to the smallest n of both. `level` is that of every band and interval, `fdr` the false
    discovery rate of established gains and losses, `margin` what a difference must be to matter (`decide`). Raises
    InputError when the two do not hold the same ids, naming them, or hold none.
    """
    check_level(level)
    if not 0 < fdr < 1:
        raise InputError(f"the false discovery rate is {fdr!r}; give a number in (0, 1), e.g. 0.05")
    rl = align(base, rl)
    ks = passk.choose_ks(k, max(1, min(smallest_n(base), smallest_n(rl))))
    of_base, of_rl = passk.curve(base, ks, level), passk.curve(rl, ks, level)
    gap = difference(base, rl, ks, level)
    found = changes(base, rl, fdr)
    crossing, equivalent = crossover(gap), equivalent_k(base, rl, level)
    verdict, reach = decide(gap, found, margin), None
    if verdict == "expanded":
        reach = within_reach(base, of_rl)
        verdict = "sharpened" if reach is not None and (gap.low > 0).any() else verdict
    more = more_samples(base, rl, gap, found, margin) if verdict == "cannot be decided from these samples" else None
    summary = _summary(of_base, of_rl, gap, crossing, equivalent, found, verdict, more, base, rl, reach)
    return Comparison(
        len(base), level, of_base, of_rl, gap, crossing, equivalent, found, verdict, more, summary, dict(origin or {})
    )


def align(base: Counts, rl: Counts, names: Mapping[str, str] | None = None) -> Counts:
    """Return `rl` in the order of `base`; raise InputError naming the ids that only one of them has.

    `names` is what people call an id, where it is a hash.
    """
    if base.ids == rl.ids:
        return rl

    def called(problem: str) -> str:
        return f"{names[problem]} ({problem})" if names and names.get(problem, problem) != problem else problem

    only = [(name, sorted(set(a) - set(b))) for name, a, b in (("base", base.ids, rl.ids), ("RL", rl.ids, base.ids))]
    if any(ids for _, ids in only):
        said = "; ".join(
            f"only in {name}: {', '.join(map(called, ids[:5]))}{f' and {len(ids) - 5} more' if len(ids) > 5 else ''}"
            for name, ids in only
            if ids
        )
        raise InputError(f"base and RL do not hold the same problems ({said}); keep the ids that both have")
    where = {i: at for at, i in enumerate(rl.ids)}
    return rl.select([where[i] for i in base.ids])


def difference(
    base: Counts, rl: Counts, k: Sequence[int] | IntArray, level: float = 0.95, simultaneous: bool = True
) -> Band:
    """Return the mean over problems of pass@k of RL minus base, paired, with a band (`measure.bands`).

    Same order of problems in both. NaN beyond the smallest n of both. Unjudged samples widen it both ways at their
    worst. One problem gives [-1, 1].
    """
    ks = passk.choose_ks(k, 1)
    use = ks <= min(smallest_n(base), smallest_n(rl))
    value, low, high = (np.full(len(ks), np.nan) for _ in range(3))

    def band(c_base: IntArray, c_rl: IntArray) -> tuple[FloatArray, FloatArray]:
        rows = [passk.rows_of(rl.n, c_rl, ks[use]), passk.rows_of(base.n, c_base, ks[use])]
        return mean_band(rows, level, simultaneous)

    if use.any():
        value[use] = passk.mean_value(rl, ks[use]) - passk.mean_value(base, ks[use])
        low[use], high[use] = band(base.c, rl.c)
        if base.unjudged.any() or rl.unjudged.any():
            low[use] = band(base.c + base.unjudged, rl.c)[0]
            high[use] = band(base.c, rl.c + rl.unjudged)[1]
    method = f"paired studentised bootstrap over {len(base)} problems"
    return Band(ks, value, np.clip(low, -1, 1), np.clip(high, -1, 1), level, method, simultaneous, len(base))


def crossover(gap: Band) -> Estimate:
    """Return the first k at which RL's lead in pass@k ends, with its confidence set.

    From the simultaneous band of the difference: RL leads for certain up to `low` (1 if nowhere), the base leads for
    certain from `high` on (infinite if nowhere); with probability `level` the first crossing lies between. Undefined
    where RL does not lead at the first k.
    """
    use = ~np.isnan(gap.low)
    k, value, low, high = gap.k[use].astype(np.float64), gap.value[use], gap.low[use], gap.high[use]
    method = "sign of the simultaneous band of the difference"
    if not len(k) or not value[0] > 0:
        return Estimate.undefined(method, gap.level)
    behind, surely = value <= 0, high < 0
    at = _interpolate(k, value, int(np.argmax(behind))) if behind.any() else np.inf
    lead = int(np.argmin(low > 0)) if not (low > 0).all() else len(k)
    first = float(k[lead - 1]) if lead else 1.0
    last = float(k[np.argmax(surely)]) if surely.any() else np.inf
    return Estimate(at, min(first, at), max(last, at), gap.level, method, gap.problems)


def _interpolate(k: FloatArray, value: FloatArray, at: int) -> float:
    """Return where `value` crosses 0 between at-1 and `at`, linearly in log k."""
    if at == 0:
        return float(k[0])
    a, b = value[at - 1], value[at]
    share = 0.0 if a == b else a / (a - b)
    return float(np.exp(np.log(k[at - 1]) + share * np.log(k[at] / k[at - 1])))


def equivalent_k(base: Counts, rl: Counts, level: float = 0.95) -> Estimate:
    """Return the smallest k at which the base's pass@k reaches RL's pass@1, with a confidence interval.

    The contrast h(k) = pass@k of base - pass@1 of RL grows with k. The estimate is where h crosses 0, linear in log k;
    the interval holds every k whose own (pointwise) paired interval of h contains 0, which covers the crossing with
    probability `level`. Infinite ends were not seen within the base's n. 1 where the base is as good at k = 1.
    """
    n = smallest_n(base)
    method = "pointwise paired contrast, inverted"
    if n < 1 or smallest_n(rl) < 1:
        return Estimate.undefined(method, level)
    ks = passk.choose_ks(None, n)

    def contrast(c_base: IntArray, c_rl: IntArray) -> tuple[FloatArray, FloatArray]:
        rows = [passk.rows_of(base.n, c_base, ks), passk.rows_of(rl.n, c_rl, np.array([1]))]
        return mean_band(rows, level, simultaneous=False)

    value = passk.mean_value(base, ks) - passk.mean_value(rl, np.array([1]))
    low, high = contrast(base.c, rl.c)
    if base.unjudged.any() or rl.unjudged.any():
        low, high = contrast(base.c, rl.c + rl.unjudged)[0], contrast(base.c + base.unjudged, rl.c)[1]
    if np.isnan(value).any():
        return Estimate.undefined(method, level)
    at, first, last = (_first_above(ks.astype(np.float64), curve) for curve in (value, high, low))
    return Estimate(at, min(first, at), max(last, at), level, method, len(base))


def _first_above(k: FloatArray, value: FloatArray) -> float:
    """Return where an increasing curve first reaches 0, linear in log k; infinite if nowhere."""
    reached = value >= -1e-12
    return _interpolate(k, value, int(np.argmax(reached))) if reached.any() else float("inf")


def decide(gap: Band, found: Changes, margin: float = MARGIN) -> Verdict:
    """Return the verdict. The rule, in this order; K is the largest k of the difference's simultaneous band.

    Gains (losses) are *material* if the established ones are at least 5% (`MATERIAL`) of the problems that either
    model solved. The boundary *grew* if gains are material and more than the losses, and the band at K does not lie
    below 0; it *shrank* if the band at K lies below 0, or losses are material and more than the gains. A band above 0
    at K alone is no growth: at small K it shows speed, and the base might get there, too (`within_reach`).

    1. shifted: gains and losses are both material, and neither outnumbers the other three times (`EXCHANGE`).
    2. expanded: the boundary grew.
    3. sharpened: pass@k rose at some k < K (band above 0), and the boundary did not grow (stayed or shrank).
    4. narrowed: the boundary shrank, and pass@k rose nowhere.
    5. shifted: pass@k fell at some k < K without any of these (the curve moved, the boundary was not shown to).
    6. expanded, narrowed, shifted: nothing but a few established gains, losses, or both.
    7. cannot be decided from these samples: one problem, or a band wider than twice `margin` (0.1) at k = 1 or
       K: a difference that matters could hide in it.
    8. no difference shown.
    """
    use = ~np.isnan(gap.low)
    if gap.problems < 2 or not use.any():
        return "cannot be decided from these samples"
    low, high = gap.low[use], gap.high[use]
    gains, losses = found.count("gained", established=True), found.count("lost", established=True)
    material = max(1.0, MATERIAL * sum(found.count(c) for c in CHANGES[:3]))
    if min(gains, losses) >= material and max(gains, losses) < EXCHANGE * min(gains, losses):
        return "shifted"
    if gains >= material and gains > losses and high[-1] >= 0:
        return "expanded"
    if (low > 0).any():
        return "sharpened"
    if high[-1] < 0 or (losses >= material and losses > gains):
        return "narrowed"
    if (high < 0).any() or (gains and losses):
        return "shifted"
    if gains or losses:
        return "expanded" if gains else "narrowed"
    ends = [0, -1]
    if (high[ends] - low[ends]).max() > 2 * margin:
        return "cannot be decided from these samples"
    return "no difference shown"


def within_reach(base: Counts, of_rl: Band) -> Estimate | None:
    """Return the base's pass@(10 K) if it probably reaches what RL has at K for certain, else None.

    Extrapolated (`measure.extrapolate`). Problems that the base would solve with ten times the samples are no
    expansion: with n samples each, a problem at P = 1/n is missed by the base every third time.
    """
    last = of_rl.largest
    if not last or not (base.n > base.unjudged).any():
        return None
    reach = beyond_n(base, [REACH * last], of_rl.level, held_out=False).estimates[0]
    return reach if reach.value >= of_rl.at(last).low else None


def more_samples(base: Counts, rl: Counts, gap: Band, found: Changes, margin: float = MARGIN) -> int | None:
    """Return about how many more samples per problem would decide; None if more problems are needed instead.

    Half the band's width squared at k = 1 is made of a part between problems, which stays, and a part within them, mean
    of p(1-p)/n, which shrinks as 1/n: solve for the n at which the half-width is `margin`. Where gains or losses are
    within noise, also the n at which a typical one of them (median rate c/n) would be established, with as many
    successes against none as that takes now (`Changes.needed`). The larger of what applies, to two digits.
    """
    if gap.problems < 2 or np.isnan(gap.low[0]) or np.isnan(gap.value[0]):
        return None
    m, n = gap.problems, float(min(np.median(base.n), np.median(rl.n)))
    needs: list[float] = []
    half = float(max(gap.high[0] - gap.value[0], gap.value[0] - gap.low[0]))
    p = [(x.c + 0.5) / (x.n + 1) for x in (base, rl)]
    within = float(sum((q * (1 - q) / x.n).sum() for q, x in zip(p, (base, rl)))) / m**2
    spread = float(np.var(rl.c / rl.n - base.c / base.n, ddof=1)) / m
    share = min(1.0, within / spread) if spread > 0 else 1.0
    if half > margin:
        kept = (1 - share) * half**2
        if kept >= margin**2:
            return None
        needs.append(n * (share * half**2 / (margin**2 - kept) - 1))
    noise = ((found.change == "gained") | (found.change == "lost")) & ~found.established
    if noise.any():
        rate = float(np.median(((base.c + rl.c) / np.maximum(np.where(rl.c > 0, rl.n, base.n), 1))[noise]))
        needs.append(found.needed / rate - n)
    need = max(needs, default=0.0)
    if need <= 0:
        return None
    digits = 10 ** max(0, int(np.floor(np.log10(need))) - 1)
    return int(np.ceil(need / digits) * digits)


def _said(value: float, form: str = ".3g") -> str:
    return "unknown" if np.isnan(value) else format(value, form)


def _summary(
    of_base: Band,
    of_rl: Band,
    gap: Band,
    crossing: Estimate,
    equivalent: Estimate,
    found: Changes,
    verdict: Verdict,
    more: int | None,
    base: Counts,
    rl: Counts,
    reach: Estimate | None = None,
) -> str:
    """Return the paragraph: every number in it comes from the comparison."""
    size = f"{gap.problems} problem{'s' if gap.problems != 1 else ''}"
    text = [f"{verdict[0].upper()}{verdict[1:]}."]
    last = gap.largest
    if not last:
        return f"{text[0]} No k is defined for all {size}: at least one has no samples."
    for k in sorted({int(gap.k[0]), last}):
        old, new, by = (band.at(k) for band in (of_base, of_rl, gap))
        text.append(
            f"pass@{k} goes from {_said(old.value)} to {_said(new.value)}"
            f" (difference {_said(by.value, '+.3f')}, {by.level:.0%} band {by.low:+.3f} to {by.high:+.3f})."
        )
    if reach is not None:
        text.append(
            f"The gains are within reach of the base: its pass@{REACH * last} would be about {reach.value:.3g}."
        )
    if equivalent.value == 1:
        text.append("RL's pass@1 is not above the base's.")
    elif np.isfinite(equivalent.value):
        upper = f"{equivalent.high:.3g}" if np.isfinite(equivalent.high) else f"beyond {smallest_n(base)}"
        text.append(
            f"RL's pass@1 is the base's pass@{equivalent.value:.3g} (interval {equivalent.low:.3g} to {upper})."
        )
    elif np.isinf(equivalent.value):
        text.append(f"RL's pass@1 is more than the base reaches within {smallest_n(base)} samples.")
    if np.isfinite(crossing.value) and not gap.low[0] > 0:
        text.append(f"No lead of RL at k = {int(gap.k[0])} is shown.")
    elif np.isfinite(crossing.value):
        upper = f"{crossing.high:.3g}" if np.isfinite(crossing.high) else f"beyond {last}"
        text.append(f"The base catches up at k = {crossing.value:.3g} (confidence set {crossing.low:.3g} to {upper}).")
    elif np.isinf(crossing.value) and gap.low[0] > 0:
        text.append(f"The base does not catch up within k = {last}.")
    parts = [
        f"{name} {found.count(name)} ({found.count(name, established=True)} established)" for name in ("gained", "lost")
    ]
    text.append(
        f"Of {size}: kept {found.count('kept')}, {', '.join(parts)}, solved by neither {found.count('neither')};"
        f" a lone change needs {found.needed} successes against none to be established, several need fewer or as many"
        f" (false discovery rate {found.fdr:.0%})."
    )
    open_ = int(base.unjudged.sum() + rl.unjudged.sum())
    if open_:
        text.append(f"{open_} samples are unjudged: every interval allows for all of them right or all wrong.")
    if verdict == "cannot be decided from these samples" and open_:
        text.append("Judge them first.")
    elif verdict == "cannot be decided from these samples":
        text.append(f"Draw about {more} more per problem." if more else "More problems are needed, not more samples.")
    return " ".join(text)
