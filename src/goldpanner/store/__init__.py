"""The sample store: the only place that knows how samples lie on disk.

A store is a folder. Nothing runs beside it, and every file in it is written once and then never changed:

    manifest.txt         the store's format, and size, rows and checksums of every part and batch (`manifest`)
    samples/*.parquet    one row per sample (`rows.SAMPLES`)
    verdicts/*.parquet   further verdicts on stored samples, keyed by (sample key, verifier)
    truth/*.parquet      exact log P(correct) of problems under policies
    scores/*.parquet     log P of samples under policies that did not draw them
    problems/*.jsonl     batches of problems
    records/*/*.json     records of runs, policies, params, studies, one folder a class of `schema` and `findings`, each
                         with its version (the only files ever replaced)
    damaged/             what `repair` set aside, and what `restore` needs to undo it

Several processes may append at once. A key that is stored twice counts once: the row of the part whose name sorts
first wins (parts are named by the time they were written; compacted ones come before all others), within a part the
upper row.
"""

from goldpanner.store.store import Store, Writer
from goldpanner.store.upkeep import CheckReport, CompactReport, Damaged, RepairReport

__all__ = ["CheckReport", "CompactReport", "Damaged", "RepairReport", "Store", "Writer"]
