"""What a run on a real model has beside the lab's sections: the plan made from its pilot, and form apart from skill."""

from goldpanner.report.gather import Run
from goldpanner.report.page import Interval, PageTable, Prose, Row, Section
from goldpanner.store.studies import PilotPlan
from goldpanner.types import Estimate


def plan_section(run: Run) -> Section | None:
    """Return what the pilot said before training: groups by size, the problems by class, what was trained on."""
    plan = None if run.study is None else run.study.plan
    if plan is None:
        return None
    size = plan.group_size
    mixed = plan.groups[str(size)].mixed.estimate()
    words = [
        f"Before training, {plan.problems} problems of the training split were sampled {plan.samples} times each: "
        f"{plan.right} of {plan.problems * plan.samples} answers were right. Of groups of {size}, as trained with, "
        f"{mixed.value:.0%} [{mixed.low:.0%}, {mixed.high:.0%}] would be mixed; the largest group size that costs "
        f"little more than the cheapest is {plan.recommended_G}.",
        _trained_on(plan),
    ]
    rows = []
    for name, option in plan.groups.items():
        mark = " · recommended" if int(name) == plan.recommended_G else ""
        used = " · used" if int(name) == size else ""
        rows.append(Row([f"{name}{used}{mark}", Interval(option.mixed.estimate()), _cost(option.cost.estimate())]))
    caption = "Only mixed groups, with right and wrong answers in them, teach. Cost: answers drawn for one mixed group."
    table = PageTable("Group sizes", caption, ["G", "mixed share", "answers per mixed group"], [("", rows)])
    return Section("plan", "The pilot and the plan", [Prose(words), table])


def _trained_on(plan: PilotPlan) -> str:
    classes = ", ".join(f"{count} {name}" for name, count in plan.assigned.items() if count)
    if plan.fresh:
        return f"Trained on: fresh problems of the task. As a training set, those of the pilot would be: {classes}."
    without = (
        f", without the {len(plan.left_out)} of the pilot that are solved or need SFT first" if plan.left_out else ""
    )
    return f"Trained on: the file's problems that are not held out{without}. The pilot's problems: {classes}."


def _cost(cost: Estimate) -> str:
    low, value, high = ("∞" if x == float("inf") else f"{x:,.0f}" for x in (cost.low, cost.value, cost.high))
    return f"{value} [{low}, {high}]"


def form(run: Run) -> Section | None:
    """Return P(an answer in the asked form) and P(correct | in that form), stage by stage."""
    record = None if run.study is None else run.study.form
    if record is None:
        return None
    rows = []
    for stage in run.stages:
        if stage.id in record:
            parts = [part.estimate() for part in (record[stage.id].parses, record[stage.id].correct_given_parsed)]
            look = run.looks[stage.id]
            rows.append(Row([stage.label, *(Interval(part, None, look) for part in parts)], look))
    caption = "pass@1 is the product of the two. A model that only learnt the form moves the first column alone."
    head = ["Stage", "P(answer in the asked form)", "P(correct | in that form)"]
    return Section("form", "Form and skill", [PageTable("Told apart", caption, head, [("", rows)])])
