"""What came of sampling: in words, as JSON, and as the command that measures it."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from goldpanner.sampling.collect import Collection, why_unjudged
from goldpanner.sampling.goal import Goal
from goldpanner.store import Store

LARGE = 50_000_000
"""Parameters from which bfloat16 pays on a processor that has it: 3.1 times as fast for SmolLM2-135M."""


def collection_json(collection: Collection, goal: Goal, problems: int) -> dict[str, object]:
    """Return the object that `sample --json` prints; `problems` is the number that was asked for."""
    counts = collection.counts
    result: dict[str, object] = {
        "policy": collection.policy,
        "params": collection.params.hash,
        "verifier": collection.verifier,
        "problems": len(counts),
        "n": int(counts.n.sum()),
        "correct": int(counts.c.sum()),
        "unjudged": int(counts.unjudged.sum()),
        "unanswered": int(counts.unanswered.sum()),
        "truncated": int(counts.truncated.sum()),
    }
    if goal.kind == "settled":
        result["settled"] = goal.zone_counts(counts)
        result["undecidable"] = int(goal.undecidable(counts).sum())
    if goal.kind != "fixed":
        result["open"] = int(goal.open_problems(counts).sum()) + problems - len(counts)
    return result


def collection_lines(collection: Collection, goal: Goal, against: str | None) -> list[str]:
    """Return what the store holds of a policy now, in words; `against` is what it is compared with."""
    counts, lines = collection.counts, []
    if goal.kind == "settled":
        lines.append(", ".join(f"{number} {zone}" for zone, number in goal.zone_counts(counts).items() if number))
        if undecidable := int(goal.undecidable(counts).sum()):
            lines.append(f"{undecidable} open because {against} has too few samples there: draw more of it")
    return [
        *lines,
        f"{counts.n.sum():,} samples of {len(counts)} problems: {counts.c.sum():,} correct, "
        f"{counts.unjudged.sum():,} unjudged, {counts.truncated.sum():,} cut at {collection.params.max_tokens} tokens",
        f"policy {collection.policy}, judged by {collection.verifier}",
    ]


def collection_notes(collection: Collection, store: Store, policy: Mapping[str, object]) -> list[str]:
    """Return what could be done better: a faster precision, and why most samples are not judged.

    Args:
        collection: what the store holds of the policy now.
        store: the store.
        policy: `Policy.describe` of the policy.
    """
    notes, size = [], policy.get("parameters")
    if policy.get("dtype") == "float32" and policy.get("fast_bfloat16") and isinstance(size, int) and size >= LARGE:
        notes.append("drawn in float32, as saved; --dtype bfloat16, a policy of its own, is faster here")
    if 2 * collection.counts.unjudged.sum() > collection.counts.n.sum():
        notes.append(f"unjudged, most often: {why_unjudged(collection, store)}")
    return notes


def command_to_measure(collection: Collection, place: Store, store: Path, task: str) -> str:
    """Return the command that measures a collection, with what tells it from the policy's other samples there."""
    words = ["goldpanner", "measure", collection.policy, "--store", str(store)]
    query = "SELECT DISTINCT task, params, verifier FROM samples WHERE policy = $policy AND step IS NULL"
    others = place.sql(query, {"policy": collection.policy}).to_pylist()
    own = {"task": task, "params": collection.params.hash, "verifier": collection.verifier}
    for (name, value), option in zip(own.items(), ("--task", "--params", "--verdicts-of")):
        if any(row[name] != value for row in others):
            words += [option, value]
        others = [row for row in others if row[name] == value]
    return shlex.join(words)
