"""The verdict on two models in one word, how many more samples would decide it, and the paragraph that explains it."""

from typing import Literal

import numpy as np
from scipy.special import bdtr

from goldpanner.measure.changes import CHANGES, Changes
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.posterior import RateDistribution
from goldpanner.measure.thresholds import SAME
from goldpanner.types import Counts, Estimate

Verdict = Literal[
    "sharpened",
    "expanded",
    "narrowed",
    "shifted",
    "no difference shown",
    "cannot be decided from these samples",
]
MATERIAL = 0.05
"""Established gains (losses) count when they are at least this share of the problems that either model solved, and two:
a lone change is named, and is no word on the model."""
REACH = 10
"""What the base would solve with so many times the samples is not counted as beyond it."""
FEWEST = 6
"""Fewest established changes that are no material share and still give a verdict: of 6 changes all one way an exact
sign test says p = 2 x 2^-6 = .031, of 5 .063. Fewer are named, but say nothing of the problems that were not asked."""
EXCHANGE = 3
"""Gains and losses are an exchange when neither outnumbers the other this many times."""
MARGIN = 0.1
"""A difference of pass@k that goes unseen matters from here on: wider bands cannot decide."""


def verdict_of(gap: Band, found: Changes, margin: float = MARGIN) -> Verdict:
    """Return the verdict. The rule, in this order; K is the largest k of the difference's simultaneous band.

    Gains (losses) are *material* if the established ones are at least 5% (`MATERIAL`) of the problems that either
    model solved, and at least two. The boundary *grew* if gains are material and more than the losses, and the band at
    K does not lie below 0; it *shrank* if the band at K lies below 0, or losses are material and more than the gains. A
    band above 0 at K alone is no growth: at small K it shows speed, and the base might get there, too
    (`within_reach`).

    1. shifted: gains and losses are both material, and neither outnumbers the other three times (`EXCHANGE`).
    2. expanded: the boundary grew.
    3. sharpened: pass@k rose at some k (band above 0) and fell at no smaller one, and the boundary did not grow (stayed
       or shrank).
    4. narrowed: the boundary shrank, and pass@k did not rise first.
    5. shifted: pass@k fell at some k < K without any of these (the curve moved, the boundary was not shown to). That it
       rose at a larger k makes it no sharpening: who finds less with one sample and more with many became flatter.
    6. expanded, narrowed: no material share, but at least 6 (`FEWEST`) established changes, and the gains outnumber the
       losses (the losses the gains) by more than chance, an exact sign test at the level of the bands; shifted if
       neither do. One gained problem of hundreds is established for that problem, and no expansion of the model.
    7. cannot be decided from these samples: one problem, or a band wider than twice `margin` (0.1) at k = 1 or
       K: a difference that matters could hide in it.
    8. no difference shown.
    """
    use = ~np.isnan(gap.low)
    if gap.problems < 2 or not use.any():
        return "cannot be decided from these samples"
    low, high = gap.low[use], gap.high[use]
    gains, losses = found.count("gained", established=True), found.count("lost", established=True)
    material = max(2.0, MATERIAL * sum(found.count(c) for c in CHANGES[:3]))
    if min(gains, losses) >= material and max(gains, losses) < EXCHANGE * min(gains, losses):
        return "shifted"
    if gains >= material and gains > losses and high[-1] >= 0:
        return "expanded"
    if rose_first(gap):
        return "sharpened"
    if high[-1] < 0 or (losses >= material and losses > gains):
        return "narrowed"
    if (high < 0).any():
        return "shifted"
    if gains + losses >= FEWEST:
        if min(1.0, 2 * float(bdtr(min(gains, losses), gains + losses, 0.5))) > 1 - gap.level:
            return "shifted"
        return "expanded" if gains > losses else "narrowed"
    ends = [0, -1]
    if (high[ends] - low[ends]).max() > 2 * margin:
        return "cannot be decided from these samples"
    return "no difference shown"


def rose_first(gap: Band) -> bool:
    """Whether pass@k rose at some k (band above 0), and fell (band below 0) at no smaller one."""
    rose, fell = gap.low > 0, gap.high < 0
    return bool(rose.any()) and not fell[: int(np.argmax(rose))].any()


def within_reach(base: Counts, of_rl: Band, last: int) -> Estimate | None:
    """Return the base's pass@(10 K) if it probably reaches what RL has at K for certain, else None.

    K is the `last` k compared. By `RateDistribution`. Problems that the base would solve with ten times
    the samples are no expansion: with n samples each, a problem at P = 1/n is missed by the base every third time.
    """
    if not last or not base.judged.any():
        return None
    reach = RateDistribution.of(base).pass_at_k([REACH * last], of_rl.level)[0]
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
    share = min(1.0, within / spread) if spread > 0 else 0.0  # alike in all problems: what is left is their number
    if half > margin and (not wide_at_last(gap, margin) or abs(gap.value[0]) > margin / 2):
        remaining = (1 - share) * half**2
        if remaining >= margin**2:
            return None
        needs.append(n * (share * half**2 / (margin**2 - remaining) - 1))
    noise = ((found.change == "gained") | (found.change == "lost")) & ~found.established
    tilt = sorted(int((noise & (found.change == name)).sum()) for name in ("gained", "lost"))
    if noise.any() and tilt[1] >= EXCHANGE * tilt[0]:
        rate = float(np.median(((base.c + rl.c) / np.maximum(np.where(rl.c > 0, rl.n, base.n), 1))[noise]))
        needs.append(found.needed / rate - n)
    need = max(needs, default=0.0)
    if need <= 0:
        return None
    digits = 10 ** max(0, int(np.floor(np.log10(need))) - 1)
    return int(np.ceil(need / digits) * digits)


def wide_at_last(gap: Band, margin: float) -> bool:
    """Whether the band at the largest k could hide a difference that matters; few problems make it so, not samples."""
    low, high = (ends[~np.isnan(gap.low)][-1] for ends in (gap.low, gap.high))
    return bool(high - low > 2 * margin)


def _said(value: float, form: str = ".3g") -> str:
    return "unknown" if np.isnan(value) else format(value, form)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _from(beyond: Estimate, last: int) -> str:
    """Return the interval of a k that lies beyond the last one, where it begins within."""
    return f" (interval {beyond.low:.3g} to beyond {last})" if beyond.low < last else ""


def summarise(
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
    size, n = _counted(gap.problems, "problem"), smallest_n(base)
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
        upper = f"{equivalent.high:.3g}" if np.isfinite(equivalent.high) else f"beyond {n}"
        text.append(
            f"RL's pass@1 is the base's pass@{equivalent.value:.3g} (interval {equivalent.low:.3g} to {upper})."
        )
    elif np.isinf(equivalent.value):
        text.append(f"RL's pass@1 is more than the base reaches within {_counted(n, 'sample')}{_from(equivalent, n)}.")
    if np.isfinite(crossing.value) and not gap.low[0] > 0:
        text.append(f"No lead of RL at k = {int(gap.k[0])} is shown.")
    elif np.isfinite(crossing.value):
        upper = f"{crossing.high:.3g}" if np.isfinite(crossing.high) else f"beyond {last}"
        text.append(f"The base catches up at k = {crossing.value:.3g} (confidence set {crossing.low:.3g} to {upper}).")
    elif np.isinf(crossing.value) and gap.low[0] > 0 and gap.at(last).value < SAME:
        text.append(f"The base draws level within k = {last}, and does not overtake.")
    elif np.isinf(crossing.value) and gap.low[0] > 0:
        text.append(f"The base does not catch up within k = {last}{_from(crossing, last)}.")
    text += _by_problem(size, found, verdict)
    text += _what_decides(gap, verdict, more, int(base.unjudged.sum() + rl.unjudged.sum()))
    return " ".join(text)


def _by_problem(size: str, found: Changes, verdict: Verdict) -> list[str]:
    """Return the sentences on gains and losses."""
    parts = [
        f"{name} {found.count(name)} ({found.count(name, established=True)} established)" for name in ("gained", "lost")
    ]
    text = [
        f"Of {size}: kept {found.count('kept')}, {', '.join(parts)}, solved by neither {found.count('neither')};"
        f" a lone change needs {found.needed} successes against none to be established, several need fewer or as many"
        f" (false discovery rate {found.fdr:.0%})."
    ]
    established = int(found.established.sum())
    if established and verdict in ("no difference shown", "cannot be decided from these samples"):
        text.append(
            f"{established} established change{'s are' if established > 1 else ' is'} too few to speak of the boundary "
            "as a whole."
        )
    return text


def _what_decides(gap: Band, verdict: Verdict, more: int | None, unjudged: int) -> list[str]:
    """Return the sentences on unjudged samples, and on what would decide an open verdict."""
    text = []
    if unjudged:
        text.append(f"{unjudged} samples are unjudged: every interval allows for all of them right or all wrong.")
    if verdict == "cannot be decided from these samples" and unjudged:
        text.append("Judge them first.")
    elif verdict == "cannot be decided from these samples":
        few = "; where they show nothing, more problems are needed" if wide_at_last(gap, MARGIN) else ""
        text.append(
            f"Draw about {more} more per problem{few}." if more else "More problems are needed, not more samples."
        )
    return text
