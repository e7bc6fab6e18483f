"""A comparison as Markdown: for a pull request, an issue, a log book."""

from collections.abc import Callable

from goldpanner.measure.compare import Comparison
from goldpanner.measure.gate import Gate

LISTED = 10
"""Problems of each direction that the summary lists."""


def comparison_markdown(
    found: Comparison, base: str, rl: str, gate: Gate | None = None, text_of: Callable[[str], str] = str
) -> str:
    """Return the answer, the table of three tries, the gate, and the problems that changed most.

    Args:
        found: the comparison.
        base: name of the model before RL.
        rl: name of the model after RL.
        gate: what it says of the conditions, if there are any.
        text_of: the text of a problem by its id, empty where none is known.

    Returns:
        Markdown, with a final newline.
    """
    lines = [f"## {_cell(base)} → {_cell(rl)}: {found.verdict}", "", _cell(found.summary), ""]
    if gate is not None:
        lines += ["| condition | outcome | figures |", "|---|---|---|"]
        lines += [f"| {_cell(r.condition)} | {r.outcome} | {_cell(r.reason)} |" for r in gate.results] + [""]
    lines += ["| tries | base | RL | difference |", "|--:|--:|--:|--:|"]
    lines += [
        f"| {each.k:,} | {each.base} | {each.rl} | {each.difference:+} |"
        for each in dict.fromkeys((found.at_one_try, found.at_k_tries))
        if each.k
    ]
    changes = found.changes
    for name, rows in (("fell", changes.fell), ("rose", changes.rose)):
        places = changes.moved(rows)
        if places:
            lines += ["", f"**{len(places)} {name}**, the largest changes first:", ""]
            lines += ["| problem | base | RL |", "|---|--:|--:|"]
            for i in places[:LISTED]:
                label = _cell(text_of(changes.ids[i]) or changes.ids[i])[:120]
                before, after = (f"{x.c[i]}/{x.judged[i]}" for x in (changes.base, changes.rl))
                lines.append(f"| {label} | {before} | {after} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return a text on one line that leaves a Markdown table whole."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
