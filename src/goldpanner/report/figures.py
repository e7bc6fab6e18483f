"""The figures of results: one function each, for pages, notebooks and files alike."""

from collections.abc import Mapping, Sequence

import numpy as np

from goldpanner.measure.compare import Comparison
from goldpanner.measure.passk import Band
from goldpanner.measure.profile import powers_of_two
from goldpanner.measure.series import Series
from goldpanner.measure.statements import changes_sentence
from goldpanner.report import charts, pair_charts, plots
from goldpanner.report.chart_style import Look
from goldpanner.report.page import Figure, Key
from goldpanner.store.findings import PlotRecord, PlotRow
from goldpanner.types import Estimate

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3))
SHAPES = ("circle", "diamond", "square", "triangle-up")


def model_looks(names: Sequence[str]) -> list[Look]:
    """Return how each model is drawn, told apart by colour, dash and shape."""
    return [
        Look(name, COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], SHAPES[i % len(SHAPES)])
        for i, name in enumerate(names)
    ]


def curve_figure(bands: Mapping[str, Band]) -> Figure:
    """Return pass@k against k with its band, a line for each model by name."""
    looks = model_looks(list(bands))
    first = next(iter(bands.values()))
    kind = "Bands for the whole curve at once" if first.simultaneous else "Intervals for each k by itself"
    chart = charts.pass_at_k_chart(
        [_curve(band, look) for band, look in zip(bands.values(), looks)],
        "pass@k",
        f"pass@k of {', '.join(bands)} up to k = {max(band.largest for band in bands.values()):,}",
        height=240,
    )
    return Figure("pass@k", f"{kind}, {first.level:.0%}.", [chart], [Key(look) for look in looks], 520)


def difference_figure(comparison: Comparison) -> Figure:
    """Return pass@k of RL minus base against k with its band."""
    gap = comparison.difference
    chart = pair_charts.difference_chart(
        gap, powers_of_two(gap.largest), "pass@k, RL minus base", comparison.at_k_tries.sentence, height=240
    )
    caption = f"{comparison.level:.0%} band for the whole curve at once. Below 0 the base finds more."
    return Figure("Difference of pass@k", caption, [chart], [], 520)


def change_figure(comparison: Comparison) -> Figure:
    """Return P(correct) of RL against that of the base, problem by problem."""
    chart = pair_charts.change_chart(
        comparison.changes, "Problem by problem", changes_sentence(comparison.changes), height=420
    )
    kinds = (
        ("rose", pair_charts.ROSE, "triangle-up"),
        ("fell", pair_charts.FELL, "triangle-down"),
        ("no change shown", pair_charts.STAYED, "circle"),
    )
    return Figure(
        "P(correct) of every problem",
        "Above the diagonal RL is right more often. A dot stands for all problems with the same counts.",
        [chart],
        [Key(Look(name, color, (), shape), False, True) for name, color, shape in kinds],
        520,
    )


def heat_figure(series: Series) -> Figure:
    """Return the share of correct samples of every problem under every model."""
    stages = (series.base, *series.stages)
    names = ", ".join(stage.name for stage in stages)
    models = [(stage.name, stage.changes.rl) for stage in stages]
    return Figure(
        "Every problem over the models",
        "Share of correct samples, hardest problems for the base first. Darker is more often right.",
        [pair_charts.heat_map(models, "Problem by problem", f"c/n of every problem: {names}")],
        [],
        520,
    )


def group_figure(shares: Mapping[str, Mapping[int, Estimate]]) -> Figure:
    """Return shares of groups against the group size with their intervals, a line for each kind of group."""
    rows: list[PlotRow] = [
        {"x": float(size), "y": e.value, "low": e.low, "high": e.high, "series": kind}
        for kind, by_size in shares.items()
        for size, e in by_size.items()
    ]
    record = PlotRecord(title="groups", rows=tuple(rows), log_x=True, log_y=False, lines=True)
    names = plots.Names(
        "Groups", "Expected shares of groups of G samples; only mixed groups carry a gradient.",
        "G, samples in a group", "share of groups", {},
    )  # fmt: skip
    return plots.figure(record, names)


def _curve(band: Band, look: Look) -> charts.Curve:
    """Return the band at the powers of two and its largest k: curves are smooth, and pages small."""
    at = np.isin(band.k, powers_of_two(band.largest))
    return charts.Curve(look, band.k[at], band.value[at], band.low[at], band.high[at])
