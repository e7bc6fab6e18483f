"""A base and several models on the same problems: checkpoints of a run, or seeds of one recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import groups, passk
from goldpanner.measure.bands import mean_band
from goldpanner.measure.changes import Changes, changes
from goldpanner.measure.curves import align
from goldpanner.measure.equivalent import EquivalentK, equivalent_k
from goldpanner.measure.intervals import check_level
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.posterior import METHOD, RateDistribution
from goldpanner.measure.statements import MARGIN, Statement, Word, statement_at, words_for
from goldpanner.measure.thresholds import WITHIN
from goldpanner.result import Brief, Result
from goldpanner.types import Counts, Estimate, FloatArray, IntArray


@dataclass(frozen=True, repr=False)
class Member(Brief):
    """One model of a series, or several seeds of one recipe, against the base."""

    name: str
    seeds: tuple[Counts, ...]
    """Counts of every seed, in the order of the base's problems."""
    curve: Band
    """pass@k, the mean over seeds."""
    at_one_try: Statement
    at_k_tries: Statement
    equivalent_k: EquivalentK
    words: tuple[Word, ...]
    changes: Changes
    """Problem by problem, the seeds' samples taken together."""
    covered: float
    """Share of the problems that the base solved which this model solves, too; NaN where the base solved none."""
    mixed: Estimate
    """Share of mixed groups at the group size, if RL started here; the mean over seeds."""
    at_group: Estimate
    """pass@G of these problems at the group size; the mean over seeds."""
    spread: Mapping[int, tuple[float, float, float]]
    """By k (1 and K): standard deviation of pass@k between seeds, lowest, highest; empty for one seed."""

    def to_json(self) -> dict[str, object]:
        """Return the stage's numbers."""
        found = self.changes
        return {
            "name": self.name,
            "seeds": len(self.seeds),
            "words": list(self.words),
            "at_one_try": self.at_one_try.to_json(),
            "at_k_tries": self.at_k_tries.to_json(),
            "equivalent_k": self.equivalent_k.to_json(),
            "pass_at_k": self.curve.to_json(),
            "rose": [found.ids[i] for i in found.moved(found.rose)],
            "fell": [found.ids[i] for i in found.moved(found.fell)],
            "established": {name: found.of(name, established=True) for name in ("gained", "lost")},
            "covered": None if np.isnan(self.covered) else self.covered,
            "mixed_groups": self.mixed.to_json(),
            "pass_at_group_size": self.at_group.to_json(),
            "between_seeds": {
                str(k): {"standard_deviation": sd, "lowest": low, "highest": high}
                for k, (sd, low, high) in self.spread.items()
            },
        }


@dataclass(frozen=True, repr=False)
class Series(Result):
    """A base and the models that came of it, compared with it one by one, with the errors of all together."""

    base: Member
    """The base itself, compared with itself: its curve and its groups."""
    stages: tuple[Member, ...]
    group: int
    """G, the size of the groups."""
    level: float
    """Coverage of all intervals of the differences together (Bonferroni over stages)."""
    support_refused: str | None = None
    """Why nothing can be said of the models' support: systems are compared, as they were run."""

    @property
    def start(self) -> str:
        """From which model RL would see the most mixed groups, as far as the samples decide."""
        ranked = sorted((self.base, *self.stages), key=lambda stage: -stage.mixed.value)
        best = ranked[0]
        rivals = [stage.name for stage in ranked[1:] if stage.mixed.high >= best.mixed.low]
        mixed = f"{best.mixed.value:.0%} [{best.mixed.low:.0%}, {best.mixed.high:.0%}]"
        text = f"Groups of {self.group} would be mixed most often from {best.name}: {mixed} of them"
        if rivals:
            text += f"; the samples do not tell it from {', '.join(rivals)}"
        lost = best.changes.count("lost", established=True)
        return f"{text}. It lost {lost} of the problems that the base solved, beyond chance." if lost else f"{text}."

    @property
    def summary(self) -> str:
        """One sentence a stage, then where RL would start best."""
        lines = []
        for stage in self.stages:
            first, last = stage.at_one_try, stage.at_k_tries
            found = stage.changes
            lines.append(
                f"{stage.name}: {' and '.join(stage.words)}; pass@1 {first.base.value:.3f} to {first.rl.value:.3f} "
                f"({first.word}), pass@{last.k} {last.base.value:.3f} to {last.rl.value:.3f} ({last.word}); "
                f"{int(found.rose.sum())} problems rose, {int(found.fell.sum())} fell."
            )
        refused = [] if self.support_refused is None else [f"Systems as they were run ({self.support_refused})."]
        return "\n".join([*refused, *lines, self.start])

    def to_json(self) -> dict[str, object]:
        """Return the object that `goldpanner compare --json` prints for more than two models."""
        return {
            "level": self.level,
            "support_refused": self.support_refused,
            "group": self.group,
            "base": {
                "name": self.base.name,
                "pass_at_k": self.base.curve.to_json(),
                "mixed_groups": self.base.mixed.to_json(),
                "pass_at_group_size": self.base.at_group.to_json(),
            },
            "stages": [stage.to_json() for stage in self.stages],
            "start": self.start,
            "summary": self.summary,
        }


def series(
    base: tuple[str, Counts],
    models: Mapping[str, Sequence[Counts]],
    *,
    group: int = 16,
    level: float = 0.95,
    fdr: float = 0.05,
    margin: float = MARGIN,
    within: int = WITHIN,
    refused: str | None = None,
) -> Series:
    """Compare several models with one base, paired by id.

    Args:
        base: name and counts of the model before RL.
        models: by name the counts of a model, several of them for seeds of one recipe: then pass@k is their mean, and
            a problem's samples are taken together.
        group: G, the size of the groups that RL would draw, at least 2.
        level: coverage of all intervals of the differences together.
        fdr: false discovery rate of problems that rose or fell, stage by stage.
        margin: difference of pass@k that matters.
        within: R, as in `compare`.
        refused: why nothing can be said of the models' support; then systems are compared, as they were run.

    Returns:
        The base and every stage.

    Raises:
        InputError: no model, other problems than the base's, or an option out of its range.
    """
    check_level(level)
    if not models:
        raise InputError("a series needs at least one model beside the base")
    aligned = {name: tuple(align(base[1], seed) for seed in seeds) for name, seeds in models.items()}
    each = 1 - (1 - level) / len(models)
    k = min(smallest_n(x) for x in (base[1], *(seed for seeds in aligned.values() for seed in seeds)))
    ks = passk.default_ks(max(k, 1))
    first, *stages = (
        _stage(
            name, base[1], seeds, ks=ks, last=k, group=group, level=each, fdr=fdr, margin=margin, within=within,
            systems=refused is not None,
        )
        for name, seeds in [(base[0], (base[1],)), *aligned.items()]
    )  # fmt: skip
    return Series(first, tuple(stages), group, level, refused)


def _stage(
    name: str,
    base: Counts,
    seeds: tuple[Counts, ...],
    *,
    ks: IntArray,
    last: int,
    group: int,
    level: float,
    fdr: float,
    margin: float,
    within: int,
    systems: bool,
) -> Member:
    pooled = _together(seeds)
    of_base, curve, gap = passk.curve(base, ks, level), _mean_curve(seeds, ks, level), _gap(base, seeds, ks, level)
    one, at_k = (statement_at(x, of_base, curve, gap, margin) for x in (1, gap.largest))
    itself = seeds[0] is base
    undefined = Estimate.undefined(METHOD, level)
    needed = (
        EquivalentK(gap.largest, undefined, within) if itself else equivalent_k(base, seeds, gap.largest, within, level)
    )
    found = changes(base, pooled, fdr)
    solved = base.c > 0
    rates = [RateDistribution.of(seed) for seed in seeds] if all(seed.judged.any() for seed in seeds) else []
    undefined = Estimate.undefined("nothing was judged", level)
    mixed = [groups.expected(seed, [group], level, rates=each)[group].mixed for seed, each in zip(seeds, rates)]
    at_group = [each.pass_at_k([group], level)[0] for each in rates]
    values = {x: [float(passk.mean_value(seed, np.array([x]))[0]) for seed in seeds] for x in {1, last} if x}
    return Member(
        name=name,
        seeds=seeds,
        curve=curve,
        at_one_try=one,
        at_k_tries=at_k,
        equivalent_k=needed,
        words=words_for(one, at_k, needed, systems),
        changes=found,
        covered=float((pooled.c[solved] > 0).mean()) if solved.any() else float("nan"),
        mixed=_mean(mixed) if mixed else undefined,
        at_group=_mean(at_group) if at_group else undefined,
        spread={} if len(seeds) < 2 else {x: (float(np.std(v, ddof=1)), min(v), max(v)) for x, v in values.items()},
    )


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean over seeds; its ends are the means of theirs, no narrower than the seeds allow."""
    value, low, high = np.mean([(e.value, e.low, e.high) for e in estimates], axis=0).tolist()
    return replace(estimates[0], value=value, low=low, high=high)


def _together(seeds: Sequence[Counts]) -> Counts:
    """Return the samples of several seeds as one set of counts."""
    columns = [np.sum(column, axis=0) for column in zip(*(seed.columns for seed in seeds))]
    return seeds[0] if len(seeds) == 1 else Counts(seeds[0].ids, *columns)


def _rows(seeds: Sequence[Counts], more: bool, ks: IntArray) -> FloatArray:
    """Return each problem's pass@k, the mean over seeds, shape (P, K); with `more` the unjudged count as correct."""
    rows = [passk.rows_of(seed.n, seed.c + (seed.unjudged if more else 0), ks) for seed in seeds]
    mean: FloatArray = np.mean(rows, axis=0)
    return mean


def _mean_curve(seeds: Sequence[Counts], ks: IntArray, level: float) -> Band:
    """Return pass@k, the mean over seeds, with its simultaneous band over problems."""
    if len(seeds) == 1:
        return passk.curve(seeds[0], ks, level)
    low, high = (mean_band([_rows(seeds, more, ks)], level, True)[more] for more in (False, True))
    value = np.mean([passk.mean_value(seed, ks) for seed in seeds], axis=0)
    low, high = np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]
    method = f"studentised bootstrap over {len(seeds[0])} problems, mean of {len(seeds)} seeds"
    return Band(ks, value, np.clip(low, 0, 1), np.clip(high, 0, 1), level, method, True, len(seeds[0]))


def _gap(base: Counts, seeds: Sequence[Counts], ks: IntArray, level: float) -> Band:
    """Return pass@k of the seeds' mean minus the base's, paired, with its simultaneous band."""
    ends = [mean_band([_rows(seeds, up, ks), _rows([base], not up, ks)], level, True)[int(up)] for up in (False, True)]
    value = np.mean([passk.mean_value(seed, ks) for seed in seeds], axis=0) - passk.mean_value(base, ks)
    method = f"paired studentised bootstrap over {len(base)} problems"
    return Band(ks, value, np.clip(ends[0], -1, 1), np.clip(ends[1], -1, 1), level, method, True, len(base))
