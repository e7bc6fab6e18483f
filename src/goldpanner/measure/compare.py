"""Did RL move the boundary? Base against RL, paired by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.bands import mean_band
from goldpanner.measure.changes import CHANGES, Changes, SupportChange, changes, support
from goldpanner.measure.intervals import check_level
from goldpanner.measure.origin import LABELS, Origin, origin
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.thresholds import SAME
from goldpanner.measure.verdict import MARGIN, Verdict, more_samples, rose_first, summarise, verdict_of, within_reach
from goldpanner.types import Counts, Estimate, FloatArray, IntArray


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
    """First k at which the base catches up with RL and from which it then leads, log-interpolated. NaN: RL does not
    lead at k = 1. Infinite: not within n (curves that meet where both solve all they can do not cross). Its interval is
    the confidence set from the band of the difference: from the last k up to which RL surely leads to the first at
    which the base surely does."""
    equivalent_k: Estimate
    """Smallest k with pass@k of the base >= pass@1 of RL, log-interpolated; infinite where n is too small to see it."""
    changes: Changes
    verdict: Verdict
    more_per_problem: int | None
    """About how many more samples per problem would decide; None where none are needed or more problems are."""
    summary: str
    """The paragraph."""
    origin: Mapping[str, Origin] = field(default_factory=dict)
    """Problem id -> where a gained problem came from, of those that `with_origins` was told of."""
    support_refused: str | None = None
    """Why nothing can be said of support, where the two are compared nevertheless."""

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
            "origin": {i: o.to_json() for i, o in self.origin.items()},
            "verdict": self.verdict,
            "more_per_problem": self.more_per_problem,
            "summary": self.summary,
            "support_refused": self.support_refused,
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
) -> Comparison:
    """Compare two models on the same problems, paired by id.

    `k` defaults to every k up to the smallest n of each; the difference ends at the smaller of the two. `level` is that
    of every band and interval, `fdr` the false discovery rate of established gains and losses, `margin` what a
    difference must be to matter (`decide`). Raises InputError when the two do not hold the same ids, naming them, or
    hold none.
    """
    check_level(level)
    if not 0 < fdr < 1:
        raise InputError(f"the false discovery rate is {fdr!r}; give a number in (0, 1), e.g. 0.05")
    rl = align(base, rl)
    ks = passk.choose_ks(k, 1) if k is not None else np.union1d(*(passk.default_ks(smallest_n(x)) for x in (base, rl)))
    ks = ks if len(ks) else np.array([1])
    of_base, of_rl = passk.curve(base, ks, level), passk.curve(rl, ks, level)
    gap = difference(base, rl, ks, level)
    found = changes(base, rl, fdr)
    crossing, equivalent = crossover(gap), equivalent_k(base, rl, level)
    verdict, reach = verdict_of(gap, found, margin), None
    if verdict == "expanded":
        reach = within_reach(base, of_rl, gap.largest)
        if reach is not None:
            moved = ((gap.low > 0) | (gap.high < 0)).any()
            verdict = "sharpened" if rose_first(gap) or (not moved and gap.value[0] > 0) else "shifted"
    more = more_samples(base, rl, gap, found, margin) if verdict == "cannot be decided from these samples" else None
    summary = summarise(of_base, of_rl, gap, crossing, equivalent, found, verdict, more, base, rl, reach)
    return Comparison(len(base), level, of_base, of_rl, gap, crossing, equivalent, found, verdict, more, summary)


def with_origins(
    found: Comparison, scored: Mapping[str, Mapping[str, Any]], base: Counts, full_softmax: bool
) -> Comparison:
    """Return the comparison with the origin of its gained problems, and a sentence on them in the summary.

    `scored`: per problem arrays `correct`, `logp` (under the base) and `own` of the RL model's samples, as
    `Store.scored` gives them; a problem that it lacks gets no origin. `base`: the base's counts.
    """
    place = {problem: i for i, problem in enumerate(base.ids)}
    judged = base.judged
    origins: dict[str, Origin] = {}
    for problem in found.changes.of("gained"):
        if (rows := scored.get(problem)) is not None:
            at = place[problem]
            origins[problem] = origin(
                rows["correct"],
                rows["logp"],
                rows["own"],
                base_n=int(judged[at]),
                base_c=int(base.c[at]),
                full_softmax=full_softmax,
                level=found.level,
            )
    if not origins:
        return found
    weights = []
    for label in LABELS:
        these = [o for o in origins.values() if o.label == label]
        reliable = [o.p_base.value for o in these if o.diagnostics.reliable]
        had = f" (the base had them at P = {min(reliable):.2g} to {max(reliable):.2g}, or more)" if reliable else ""
        if these:
            weights.append(f"{len(these)} {label}{had if label == 'amplified' else ''}")
    sentence = f"Origin of {len(origins)} of the gained problems, by importance sampling: {', '.join(weights)}."
    return replace(found, origin=origins, summary=f"{found.summary} {sentence}")


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
        differences = "; ".join(
            f"only in {name}: {', '.join(map(called, ids[:5]))}{f' and {len(ids) - 5} more' if len(ids) > 5 else ''}"
            for name, ids in only
            if ids
        )
        raise InputError(f"base and RL do not hold the same problems ({differences}); keep the ids that both have")
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
    crossed = np.minimum.accumulate(value[::-1])[::-1] < -SAME  # the base leads here or later
    behind, surely = (value <= SAME) & crossed, high < 0
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
