"""Two curves over the same problems: paired by id, their difference with its band, and where the base overtakes."""

from collections.abc import Mapping, Sequence

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.bands import mean_band
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.thresholds import SAME
from goldpanner.types import Counts, Estimate, FloatArray, IntArray


def align(base: Counts, rl: Counts, names: Mapping[str, str] | None = None) -> Counts:
    """Return `rl` in the order of `base`; raise InputError naming the ids that only one of them has.

    `names` is what people call an id, where it is a hash.

        >>> align(Counts.of([4, 4], [1, 2], ["a", "b"]), Counts.of([4, 4], [3, 0], ["b", "a"])).c.tolist()
        [0, 3]
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
    base: Counts,
    rl: Counts,
    k: Sequence[int] | IntArray,
    level: float = 0.95,
    simultaneous: bool = True,
    clusters: IntArray | None = None,
) -> Band:
    """Return the mean over problems of pass@k of RL minus base, paired, with a band (`measure.bands`).

    Unjudged samples widen the band both ways at their worst. One problem gives [-1, 1].

    Args:
        base: counts before RL.
        rl: counts after RL, of the same problems in the same order.
        k: numbers of tries; NaN beyond the smallest n of both.
        level: coverage of the band.
        simultaneous: a band for the whole curve at once; False: an interval for each k.
        clusters: shape (P,), number of each problem's cluster.
    """
    ks = passk.choose_ks(k, 1)
    use = ks <= min(smallest_n(base), smallest_n(rl))
    value, low, high = (np.full(len(ks), np.nan) for _ in range(3))

    def band(c_base: IntArray, c_rl: IntArray) -> tuple[FloatArray, FloatArray]:
        rows = [passk.rows_of(rl.n, c_rl, ks[use]), passk.rows_of(base.n, c_base, ks[use])]
        return mean_band(rows, level, simultaneous, clusters=clusters)

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
    at = log_crossing(k, value, int(np.argmax(behind))) if behind.any() else np.inf
    lead = int(np.argmin(low > 0)) if not (low > 0).all() else len(k)
    first = float(k[lead - 1]) if lead else 1.0
    last = float(k[np.argmax(surely)]) if surely.any() else np.inf
    return Estimate(at, min(first, at), max(last, at), gap.level, method, gap.problems)


def log_crossing(k: FloatArray, value: FloatArray, at: int) -> float:
    """Return where `value` crosses 0 between at-1 and `at`, linearly in log k."""
    if at == 0:
        return float(k[0])
    a, b = value[at - 1], value[at]
    share = 0.0 if a == b else a / (a - b)
    return float(np.exp(np.log(k[at - 1]) + share * np.log(k[at] / k[at - 1])))
