"""The tables of results: one function each, for the terminal, notebooks and files alike."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from goldpanner.measure.compare import Comparison
from goldpanner.measure.passk import Band
from goldpanner.measure.plan import ASSIGNMENTS, Plan
from goldpanner.measure.power import Requirement, Sensitivity
from goldpanner.measure.profile import Profile
from goldpanner.measure.series import Series
from goldpanner.report.table import Column, ResultTable
from goldpanner.store.rows import samples_table
from goldpanner.store.studies import StudyRecord
from goldpanner.types import Counts, Sample

SHOWN_K = (1, 4, 16, 64, 256, 1024, 4096)
"""The k of a short table, beside the largest."""


def samples_rows(samples: Sequence[Sample]) -> ResultTable:
    """Return stored samples, one a row."""
    table = samples_table(samples)
    return ResultTable(dict(zip(table.column_names, (column.to_pylist() for column in table.columns))))


def counts_table(counts: Counts) -> ResultTable:
    """Return the counts of every problem."""
    return ResultTable({"id": counts.ids, **dict(zip(Counts.COLUMNS, counts.columns))}, "Counts of every problem.")


def band_table(band: Band, name: str = "pass@k") -> ResultTable:
    """Return a curve with its band, one k a row."""
    columns = {"k": band.k, name: band.value, f"{name}_low": band.low, f"{name}_high": band.high}
    return ResultTable(columns, f"{name}, {band.level:.0%} {'band' if band.simultaneous else 'intervals'}.")


def bands_table(bands: Mapping[str, Band]) -> ResultTable:
    """Return the curves of several models, one below the other."""
    columns: dict[str, Column] = {
        "model": [name for name, band in bands.items() for _ in band.k],
        "k": np.concatenate([band.k for band in bands.values()]),
        "pass@k": np.concatenate([band.value for band in bands.values()]),
        "low": np.concatenate([band.low for band in bands.values()]),
        "high": np.concatenate([band.high for band in bands.values()]),
    }
    return ResultTable(columns, "pass@k of every model with its band.")


def short_table(bands: Mapping[str, Band]) -> ResultTable:
    """Return pass@k of several curves at a few k, up to the largest of the last one."""
    *_, last = bands.values()
    largest = last.largest
    ks = sorted({k for k in (*SHOWN_K, largest) if 0 < k <= largest})
    columns = {name: [band.at(k) for k in ks] for name, band in bands.items()}
    return ResultTable({"k": ks, **columns}, f"pass@k, {last.level:.0%} simultaneous bands.")


def targets_table(result: Profile) -> ResultTable:
    """Return pass@k of these problems and of problems like these."""
    largest = result.curve.largest
    return ResultTable(
        {
            "k": list(result.these),
            "these problems": list(result.these.values()),
            "problems like these": [result.alike[k] for k in result.these],
            "how": [result.method_at(k) if k <= largest else "beyond n" for k in result.these],
        },
        f"pass@k, {result.curve.level:.0%} intervals.",
    )


def boundary_table(result: Profile, places: Sequence[int] | None = None) -> ResultTable:
    """Return P(correct) of every problem, or of those at some places of the counts, in that order."""
    b = result.boundary
    rows = range(len(b.counts)) if places is None else places
    columns: dict[str, Column] = {
        "id": [b.counts.ids[i] for i in rows],
        **{name: column[list(rows)] for name, column in (("n", b.counts.n), ("c", b.counts.c))},
        "unjudged": b.counts.unjudged[list(rows)],
        "P": [b.estimate(i) for i in rows],
        "upper bound": b.bound[list(rows)],
        "stratum": [str(b.stratum[i]).replace("_", " ") for i in rows],
    }
    return ResultTable(columns, f"P(correct) of problems, {b.level:.0%} intervals.")


def groups_table(result: Profile) -> ResultTable:
    """Return the shares of mixed, all-wrong and all-correct groups, one size a row."""
    shares = result.groups.values()
    return ResultTable(
        {
            "G": [each.size for each in shares],
            "mixed": [each.mixed for each in shares],
            "all wrong": [each.all_wrong for each in shares],
            "all correct": [each.all_correct for each in shares],
        },
        "Expected shares of groups of G samples.",
    )


def labels_table(result: Profile) -> ResultTable:
    """Return pass@1 and pass@k of the problems of each label."""
    parts = result.by.values()
    columns: dict[str, Column] = {
        "label": list(result.by),
        "problems": [each.problems for each in parts],
        "pass@1": [each.pass_at_1 for each in parts],
        "k": [each.k for each in parts],
        "pass@k": [each.pass_at_k for each in parts],
    }
    return ResultTable(columns, "pass@k by label.")


def changes_table(result: Comparison) -> ResultTable:
    """Return every problem under both models."""
    rows = result.changes.rows()
    columns: dict[str, Column] = {name: [row[name] for row in rows] for name in rows[0]}
    if result.origin:
        origins = (result.origin.get(i) for i in result.changes.ids)
        columns["origin"] = [None if each is None else each.label for each in origins]
    return ResultTable(columns, "Every problem under both models, with exact tests.")


def moved_table(
    found: Comparison, name: str, places: Sequence[int], most: int, text_of: Callable[[str], str] = str
) -> ResultTable:
    """Return the problems whose P changed most in one direction.

    Args:
        found: the comparison.
        name: `rose` or `fell`.
        places: places of these problems in the counts, the largest changes first.
        most: problems of the table at most.
        text_of: text of a problem by its id.
    """
    changes, shown = found.changes, places[:most]
    ids = [changes.ids[i] for i in shown]
    columns: dict[str, Column] = {
        "problem": ids,
        "base": [f"{changes.base.c[i]}/{changes.base.judged[i]}" for i in shown],
        "RL": [f"{changes.rl.c[i]}/{changes.rl.judged[i]}" for i in shown],
        "": ["" if (text := text_of(id_)) == id_ else text[:60] for id_ in ids],
    }
    return ResultTable(columns, f"{name}: {len(shown)} of {len(places)}, the largest changes first.")


def required_table(needs: Sequence[Requirement], population: str, chance: float) -> ResultTable:
    """Return how many problems show a change with some `chance`, by k and number of samples."""
    columns: dict[str, Column] = {
        "k": [need.k for need in needs],
        "samples": [need.samples for need in needs],
        "change": [f"{need.size:+.3f}" for need in needs],
        "problems": ["no such change" if need.problems is None else need.problems for need in needs],
    }
    title = f"Problems that show a change of pass@k with a chance of {chance:.0%} ({population})."
    return ResultTable(columns, title)


def sensitivity_table(
    seen: Mapping[int, Sequence[Sensitivity]], problems: int, population: str, chance: float
) -> ResultTable:
    """Return the smallest change that a number of `problems` shows with some `chance`, by k and number of samples."""
    rows = [(row.k, n, row.rise, row.fall) for n, group in seen.items() for row in group]
    title = f"Smallest change that {problems:,} problems show with a chance of {chance:.0%} ({population})."
    return ResultTable(dict(zip(("k", "samples", "rise", "fall"), zip(*rows))), title)


def models_table(result: Series) -> ResultTable:
    """Return every model against the base."""
    stages = (result.base, *result.stages)
    last = result.stages[0].at_k_tries.k
    columns: dict[str, Column] = {
        "model": [stage.name for stage in stages],
        "seeds": [len(stage.seeds) for stage in stages],
        "pass@1": [stage.at_one_try.rl for stage in stages],
        "difference@1": [stage.at_one_try.difference for stage in stages],
        f"pass@{last}": [stage.at_k_tries.rl for stage in stages],
        f"difference@{last}": [stage.at_k_tries.difference for stage in stages],
        "rose": [int(stage.changes.rose.sum()) for stage in stages],
        "fell": [int(stage.changes.fell.sum()) for stage in stages],
        "lost": [stage.changes.count("lost", established=True) for stage in stages],
        "covered": [stage.covered for stage in stages],
        f"mixed at G = {result.group}": [stage.mixed for stage in stages],
    }
    return ResultTable(columns, f"Against {result.base.name}, {result.level:.0%} for all together.")


def stages_table(record: StudyRecord) -> ResultTable:
    """Return pass@1 and pass@k of a run by task and stage: sampled, and exact where P(correct) is known."""
    assert record.verdict is not None
    cells = record.verdict.table
    rows = [(task, stage, cells[stage][task]) for task in record.tasks_measured for stage in record.stages]
    columns: dict[str, Column] = {
        "task": [task if task in record.tasks_trained else f"{task}*" for task, *_ in rows],
        "stage": [stage for _, stage, _ in rows],
    }
    first = rows[0][2]
    for k, name in ((1, "1"), (first.k, "k")):
        columns[f"pass@{k}"] = [getattr(cell, f"pass_at_{name}").estimate() for *_, cell in rows]
        if first.exact_at_1 is not None:
            columns[f"exact pass@{k}"] = [getattr(cell, f"exact_at_{name}") for *_, cell in rows]
    return ResultTable(columns, "pass@k by stage. * held out: RL never saw the task.")


def problems_by_model(result: Series) -> ResultTable:
    """Return the counts of every problem, two columns a model."""
    columns: dict[str, Column] = {"id": result.base.changes.ids}
    for stage in (result.base, *result.stages):
        columns |= {f"{stage.name}_c": stage.changes.rl.c, f"{stage.name}_n": stage.changes.rl.judged}
    return ResultTable(columns, "Correct and judged samples of every problem under every model.")


def classes_table(result: Plan) -> ResultTable:
    """Return the classes of problems from solved to too hard, each with its P(correct) and its first problems."""
    edges = (0.0, *result.thresholds, 1.0)
    classes: list[tuple[str, float, float, list[str]]] = [
        (str(name), low, high, result.ids(name)) for name, low, high in zip(ASSIGNMENTS, edges, edges[1:])
    ][::-1]
    if result.unknown:
        classes.append(("unknown (nothing judged)", np.nan, np.nan, [*result.unknown]))
    columns: dict[str, Column] = dict(zip(("class", "P from", "P to"), zip(*(row[:3] for row in classes))))
    columns["problems"] = [len(ids) for *_, ids in classes]
    columns["first ids"] = [", ".join(ids[:4]) + (" ..." if len(ids) > 4 else "") for *_, ids in classes]
    return ResultTable(columns, f"Problems by their most probable class, for groups of {result.recommended}.")


def sizes_table(result: Plan) -> ResultTable:
    """Return what groups of each size give."""
    columns: dict[str, Column] = {
        "G": [option.size for option in result.sizes],
        "mixed share": [option.mixed_share for option in result.sizes],
        "mixed groups a step": [option.mixed_per_step for option in result.sizes],
        "rollouts per mixed group": [option.cost for option in result.sizes],
    }
    return ResultTable(columns, "Groups by their size.")


def assignments_table(result: Plan) -> ResultTable:
    """Return the class of every problem."""
    problems = result.problems
    columns: dict[str, Column] = {
        "id": [p.id for p in problems], "n": [p.n for p in problems], "c": [p.c for p in problems],
        "class": [p.assignment for p in problems], "probability": [p.probability for p in problems],
        "P": [p.p for p in problems], "success": [p.success for p in problems],
        "rollouts": [p.rollouts for p in problems],
    }  # fmt: skip
    return ResultTable(columns, "The class of every problem.")
