"""`measure`, `compare` and `plan` as text: the answer, the tables of the result, and where to see more."""

from goldpanner.cli.display import print_lines, print_table, printable
from goldpanner.measure.compare import Comparison
from goldpanner.measure.gate import Gate
from goldpanner.measure.metrics import Confounds
from goldpanner.measure.plan import Plan
from goldpanner.measure.profile import Profile
from goldpanner.measure.series import Series
from goldpanner.report.result_tables import (
    boundary_table,
    classes_table,
    labels_table,
    models_table,
    moved_table,
    short_table,
    sizes_table,
    targets_table,
)
from goldpanner.report.summary import profile_facts
from goldpanner.sources import Source

SHOWN = 12
"""Problems whose origin is printed; the JSON has all of them."""
HARDEST = 8
"""Problems that `measure` lists."""
MOVED = 5
"""Problems that rose, and that fell, which `compare` lists."""


def print_profile(found: Profile, name: str, texts: Confounds | None) -> None:
    """Print one model's boundary: the answer, the curve, the hardest problems, and where to see more."""
    first, *facts = found.facts
    print_lines(f"{printable(name)}: {first}", *facts)
    if found.support_refused:
        print_lines(f"Not about support: {found.support_refused}")
    print_table(targets_table(found))
    print_table(boundary_table(found, found.boundary.hardest[:HARDEST]))
    print_lines(*(f"{label}: {value}" for label, value in profile_facts(found, texts)))
    if found.by:
        print_table(labels_table(found))
    print_lines("more: --json, --html PAGE, --save curve.pdf   next: goldpanner plan")


def print_comparison(found: Comparison, base: Source, rl: Source, ruling: Gate | None) -> None:
    """Print the answer, then the curve at a few tries, then the problems that changed most."""
    print_lines(*found.sentences)
    if found.support_refused and set(found.words) & {"sharpened", "expanded", "open"}:
        print_lines(f"Not about support: {found.support_refused}")
    print_table(short_table({"base": found.base, "RL": found.rl, "difference": found.difference}))
    print_lines(*(f"pass@{each.k:,} {each.what}: base {each.base}, RL {each.rl}" for each in found.corrected))
    for name, rows in (("fell", found.changes.fell), ("rose", found.changes.rose)):
        if places := found.changes.moved(rows):
            print_table(moved_table(found, name, places, MOVED, lambda id_: base.text_of(id_) or rl.text_of(id_)))
    for problem, origin in list(found.origin.items())[:SHOWN]:
        print_lines(f"{printable(problem)}: {origin.label}: {origin.summary}")
    undecided = found.at_one_try.undecided or found.at_k_tries.undecided
    follow = "power, for how many samples would decide" if undecided else "cite, on what --json prints"
    print_lines(f"more: --json, --html FILE, --markdown FILE, --save curve.pdf   next: goldpanner {follow}")
    if ruling is not None:
        print_lines(ruling.summary)


def print_series(found: Series) -> None:
    """Print every model against the base, then where RL would start best."""
    print_lines(found.summary)
    last = found.stages[0].at_k_tries.k
    print_table(models_table(found).without("seeds", "difference@1", f"difference@{last}"))
    for stage in found.stages:
        for k, (deviation, low, high) in sorted(stage.spread.items()):
            print_lines(
                f"between the {len(stage.seeds)} seeds of {printable(stage.name)}: pass@{k} {low:.3f} to {high:.3f}, "
                f"standard deviation {deviation:.3f}"
            )
    print_lines("more: --json, --html FILE, --save curve.pdf   next: goldpanner cite, on what --json prints")


def print_plan(found: Plan, name: str) -> None:
    """Print the recommended group size, the problems by class, and how sure that is."""
    print_lines(f"{printable(name)}: {found.summary}")
    print_table(sizes_table(found))
    print_table(classes_table(found))
    if found.advice:
        print_lines(f"No problem is ready to train on: few groups would be mixed. {found.advice}")
    print_lines(
        f"expected to stand in the wrong class: {found.misplaced} of {len(found.problems):,} problems. "
        "Rule of thumb: a 95% chance of one success takes about 3/p rollouts."
    )
    low, _, high = (f"{edge:.2g}" for edge in found.thresholds)
    follow = f"export POLICY train.parquet --store DIR --for trl --low {low} --high {high}"
    print_lines(f"more: --json, --save problems.csv   next: goldpanner {follow}")
