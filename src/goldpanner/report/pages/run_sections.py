"""The story's sections: what a run holds, said in words, tables and charts. Every number comes from the run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from goldpanner.measure import intervals, passk
from goldpanner.report import charts
from goldpanner.report.chart_style import Chart, Look
from goldpanner.report.gather import Run, StageView
from goldpanner.report.page import Card, Facts, Figure, Interval, Key, PageTable, Row, Ruling, Section
from goldpanner.types import Counts, Estimate, FloatArray, IntArray

LN10 = float(np.log(10))
EXACT_K = np.unique(np.round(10 ** np.linspace(0, 6, 73)).astype(np.int64))


def verdict(run: Run) -> Section | None:
    """Return what the data say, as the study worded it from its numbers, and both ends of every curve beside it."""
    record = None if run.study is None else run.study.verdict
    if record is None:
        return None
    by_rl = {after.id: (before, after) for before, after in run.arms}
    cards = []
    for arm in record.arms:
        pair = by_rl.get(arm.rl)
        summary = "" if any(arm.summary in text for text in record.paragraphs) else arm.summary
        cards.append(Card(pair[1].label if pair else arm.rl, arm.word, summary, _ends(run, *pair) if pair else ()))
    return Section("verdict", "The verdict", [Ruling(record.headline, record.paragraphs, cards)])


def _ends(run: Run, before: StageView, after: StageView) -> list[tuple[str, ...]]:
    """Return pass@1 and pass@n before and after RL on every measured task: exact where known, else sampled."""
    n = max(_samples(run), 1)
    ks = np.array(sorted({1, n}), np.int64)
    rows = [("", *(f"pass@{k}" for k in ks))]
    for task in run.measured:
        ends = [_value(run, stage, task, ks) for stage in (before, after)]
        if ends[0] is not None and ends[1] is not None:
            rows.append((_name(run, task), *(f"{old:.3f} → {new:.3f}" for old, new in zip(*ends))))
    return rows if len(rows) > 1 else []


def _value(run: Run, stage: StageView, task: str, ks: IntArray) -> FloatArray | None:
    exact, counts = _exact(run, stage, task, ks), run.counts(stage, task)
    if exact is not None or counts is None:
        return exact
    return passk.curve(counts, ks, simultaneous=False).value


def _name(run: Run, task: str) -> str:
    if not run.trained or task not in run.measured:
        return task
    return f"{task} · {'trained' if task in run.trained else 'held out'}"


def _samples(run: Run) -> int:
    """Return the n that every sampled problem has at least, 0 if nothing was sampled."""
    return min((int(stage.counts.n.min()) for stage in run.stages if len(stage.counts)), default=0)


def _exact(run: Run, stage: StageView, task: str, k: IntArray) -> FloatArray | None:
    logp = run.logp(stage, task)
    return None if logp is None else passk.exact(logp, k)


def key_figures(run: Run) -> Section | None:
    """Return pass@1 and pass@n of every stage on every task, sampled with intervals and exact."""
    n, style = _samples(run), run.looks
    ks = np.array(sorted({1, max(n, 1)}), np.int64)
    groups = []
    for task in run.measured:
        rows = []
        for stage in run.stages:
            counts, exact = run.counts(stage, task), _exact(run, stage, task, ks)
            if counts is None and exact is None:
                continue
            estimates = _at(counts, ks)
            cells: list[Any] = [stage.label]
            for i, estimate in enumerate(estimates):
                cells.append(Interval(estimate, None if exact is None else float(exact[i]), style[stage.id]))
            rows.append(Row(cells, style[stage.id]))
        if rows:
            groups.append((_name(run, task), rows))
    if not groups:
        return None
    sampled = [len(c) for s in run.stages for t in run.measured if (c := run.counts(s, t)) is not None]
    exact_on = [len(p) for s in run.stages for t in run.measured if (p := run.logp(s, t)) is not None]
    caption = ""
    if sampled:
        caption += f"Bold: sampled on {_range(sampled)} problems a task, then its 95% interval over problems, "
        caption += "for both columns at once. "
    caption += "The strip runs from 0 to 1: dot and bar are the sampled value and its interval"
    if exact_on:
        caption += f", the upright tick and the last number are exact, from P(correct) of {_range(exact_on)} problems"
    head = ["Stage", *(f"pass@{k}" for k in ks)]
    table = PageTable("What each stage can do", f"{caption}.", head, groups)
    return Section("figures", "Key figures", [table])


def _range(sizes: Sequence[int]) -> str:
    return f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"


def _at(counts: Counts | None, ks: IntArray) -> Sequence[Estimate | None]:
    if counts is None:
        return [None] * len(ks)
    band = passk.curve(counts, ks)
    return [band.at(int(k)) for k in ks]


def pass_at_k_section(run: Run) -> Section | None:
    """Return the curves before and after RL, one figure an arm, one panel a task."""
    style = run.looks
    lines: list[Sequence[StageView]] = [*run.arms] or [run.stages]
    figures: list[Figure] = []
    for stages in lines:
        panels = [chart for task in run.tasks if (chart := curve_panel(run, stages, task, style)) is not None]
        if panels:
            title = f"{stages[-1].label}: before and after RL" if run.arms else "All stages"
            caption = _change(run, stages) if figures else f"{_curve_caption(run)} {_change(run, stages)}"
            figures.append(Figure(title, caption.strip(), panels, [Key(style[s.id]) for s in stages], 170))
    return Section("pass-at-k", "pass@k: what k tries find", figures) if figures else None


def _curve_caption(run: Run) -> str:
    n = _samples(run)
    parts = [f"Thick lines: sampled, up to k = {n}, with a 95% band that holds for the whole curve at once."]
    if any(stage.truth for stage in run.stages):
        parts.append("Thin lines: exact, from P(correct), far beyond what could be sampled.")
    if run.arms:
        parts.append("The left end is what one try finds; right of a crossing, the model before RL finds more.")
    return " ".join(parts)


def _change(run: Run, stages: Sequence[StageView]) -> str:
    """Say what RL did to both ends of the curve on each trained task."""
    if not run.arms:
        return ""
    words = []
    for task in run.trained:
        ends = [run.counts(stage, task) if task in run.by_task else None for stage in stages]
        if any(counts is None for counts in ends):
            continue
        n = min(int(counts.n.min()) for counts in ends if counts is not None)
        (one, many), (one_after, many_after) = (
            passk.curve(counts, np.array([1, n]), simultaneous=False).value for counts in ends if counts is not None
        )
        words.append(
            f"on {task}, pass@1 went from {one:.3f} to {one_after:.3f} and pass@{n} from {many:.3f} to {many_after:.3f}"
        )
    text = "; ".join(words)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def curve_panel(run: Run, stages: Sequence[StageView], task: str, style: dict[str, Look], **more: Any) -> Chart | None:
    """Return pass@k of some stages on one task, None where none was sampled on it."""
    curves, ends, exacts = [], [], []
    for stage in stages:
        counts = run.counts(stage, task)
        if counts is None:
            continue
        n = int(counts.n.min())
        k = np.unique(np.append(2 ** np.arange(int(np.log2(n)) + 1), n)).astype(np.int64)
        band = passk.curve(counts, k)
        exact = _exact(run, stage, task, EXACT_K)
        exact_k = None if exact is None else EXACT_K
        exacts.append(exact)
        curves.append(charts.Curve(style[stage.id], band.k, band.value, band.low, band.high, exact_k, exact))
        ends.append(f"{stage.label}: pass@1 {band.value[0]:.3f}, pass@{n} {band.value[-1]:.3f}")
    if not curves:
        return None
    two = [curve for curve in exacts if curve is not None]
    note = lead(*two) if len(two) == len(stages) == 2 else ()
    description = f"pass@k against k. {'; '.join(ends)}. {' '.join(note)}".strip()
    return charts.pass_at_k_chart(curves, _name(run, task), description, subtitle=note, **more)


def lead(before: FloatArray, after: FloatArray) -> tuple[str, str]:
    """Say in two short lines which exact curve over `EXACT_K` is ahead, from which k on, and by how much at most."""
    gain = after - before
    behind = np.flatnonzero(gain < 0)
    if not len(behind):
        return "RL ahead at every k,", f"by up to {100 * gain.max():.1f} points"
    most = f"by up to {-100 * gain.min():.1f} points"
    if len(behind) == len(gain):
        return "RL behind at every k,", most
    if (gain[behind[0] :] < 0).all():
        return f"RL behind from k = {EXACT_K[behind[0]]:,},", most
    if (gain[: behind[-1] + 1] < 0).all():
        return f"RL behind up to k = {EXACT_K[behind[-1]]:,},", most
    return f"RL behind at some k from {EXACT_K[behind[0]]:,},", most


def spectrum_section(run: Run) -> Section | None:
    """Return the histograms of log10 P(correct), measured tasks and probed ones apart."""
    if not any(stage.truth for stage in run.stages):
        return None
    style, n = run.looks, max(_samples(run), 1)
    limit = 1 - 0.05 ** (1 / n)
    probes = [task for task in run.tasks if task not in run.measured]
    blocks: list[Figure | PageTable] = []
    for title, tasks in (("Problem by problem", run.measured), ("Probes: exact P only", probes)):
        panels = [chart for task in tasks if (chart := _spectrum_panel(run, task, style, limit)) is not None]
        if panels:
            caption = "Read in the same way, on tasks that were not sampled." if blocks else _spectrum_caption(n, limit)
            blocks.append(Figure(title, caption, panels, _zone_keys(limit), 300))
    if probes:
        blocks.append(_probe_table(run, probes))
    return Section("spectrum", "How likely is a right answer?", blocks) if blocks else None


def _probe_table(run: Run, probes: Sequence[str]) -> PageTable:
    rows = []
    for task in probes:
        logs = [run.logp(stage, task) for stage in run.stages]
        rows.append(Row([task, *("–" if x is None else _small(float(np.exp(np.median(x)))) for x in logs)]))
    caption = "The median of exact P(correct) over the problems of each probe, stage by stage."
    return PageTable("Probes in figures", caption, ["Task", *(stage.label for stage in run.stages)], [("", rows)])


def _small(p: float) -> str:
    """Return a probability to two or three digits, as a power of ten where it is small."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}".replace("e-0", "e-")


def _spectrum_caption(n: int, limit: float) -> str:
    return (
        f"Problems by the exact log₁₀ P(correct), one strip a stage. Right of the dashed line (P = {limit:.2g}) {n} "
        f"samples show a right answer with 95% probability; left of it they mostly show none, and cannot tell rare "
        "from absent. The percentages are the shares within reach · rare · absent."
    )


def _zone_keys(limit: float) -> list[Key]:
    names = (f"within reach: P ≥ {limit:.2g}", "rare", "absent: P < 1e-9, less than one in a billion")
    return [
        Key(Look(name, color), line=False) for name, color in zip(names, (charts.REACHED, charts.RARE, charts.ABSENT))
    ]


def _spectrum_panel(run: Run, task: str, style: dict[str, Look], limit: float) -> Chart | None:
    spectra, words = [], []
    for stage in run.stages:
        logp = run.logp(stage, task)
        if logp is not None:
            spectra.append(charts.Spectrum(style[stage.id], logp / LN10))
            reach, rare, absent = charts.zones(logp / LN10, limit)
            words.append(f"{stage.label}: {reach:.0%} within reach, {rare:.0%} rare, {absent:.0%} absent")
    if not spectra:
        return None
    description = "Histogram of log10 P(correct). " + "; ".join(words) + "."
    return charts.spectrum_chart(spectra, limit, _name(run, task), description)


def agreement_section(run: Run) -> Section | None:
    """Return sampled counts against exact P, and the share of problems whose interval holds the exact value."""
    panels, rows = [], []
    for stage in run.stages:
        counts = stage.process if stage.process is not None else stage.counts
        keep = np.array([i for i, problem in enumerate(counts.ids) if problem in stage.truth], np.int64)
        if not len(keep):
            continue
        counts = counts.select(keep)
        logp = np.minimum([stage.truth[i] for i in counts.ids], 0.0)
        low, high = intervals.proportion(counts.c, counts.n, counts.unjudged)
        inside = (np.exp(logp) >= low) & (np.exp(logp) <= high)
        n = int(np.median(counts.n))
        share = f"{inside.sum()} of {len(inside)} inside ({inside.mean():.1%})"
        words = (
            f"Share of right samples against exact P; {inside.sum()} of {len(inside)} problems inside their intervals."
        )
        panels.append(charts.agreement_chart(logp / LN10, counts.c, n, inside, stage.label, words, [share]))
        lucky = "–" if stage.process is None else f"{_lucky(stage):.3%}"
        cells = [stage.label, f"{inside.sum()} of {len(inside)}", f"{inside.mean():.1%}", lucky]
        rows.append(Row(cells, run.looks[stage.id]))
    if not panels:
        return None
    judged = "with every step right" if any(s.process is not None for s in run.stages) else "judged right"
    caption = (
        f"One mark a problem: the share of samples {judged}, against the exact P of its worked answer. The shaded "
        "funnel holds 95% of fair draws; triangles fell outside their own interval. About 5% should, or fewer."
    )
    keys = [
        Key(Look("inside its 95% interval", charts.REACHED), line=False, point=True),
        Key(Look("outside", charts.OUTSIDE, (), "triangle-up"), line=False, point=True),
    ]
    head = ["Stage", "inside", "share", "lucky answers"]
    table_caption = (
        "How often the 95% interval of a problem's samples holds its exact P. Lucky answers: samples whose last word "
        "is right although a step is wrong; exact P does not count them."
    )
    table = PageTable("Do samples and exact values agree?", table_caption, head, [("", rows)])
    return Section(
        "agreement", "Sampled against exact", [Figure("Problem by problem", caption, panels, keys, 240), table]
    )


def _lucky(stage: StageView) -> float:
    """Return the share of samples with the right answer and a wrong step."""
    assert stage.process is not None
    return float((stage.counts.c - stage.process.c).sum() / max(stage.counts.n.sum(), 1))


def provenance(run: Run) -> Section:
    """Return how it was made: seeds, sampling parameters, versions, time, command and configuration."""
    pairs = [(name, text) for name, text in _facts(run) if text]
    listings = []
    if run.study is not None:
        listings = [("Configuration", _tree(run.study.config)), ("Versions", _tree(run.study.versions))]
    return Section("made", "How it was made", [Facts(pairs, listings)])


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    study, n = run.study, _samples(run)
    if study is not None:
        yield "Command", study.command
        yield "Seed", str(study.seed)
    if n:
        sampled = max(len(stage.counts) for stage in run.stages)
        yield "Samples", f"{n} of each of {sampled} problems, from every stage"
    if any(stage.truth for stage in run.stages):
        yield "Exact P(correct)", f"{max(len(stage.truth) for stage in run.stages)} problems, from every stage"
    yield "Sampling parameters", ", ".join(f"{k} {v}" for k, v in run.params.items() if v not in ((), [], ""))
    if study is not None:
        yield "Verifiers", ", ".join(study.verifiers.values())
        yield "Trained on", ", ".join(run.trained)
        yield "Made with", ", ".join(f"{k} {v}" for k, v in study.versions.items())
    for stage in run.stages:
        seconds = stage.record.seconds
        took = f"{seconds:.0f} s, " if seconds is not None else ""
        yield stage.label, f"{took}policy {stage.policy}"


def _tree(value: object, depth: int = 0) -> str:
    """Return nested mappings as indented lines."""
    if not isinstance(value, Mapping):
        return str(value)
    lines = []
    for key, below in value.items():
        nested = isinstance(below, Mapping) and below
        lines.append("  " * depth + f"{key}:" + ("\n" + _tree(below, depth + 1) if nested else f" {below}"))
    return "\n".join(lines)
