"""What a run on a real model has beside the lab's sections: the plan made from its pilot, and form apart from skill."""

from collections.abc import Mapping
from typing import Any

from goldpanner.report.gather import Run
from goldpanner.report.page import Interval, PageTable, Prose, Row, Section
from goldpanner.types import Estimate


def plan_section(run: Run) -> Section | None:
    """Return what the pilot said before training: groups by size, the problems by class, what was trained on."""
    planned = run.study.get("plan")
    if not planned:
        return None
    size, sizes = planned["group_size"], planned["groups"]
    mixed = _estimate(sizes[str(size)]["mixed"])
    words = [
        f"Before training, {planned['problems']} problems of the training split were sampled {planned['samples']} "
        f"times each: {planned['right']} of {planned['problems'] * planned['samples']} answers were right. Of groups "
        f"of {size}, as trained with, {mixed.value:.0%} [{mixed.low:.0%}, {mixed.high:.0%}] would be mixed; the "
        f"largest group size that costs little more than the cheapest is {planned['recommended_G']}.",
        _trained_on(planned),
    ]
    rows = []
    for name, option in sizes.items():
        mark = " · recommended" if int(name) == planned["recommended_G"] else ""
        used = " · used" if int(name) == size else ""
        cost = _estimate(option["cost"])
        rows.append(Row([f"{name}{used}{mark}", Interval(_estimate(option["mixed"])), _cost(cost)]))
    caption = "Only mixed groups, with right and wrong answers in them, teach. Cost: answers drawn for one mixed group."
    table = PageTable("Group sizes", caption, ["G", "mixed share", "answers per mixed group"], [("", rows)])
    return Section("plan", "The pilot and the plan", [Prose(words), table])


def _trained_on(planned: Mapping[str, Any]) -> str:
    assigned, left_out = planned["assigned"], planned["left_out"]
    classes = ", ".join(f"{count} {name}" for name, count in assigned.items() if count)
    if planned["fresh"]:
        return f"Trained on: fresh problems of the task. As a training set, those of the pilot would be: {classes}."
    without = f", without the {len(left_out)} of the pilot that are solved or need SFT first" if left_out else ""
    return f"Trained on: the file's problems that are not held out{without}. The pilot's problems: {classes}."


def _cost(cost: Estimate) -> str:
    low, value, high = ("∞" if x == float("inf") else f"{x:,.0f}" for x in (cost.low, cost.value, cost.high))
    return f"{value} [{low}, {high}]"


def form(run: Run) -> Section | None:
    """Return P(an answer in the asked form) and P(correct | in that form), stage by stage."""
    record = run.study.get("form")
    if not record:
        return None
    rows = []
    for stage in run.stages:
        if stage.id in record:
            parts = [_estimate(record[stage.id][name]) for name in ("parses", "correct_given_parsed")]
            look = run.looks[stage.id]
            rows.append(Row([stage.label, *(Interval(part, None, look) for part in parts)], look))
    caption = "pass@1 is the product of the two. A model that only learnt the form moves the first column alone."
    head = ["Stage", "P(answer in the asked form)", "P(correct | in that form)"]
    return Section("form", "Form and skill", [PageTable("Told apart", caption, head, [("", rows)])])


def _estimate(found: Mapping[str, Any]) -> Estimate:
    """Return an estimate from its JSON record, whose open ends are null."""
    value, low, high = (float("inf") if found[end] is None else found[end] for end in ("value", "low", "high"))
    return Estimate(value, low, high, found["level"], found["method"])
