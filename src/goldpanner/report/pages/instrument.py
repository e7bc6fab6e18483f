"""`goldpanner measure --html` and `compare --html`: one model's boundary, and whether RL moved it, as a page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from goldpanner.measure.compare import MEASURES, Comparison
from goldpanner.measure.metrics import Confounds, all_right, cover
from goldpanner.measure.profile import Profile, powers_of_two
from goldpanner.report import figures
from goldpanner.report.page import (
    Card,
    Facts,
    Figure,
    Interval,
    PageTable,
    Prose,
    Row,
    Ruling,
    Section,
    render,
)
from goldpanner.report.result_tables import boundary_table
from goldpanner.report.summary import profile_facts

LISTED = 400
"""Problems that a page lists, the ones with the lowest counts first; the JSON has all of them."""


def profile_page(found: Profile, name: str, path: Path, texts: Confounds | None = None) -> Path:
    """Write one model's boundary as a page that needs no network; return its path."""
    states = found.boundary.states
    words = []
    if found.speaks_of_support:
        words.append(
            f"{states['reached']} of {len(found.counts)} problems were reached, {states['not_reached']} were not "
            f"reached within their n, {states['unresolved']} are unresolved. No problem is called unsolvable: 0 of n "
            "bounds P from above and says no more."
        )
    if found.support_refused:
        words.insert(0, f"Not about support: {found.support_refused}.")
    curve = figures.curve_figure({name: found.curve})
    sections = [
        Section("boundary", "The boundary", [Prose(words)]),
        Section("pass-at-k", "pass@k", [curve, _targets(found)]),
    ]
    if found.groups:
        sections.append(Section("groups", "What RL would see", [_groups(found)]))
    sections.append(Section("problems", "The problems", [_problems(found)]))
    sections.append(Section("confounds", "What else could make these counts", [_confounds(found, texts)]))
    return _write(path, render(sections, f"The boundary of {name}", eyebrow="goldpanner measure"))


def comparison_page(
    found: Comparison, base: str, rl: str, path: Path, text_of: Callable[[str], str] = lambda problem: ""
) -> Path:
    """Write the comparison of two models as a page that needs no network; return its path.

    Args:
        found: the comparison.
        base: name of the model before RL.
        rl: name of the model after RL.
        path: file to write.
        text_of: the text of a problem by its id, empty where none is known.

    Returns:
        `path`.
    """
    card = Card(f"{base} → {rl}", found.verdict, "", _ends(found))
    refused = found.support_refused
    spoken = refused and set(found.words) & {"sharpened", "expanded", "open"}
    paragraphs = [f"Not about support: {refused}."] if spoken else []
    paragraphs.append(found.summary)
    sections = [
        Section(
            "verdict",
            "The answer",
            [
                Ruling(f"{found.verdict[0].upper()}{found.verdict[1:]}.", paragraphs, [card]),
                *_pictures(found, base, rl),
            ],
        ),
        Section("problems", "Which problems changed", _moved(found, text_of)),
        Section("pass-at-k", "pass@k in numbers", [_differences(found), *_corrected(found), _measures(found)]),
        Section("gained-lost", "Gained and lost", [_changes(found)]),
    ]
    return _write(path, render(sections, f"{base} → {rl}", eyebrow="goldpanner compare"))


def _pictures(found: Comparison, base: str, rl: str) -> list[Figure]:
    """Return both curves, their difference, and P against P."""
    names = (base, rl) if base != rl else (f"{base}, base", f"{rl}, RL")
    curves, gap = figures.curve_figure(dict(zip(names, (found.base, found.rl)))), figures.difference_figure(found)
    caption = f"{found.level:.0%} simultaneous bands. Below 0 the model before RL finds more."
    both = Figure("Before, after, and the difference", caption, [*curves.charts, *gap.charts], curves.legend, 330)
    return [both, figures.change_figure(found)]


def _moved(found: Comparison, text_of: Callable[[str], str]) -> list[PageTable]:
    """Return the problems that fell and those that rose, the largest changes first."""
    changes = found.changes
    tables = []
    for name, rows in (("fell", changes.fell), ("rose", changes.rose)):
        places = changes.moved(rows)
        more = f", the {LISTED} largest" if len(places) > LISTED else ""
        caption = f"{len(places)} of {found.problems} problems {name} by an exact test at {changes.fdr:.0%}{more}."
        cells = [
            [
                changes.ids[i],
                *(f"{x.c[i]} / {x.judged[i]}" for x in (changes.base, changes.rl)),
                f"{changes.shift[i]:+.2f}",
                f"{changes.shift_q[i]:.2g}",
                ("" if (text := text_of(changes.ids[i])) == changes.ids[i] else text)[:300],
            ]
            for i in places[:LISTED]
        ]
        tables.append(_table(name.capitalize(), caption, ["problem", "base", "RL", "change", "q", "text"], cells))
    return tables


def _corrected(found: Comparison) -> list[Facts]:
    pairs = [(f"pass@{each.k:,} {each.what}", f"base {each.base}, RL {each.rl}") for each in found.corrected]
    return [Facts(pairs)] if pairs else []


def _measures(found: Comparison) -> Facts:
    """Return what else is known of the two curves, and the measures of arXiv 2507.14843 by their full names."""
    pairs = [
        ("Tries of the base for RL's pass@1", str(found.equivalent_k_at_1)),
        (f"Tries of the base for RL's pass@{found.equivalent_k.tries:,}, less .01", str(found.equivalent_k.k)),
        ("First k from which the base leads", str(found.crossover_k)),
    ]
    published, shown = found.support.to_json(), found.support_established.to_json()
    pairs += [
        (MEASURES[name].replace("_", " ").capitalize(), f"{_plain(published[name])}; by the test {_plain(shown[name])}")
        for name in published
    ]
    return Facts(pairs)


def _plain(x: float | None) -> str:
    return "undefined" if x is None else f"{x:.3f}"


def _ends(found: Comparison) -> list[list[str]]:
    rows = [["", "pass@k before", "after", "difference"]]
    for k in sorted({1, found.difference.largest} - {0}):
        old, new, gap = (band.at(k) for band in (found.base, found.rl, found.difference))
        rows.append([f"k = {k}", f"{old.value:.3f}", f"{new.value:.3f}", f"{gap.value:+.3f}"])
    return rows


def _table(title: str, caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> PageTable:
    return PageTable(title, caption, head, [("", [Row(row) for row in rows])])


def _targets(found: Profile) -> PageTable:
    rows = [[f"{k:,}", str(these), str(found.alike[k])] for k, these in found.these.items()]
    caption = (
        "An interval for these very problems does not hold for others of their kind. Within n the right column is the "
        "band of the curve; everything else is by the Bayesian average over the distributions of P."
    )
    return _table("pass@k by target", caption, ["k", "these problems", "problems like these"], rows)


def _confounds(found: Profile, texts: Confounds | None) -> Facts:
    """Return the facts beside the curve, pass^k and Cover@tau."""
    pairs = profile_facts(found, texts)
    pass_hat = all_right(found.counts, powers_of_two(found.curve.largest), found.curve.level)
    pairs += [(f"pass^{k}, all of {k} right", str(pass_hat.at(k))) for k in powers_of_two(found.curve.largest) if k > 1]
    if found.rates is not None:
        shares = cover(found.rates, level=found.curve.level)
        pairs += [(f"share of problems with P >= {tau:g} (Cover@tau)", str(e)) for tau, e in shares.items()]
    return Facts(pairs)


def _groups(found: Profile) -> PageTable:
    rows = [
        [str(size), *(str(e) for e in (shares.mixed, shares.all_wrong, shares.all_correct))]
        for size, shares in found.groups.items()
    ]
    caption = "Expected shares of groups of G samples. Only mixed groups, with two different rewards, carry a gradient."
    return _table("Groups", caption, ["G", "mixed", "all wrong", "all correct"], rows)


def _problems(found: Profile) -> PageTable:
    b = found.boundary
    table = boundary_table(found, b.hardest[:LISTED])
    more = f", the {LISTED} lowest of {len(b.counts)}" if len(b.counts) > LISTED else ""
    caption = f"P(correct) with its exact {b.level:.0%} interval, lowest first{more}."
    return _table("Problem by problem", caption, list(table.columns), list(table.texts()))


def _differences(found: Comparison) -> PageTable:
    rows = [
        [f"{k:,}", Interval(found.base.at(k)), Interval(found.rl.at(k)), format(found.difference.at(k), "+")]
        for k in powers_of_two(found.difference.largest)
    ]
    return _table("pass@k and its difference", "Simultaneous bands.", ["k", "base", "RL", "difference"], rows)


def _changes(found: Comparison) -> PageTable:
    c = found.changes
    moved = [i for i, change in enumerate(c.change) if change in ("gained", "lost")]
    moved.sort(key=lambda i: c.p_value[i])
    rows = []
    for i in moved[:LISTED]:
        origin = found.origin.get(c.ids[i])
        source = f"{origin.label}: {origin.summary}" if origin is not None else ""
        mark = "established" if c.established[i] else "within noise"
        rows.append([c.ids[i], str(c.change[i]), f"{c.p_value[i]:.2g}", mark, source])
    totals = ", ".join(f"{count} {name}" for name, count in found.four_way.items())
    caption = f"{totals}. Gained and lost ones with an exact test; false discovery rate {c.fdr:.0%}."
    return _table("Gained and lost", caption, ["problem", "change", "p", "", "origin"], rows)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
    return path
