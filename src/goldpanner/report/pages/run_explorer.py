"""The data behind the table of problems: small enough to travel inside the page."""

from typing import Any

from goldpanner.report.gather import Run
from goldpanner.report.page import Explorer, Section, pack_data
from goldpanner.types import Problem

LN10 = 2.302585092994046
BUDGET = 700_000
"""Characters that the packed table may take; beyond it fewer responses are kept, as the caption says."""


def explorer(run: Run) -> Section | None:
    """Return the table of problems; None where nothing is known of any.

    Its data: `stages` (label, color, index of the stage before RL or null), `exact` (whether P is known), `problems`:
    task `t`, prompt `q`, answer `a`, `chain`, `notes` (step, remark), and per stage log10 P `p`, counts `c` as
    [right, drawn], responses `r` as [text, verdict, times, reason].
    """
    if not run.problems:
        return None
    place = {stage.id: i for i, stage in enumerate(run.stages)}
    before = {after.id: place[base.id] for base, after in run.arms}
    stages = [{"label": s.label, "color": run.looks[s.id].color, "before": before.get(s.id)} for s in run.stages]
    rows = [
        {i: [int(c), int(n)] for i, c, n in zip(s.counts.ids, s.counts.c, s.counts.n, strict=True)} for s in run.stages
    ]
    for most in (4, 3, 2, 1, 0):
        problems = [_problem(run, i, rows, most) for task in run.tasks for i in run.by_task[task]]
        if len(pack_data(problems)) <= BUDGET:
            break
    exact = any(stage.truth for stage in run.stages)
    block = Explorer(_caption(exact, most), {"stages": stages, "problems": problems, "exact": exact})
    return Section("problems", "The problems", [block])


def _caption(exact: bool, most: int) -> str:
    shown = "Exact P(correct), then right answers of those drawn" if exact else "Right answers of those drawn"
    share = (
        f"of each verdict the {most} most frequent responses, with how often they were drawn"
        if most
        else "no responses"
    )
    return (
        f"Every problem measured. {shown}, stage by stage; the bar under each is on a log scale from 1e-9 to 1. "
        f"Click a heading to sort, a row to read what was asked, what was expected and what the stages said: {share}."
    )


def _problem(run: Run, problem_id: str, drawn: list[dict[str, list[int]]], most: int) -> dict[str, object]:
    problem = run.problems[problem_id]
    logs = [stage.truth.get(problem_id) for stage in run.stages]
    return {
        "t": problem.task,
        "q": problem.prompt,
        "a": problem.answer,
        "chain": str(problem.meta.get("chain", "")),
        "notes": _notes(problem),
        "p": [None if x is None else round(min(x, 0.0) / LN10, 4) + 0.0 for x in logs],
        "c": [counts.get(problem_id) for counts in drawn],
        "r": [_responses(run, stage.id, problem_id, most) for stage in run.stages],
    }


def _responses(run: Run, stage: str, problem_id: str, most: int) -> list[list[Any]]:
    positions: dict[str, int] = {}
    rows = []
    for response in run.responses.get((stage, problem_id), ()):
        positions[response.verdict] = positions.get(response.verdict, 0) + 1
        if positions[response.verdict] <= most:
            rows.append([response.text, response.verdict, response.times, response.reason])
    return rows


def _notes(problem: Problem) -> list[list[str]]:
    """Return each step of the worked answer with how reliably the training text states it, where known."""
    reliability, relations = problem.meta.get("reliability"), problem.meta.get("relations")
    steps = str(problem.meta.get("chain", "")).split()
    if not reliability or not relations or len(steps) % len(relations):
        return []
    size = len(steps) // len(relations)
    notes = []
    for hop, q in enumerate(reliability):
        notes.append([" ".join(steps[hop * size : (hop + 1) * size]), f"stated right by {q:.0%} of the texts"])
    if "exposure" in problem.meta:
        notes[0][1] += f"; {problem.meta['exposure']:.2%} of the texts ask about it"
    return notes
