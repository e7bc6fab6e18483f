"""A comparison as Markdown, for a pull request, an issue or a log book; and the facts beside one model's curve."""

from collections.abc import Callable

import numpy as np

from goldpanner.measure.compare import Comparison
from goldpanner.measure.corrections import LESS_GUESSES
from goldpanner.measure.gate import Gate
from goldpanner.measure.metrics import Confounds
from goldpanner.measure.profile import Profile

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


def profile_facts(found: Profile, texts: Confounds | None = None) -> list[tuple[str, str]]:
    """Return what else is known of one model's counts, as pairs of a label and a value.

    Args:
        found: the profile.
        texts: what the texts of the samples show, where there are texts.

    Returns:
        Unjudged and truncated samples, strata, problems too rare to see, parsing and guessing, and pass@k with guessing
        and the verifier's errors undone.
    """
    counts, b = found.counts, found.boundary
    own = f", {int(counts.unanswered.sum()):,} of them by the model's own doing: wrong in every value"
    facts = [
        ("unjudged", f"{int(counts.unjudged.sum()):,}{own if counts.unanswered.any() else ''}"),
        ("truncated completions", "not recorded" if np.isnan(found.truncated.value) else str(found.truncated)),
    ]
    if found.speaks_of_support:
        strata, largest = b.strata, int(counts.n.max())
        facts += [
            (
                "strata",
                f"{strata['easy']} easy (P >= {b.easy:g}), {strata['reachable']} reachable, {strata['rare']} rare "
                f"(P <= {b.rare:g}), {strata['not_reached']} not reached, {strata['unresolved']} unresolved",
            ),
            (f"problems too rare for {largest:,} samples (P < {np.log(2) / largest:.2g})", str(found.unseen)),
        ]
    if texts is not None:
        facts += _text_facts(texts)
    facts += [(f"pass@{k} corrected for lucky guesses", str(e)) for k, e in found.chance_corrected.items()]
    facts += [(f"pass@{k} of these problems as a perfect verifier sees it", str(e)) for k, e in found.verified.items()]
    if found.rogan_gladen is not None:
        facts.append(("share of correct samples as a perfect verifier sees it (Rogan-Gladen)", str(found.rogan_gladen)))
    return facts


def _text_facts(texts: Confounds) -> list[tuple[str, str]]:
    """Return what the texts show."""
    facts = [
        ("P(parses)", f"{texts.split.parses.value:.3g}"),
        ("P(correct given parsed)", f"{texts.split.correct_given_parsed.value:.3g}"),
        ("guess floor", "unknown" if texts.guess_floor is None else f"{texts.guess_floor:.3g}"),
    ]
    facts += [(f"pass@{k} {LESS_GUESSES}", str(e)) for k, e in texts.less_own_guesses.items()]
    of_verifier = texts.confirmed.items()
    facts += [(f"pass@{k} where {name} agrees", str(e)) for name, of_k in of_verifier for k, e in of_k.items()]
    facts += [(f"maj@{k}", str(e)) for k, e in texts.majority.items() if k > 1]
    for size, shares in texts.observed_groups.items():
        names = {"mixed": shares.mixed, "all wrong": shares.all_wrong, "all correct": shares.all_correct}
        value = ", ".join(f"{name} {share.value:.3g}" for name, share in names.items())
        facts.append((f"groups of {size} observed in RL", value))
    return facts


def _cell(text: str) -> str:
    """Return a text on one line that leaves a Markdown table whole."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
