"""`measure`, `compare` and `plan` as text: the same numbers as their JSON, fewer of them."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from goldpanner.cli.display import console
from goldpanner.measure.compare import Comparison
from goldpanner.measure.metrics import Confounds, LabelledPart
from goldpanner.measure.plan import ASSIGNMENTS, Assignment, Plan
from goldpanner.measure.power import Requirement, Sensitivity
from goldpanner.measure.profile import Profile
from goldpanner.measure.series import Series
from goldpanner.sources import Source
from goldpanner.types import Counts, Estimate

SHOWN = 12
"""Problems that a table lists; the JSON has all of them."""
HARDEST = 8
"""Problems that `measure` lists."""
MOVED = 5
"""Problems that rose, and that fell, which `compare` lists."""


def print_profile(found: Profile, name: str, texts: Confounds | None) -> None:
    """Print one model's boundary: the answer, the curve, the hardest problems, and where to see more."""
    counts, curve = found.counts, found.curve
    lines = [
        f"[bold]{escape(_line(name))}[/]: {_problems(len(counts))}, {int(counts.n.sum()):,} samples "
        f"({_unjudged(counts)}, {_truncated(counts)})"
    ]
    if curve.largest:
        ends = (f"pass@{k:,} {curve.at(k)}" for k in sorted({1, curve.largest}))
        lines.append(f"{', '.join(ends)} (problems like these)")
    if found.support_refused:
        lines.append(f"[bold]Not about support:[/] {escape(found.support_refused)}")
    if found.speaks_of_support:
        lines += _boundary_lines(found)
    if found.groups:
        mixed = (f"{found.groups[size].mixed} at G = {size}" for size in (8, 16) if size in found.groups)
        lines.append(f"mixed groups: {', '.join(mixed)}")
    console.print("\n".join(lines), highlight=False)
    console.print(_curve_table(found))
    console.print(_problem_table(found))
    for line in (*_corrected_lines(found), *_text_lines(texts)):
        console.print(line, highlight=False, markup=False)
    console.print("more: --json, --html PAGE, --save curve.pdf   next: goldpanner plan", highlight=False)


def _boundary_lines(found: Profile) -> list[str]:
    """Return how many problems are reached and how likely they are."""
    b, largest = found.boundary, int(found.counts.n.max())
    strata, states = b.strata, b.states
    return [
        f"boundary: {states['reached']} reached, {states['not_reached']} not reached within n, "
        f"{states['unresolved']} unresolved",
        f"strata:   {strata['easy']} easy (P >= {b.easy:g}), {strata['reachable']} reachable, {strata['rare']} rare "
        f"(P <= {b.rare:g}), {strata['not_reached']} not reached, {strata['unresolved']} unresolved",
        f"problems too rare for {largest:,} samples (P < {np.log(2) / largest:.2g}): {found.unseen}",
    ]


def _corrected_lines(found: Profile) -> list[str]:
    """Return pass@k with guessing, and with the verifier's errors, undone."""
    lines = [f"pass@{k} corrected for lucky guesses: {e}" for k, e in found.chance_corrected.items()]
    lines += [f"pass@{k} of these problems as a perfect verifier sees it: {e}" for k, e in found.verified.items()]
    if found.rogan_gladen is not None:
        lines.append(f"share of correct samples as a perfect verifier sees it (Rogan-Gladen): {found.rogan_gladen}")
    return lines


def _text_lines(texts: Confounds | None) -> list[str]:
    """Return what the texts show."""
    if texts is None:
        return []
    split, floor = texts.split, "unknown" if texts.guess_floor is None else f"{texts.guess_floor:.3g}"
    lines = [
        f"P(parses) {split.parses.value:.3g} x P(correct given parsed) {split.correct_given_parsed.value:.3g}; "
        f"guess floor {floor}"
    ]
    lines += [
        f"pass@{k} less what its answers to other problems would hit: {e:.3g}"
        for k, e in texts.less_own_guesses.items()
    ]
    if texts.majority:
        lines.append("majority: " + ", ".join(f"maj@{k} {e}" for k, e in texts.majority.items() if k > 1))
    for size, shares in texts.observed_groups.items():
        names = {"mixed": shares.mixed, "all-wrong": shares.all_wrong, "all-correct": shares.all_correct}
        summary = ", ".join(f"{name} {share.value:.3g}" for name, share in names.items())
        lines.append(f"observed in RL, groups of {size}: {summary}")
    return lines


def _unjudged(counts: Counts) -> str:
    own = int(counts.unanswered.sum())
    part = f", {own:,} of them by the model's own doing: wrong in every value" if own else ""
    return f"{int(counts.unjudged.sum()):,} unjudged{part}"


def _truncated(counts: Counts) -> str:
    """Return how many completions were cut, as far as it is known."""
    cut, unknown = int(counts.truncated.sum()), int(counts.finish_unknown.sum())
    if unknown == counts.n.sum():
        return "truncation not recorded"
    return f"{cut:,} truncated" + (f", not recorded of {unknown:,}" if unknown else "")


def _problem_table(found: Profile) -> Table:
    b = found.boundary
    order = np.argsort(np.where(np.isnan(b.value), -1.0, b.value), kind="stable")[:HARDEST]
    title = f"problems, lowest P first ({len(order)} of {len(b.counts)}; --json and --html have more)"
    table = _table(title, "problem", "c / n", "P(correct)", "stratum")
    for i in order.tolist():
        estimate = Estimate(float(b.value[i]), float(b.low[i]), float(b.high[i]), b.level, "clopper-pearson")
        bound = "" if np.isnan(b.bound[i]) else f" (P <= {b.bound[i]:.2g})"
        stratum = str(b.stratum[i]).replace("_", " ")
        table.add_row(
            Text(_line(b.counts.ids[i])), f"{b.counts.c[i]} / {b.counts.n[i]}", str(estimate), f"{stratum}{bound}"
        )
    return table


def _curve_table(found: Profile) -> Table:
    """Return pass@k by target: an interval for these problems does not hold for others."""
    title = f"pass@k with {found.curve.level:.0%} intervals (within n: a band for the whole curve)"
    table = _table(title, "k", "these problems", "problems like these", "how")
    for k, these in found.these.items():
        how = found.method_at(k) if k <= found.curve.largest else "beyond n"
        table.add_row(f"{k:,}", str(these), str(found.alike[k]), how)
    return table


def print_comparison(found: Comparison, base: Source, rl: Source) -> None:
    """Print the answer, then the curve at a few tries, then the problems that changed most."""
    console.print("\n".join(found.sentences), highlight=False, markup=False)
    if found.support_refused and set(found.words) & {"sharpened", "expanded", "open"}:
        console.print(f"[bold]Not about support:[/] {escape(found.support_refused)}", highlight=False)
    table = _table(f"pass@k, {found.level:.0%} simultaneous bands", "k", "base", "RL", "difference")
    largest = found.difference.largest
    for k in sorted({k for k in (1, 4, 16, 64, 256, 1024, 4096, largest) if 0 < k <= largest}):
        if k in found.difference.k:
            table.add_row(f"{k:,}", str(found.base.at(k)), str(found.rl.at(k)), format(found.difference.at(k), "+"))
    console.print(table)
    for each in found.corrected:
        console.print(f"pass@{each.k:,} {each.what}: base {each.base}, RL {each.rl}", highlight=False)
    for name, places in (
        ("fell", found.changes.moved(found.changes.fell)),
        ("rose", found.changes.moved(found.changes.rose)),
    ):
        if places:
            console.print(_moved_table(found, base, rl, name, places))
    for problem, origin in list(found.origin.items())[:SHOWN]:
        console.print(f"{_line(problem)}: {origin.label}: {origin.summary}", highlight=False, markup=False)
    console.print("more: --json, --html FILE, --markdown FILE, --save curve.pdf (every problem)", highlight=False)


def _moved_table(found: Comparison, base: Source, rl: Source, name: str, places: Sequence[int]) -> Table:
    """Return the problems whose P changed most in one direction, with their texts where these are known."""
    changes = found.changes
    table = _table(
        f"{name}: {min(MOVED, len(places))} of {len(places)}, the largest changes first", "problem", "base", "RL", ""
    )
    for i in places[:MOVED]:
        counts = (f"{x.c[i]}/{x.judged[i]}" for x in (changes.base, changes.rl))
        text = base.text_of(changes.ids[i]) or rl.text_of(changes.ids[i])
        text = "" if text == changes.ids[i] else text
        table.add_row(Text(_line(changes.ids[i])), *counts, Text(_line(text)[:60], overflow="ellipsis", no_wrap=True))
    return table


def print_parts(parts: Mapping[str, LabelledPart]) -> None:
    """Print one model's pass@k by label."""
    if not parts:
        return
    table = _table("by label", "label", "problems", "pass@1", "k", "pass@k")
    for label, part in parts.items():
        table.add_row(Text(_line(label)), f"{part.problems:,}", str(part.pass_at_1), f"{part.k:,}", str(part.pass_at_k))
    console.print(table)


def print_series(found: Series) -> None:
    """Print every model against the base, then where RL would start best."""
    console.print(found.summary, highlight=False, markup=False)
    last = found.stages[0].at_k_tries.k
    columns = ("model", "pass@1", f"pass@{last}", "rose", "fell", "lost", "covered", f"mixed at G = {found.group}")
    table = _table(f"against {_line(found.base.name)}, {found.level:.0%} for all together", *columns)
    for stage in (found.base, *found.stages):
        lost = stage.changes.count("lost", established=True)
        counts = [str(int(stage.changes.rose.sum())), str(int(stage.changes.fell.sum())), str(lost)]
        ends = [str(each.rl) for each in (stage.at_one_try, stage.at_k_tries)]
        table.add_row(Text(_line(stage.name)), *ends, *counts, _percent(stage.covered), str(stage.mixed))
    console.print(table)
    for stage in found.stages:
        for k, (deviation, low, high) in sorted(stage.spread.items()):
            console.print(
                f"between the {len(stage.seeds)} seeds of {_line(stage.name)}: pass@{k} {low:.3f} to {high:.3f}, "
                f"standard deviation {deviation:.3f}",
                highlight=False, markup=False,
            )  # fmt: skip


def _percent(x: float) -> str:
    return "-" if np.isnan(x) else f"{x:.0%}"


def print_required(needs: Sequence[Requirement], population: str, chance: float) -> None:
    """Print how many problems show a change."""
    title = f"problems that show a change of pass@k with a chance of {chance:.0%} ({population})"
    table = _table(title, "k", "samples", "change", "problems")
    for need in needs:
        problems = "no such change" if need.problems is None else f"{need.problems:,}"
        table.add_row(f"{need.k:,}", f"{need.samples:,}", f"{need.size:+.3f}", problems)
    console.print(table)


def print_sensitivity(seen: Mapping[int, Sequence[Sensitivity]], problems: int, population: str, chance: float) -> None:
    """Print the smallest change that given problems show."""
    title = f"smallest change that {problems:,} problems show with a chance of {chance:.0%} ({population})"
    table = _table(title, "k", "samples", "rise", "fall")
    for n, rows in seen.items():
        for row in rows:
            ends = ("none" if x is None else f"{x:.3f}" for x in (row.rise, row.fall))
            table.add_row(f"{row.k:,}", f"{n:,}", *ends)
    console.print(table)


def print_plan(found: Plan, name: str) -> None:
    """Print the recommended group size, the problems by class, and how sure that is."""
    console.print(
        f"[bold]{escape(_line(name))}[/]: groups of [bold]{found.recommended}[/]; then each problem gets about "
        f"{found.rollouts_per_problem:,.0f} rollouts",
        highlight=False,
    )
    table = _table("by group size", "G", "mixed share", "mixed groups a step", "rollouts per mixed group")
    for option in found.sizes:
        mark = " <-" if option.size == found.recommended else ""
        table.add_row(
            f"{option.size}{mark}", *(str(e) for e in (option.mixed_share, option.mixed_per_step, option.cost))
        )
    console.print(table)
    classes = _table("problems, by the most probable class", "class", "P(correct)", "problems", "first ids")
    for assignment in reversed(ASSIGNMENTS):
        ids = found.ids(assignment)
        classes.add_row(assignment, _range(found, assignment), str(len(ids)), _first(ids))
    if found.unknown:
        classes.add_row("unknown (nothing judged)", "", str(len(found.unknown)), _first(found.unknown))
    console.print(classes)
    if not found.ids("train now"):
        solved = len(found.ids("solved"))
        advice = "Harder problems." if 2 * solved > len(found.problems) else "SFT first, or easier problems."
        console.print(f"[bold]No problem is ready to train on:[/] few groups would be mixed. {advice}")
    console.print(
        f"expected to stand in the wrong class: {found.misplaced} of {_problems(len(found.problems))}. "
        "Rule of thumb: a 95% chance of one success takes about 3/p rollouts.",
        highlight=False,
        markup=False,
    )


def _range(found: Plan, assignment: Assignment) -> str:
    """Return the P(correct) that a class stands for."""
    edges = (0.0, *found.thresholds, 1.0)
    at = ASSIGNMENTS.index(assignment)
    return f"{edges[at]:.2g} to {edges[at + 1]:.2g}"


def _first(ids: Sequence[str]) -> Text:
    return Text(", ".join(map(_line, ids[:4])) + (" ..." if len(ids) > 4 else ""))


def _line(name: str) -> str:
    """Return a name from a file as one printable line: what a terminal would act on is shown as U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def _problems(count: int) -> str:
    return f"{count:,} problem{'s' if count != 1 else ''}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table
