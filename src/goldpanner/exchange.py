"""Write what a store holds of a policy for other programs: counts, an inspect_ai log, a problem set for TRL or verl."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.interop.selection import Weight
from goldpanner.report.results import view
from goldpanner.report.table import WRITERS, write_table
from goldpanner.store import Store
from goldpanner.store.find import find_policy
from goldpanner.store.schema import ParamsRecord
from goldpanner.train.verl import export_notes

Target = Literal["counts", "inspect", "trl", "verl"]


def export(
    store: Store,
    policy: str,
    path: Path,
    target: Target = "counts",
    *,
    tasks: Sequence[str] | None = None,
    params: str | None = None,
    verifier: str | None = None,
    low: float = 0.0,
    high: float = 1.0,
    weight: Weight = "uniform",
    rows: int | None = None,
) -> list[str]:
    """Write a policy's counts, samples or problems to a file.

    Args:
        store: store of the samples.
        policy: policy in the store, by name, short id or run.
        path: file to write; Parquet for a problem set; counts are CSV, Parquet, LaTeX or Markdown by the ending, else
            JSON lines.
        target: `counts`; `inspect`, a log of inspect_ai; `trl` or `verl`, a problem set to train on.
        tasks: tasks whose problems are written; None: all.
        params: hash of the sampling parameters, where the store has several.
        verifier: id of the verifier whose verdicts are counted, where the store has several.
        low: lowest measured P of a problem in the set.
        high: highest measured P of a problem in the set.
        weight: how often a problem is repeated: `uniform`, or `variance`, in proportion to P(1 - P).
        rows: rows of the problem set; None: each chosen problem once.

    Returns:
        Lines that say what was written and what to know of it.

    Raises:
        InputError: no such policy, an ending that does not fit, or a choice that the target has no place for.
    """
    choice = {"low": low != 0, "high": high != 1, "weight": weight != "uniform", "rows": rows is not None}
    if target in ("counts", "inspect") and any(choice.values()):
        names = ", ".join(f"--{name}" for name, is_set in choice.items() if is_set)
        raise InputError(f"{names}: a problem set is chosen by it, with --for trl or verl; {target} holds them all")
    if target in ("trl", "verl") and path.suffix != ".parquet":
        raise InputError(f"--for {target} writes Parquet, not {path.name}; give {path.with_suffix('.parquet').name}")
    if target == "inspect":
        if verifier is not None:
            raise InputError(
                f"--verdicts-of {verifier}: an inspect log holds the verdicts of the sampling; leave it out"
            )
        samples = [
            sample
            for sample in store.samples(policy=find_policy(store, policy), params=params)
            if tasks is None or sample.task in tasks
        ]
        record = store.get(ParamsRecord, params or samples[0].params) if samples else None
        stated = None if record is None else record.stated
        interop.write_inspect(samples, store.problems(), path, model=policy, params=stated)
        return [f"{len(samples):,} samples: {path}"]
    counts = store.counts(find_policy(store, policy), params=params, tasks=tasks, verifier=verifier)
    if target == "counts":
        if path.suffix in WRITERS:
            write_table(view(counts).table(), path)
        else:
            interop.write_counts(counts, path)
        return [f"{len(counts):,} problems: {path}"]
    problems = interop.select(store.problems(), counts, low=low, high=high, weight=weight, rows=rows)
    used = int((problems.copies > 0).sum())  # `rows` may be fewer than the problems chosen
    lines = [f"{used:,} of {len(counts):,} problems, {int(problems.copies.sum()):,} rows: {path}"]
    if target == "trl":
        interop.write_trl(problems, path)
        return lines
    interop.write_verl(problems, path)
    script = path.with_suffix(".sh")
    script.write_text(interop.verl_command(path), encoding="utf-8")
    notes = export_notes({problem.task for problem in problems.problems})
    return [*lines, f"the command line for verl, to be filled in: {script}", *(f"note: {note}" for note in notes)]
