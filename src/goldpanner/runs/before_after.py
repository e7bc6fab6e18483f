"""What GRPO did to a real model, in words: every sentence is made from samples in the store."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from goldpanner.measure import passk
from goldpanner.measure.compare import Comparison, compare, with_origins
from goldpanner.measure.corrections import ParseSplit, parse_split
from goldpanner.runs.conclude import SAID, UNDECIDED, groups_paragraph
from goldpanner.store import Store
from goldpanner.store.find import policy_of_run
from goldpanner.store.schema import ParamsRecord
from goldpanner.types import Counts, Estimate, SamplingParams


def conclude_model(store: Store, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study's `verdict` (headline, paragraphs, arm, table), its `form` and its `comparison`."""
    (base, rl), (task,) = study["arms"][0], study["tasks_measured"]
    counts = {stage: read_counts(store, stage, study) for stage in (base, rl)}
    comparison = traced(store, study, compare(counts[base], counts[rl]), counts[base])
    form = {stage: form_and_skill(store, stage, study, counts[stage]) for stage in (base, rl)}
    k = comparison.difference.largest
    ends = [[comparison.base.at(x).value, comparison.rl.at(x).value] for x in (1, k)]
    headline = (
        f"From {base}, RL {SAID.get(comparison.verdict, UNDECIDED)}: pass@1 {ends[0][0]:.2f} → {ends[0][1]:.2f}, "
        f"pass@{k} {ends[1][0]:.2f} → {ends[1][1]:.2f}."
    )
    if had := sum(origin.label == "amplified" for origin in comparison.origin.values()):
        headline += (
            f" Of {comparison.four_way['gained']} gained problems the base had {had}, too rarely for {k} samples."
        )
    arm = {"base": base, "rl": rl, "tasks": [task], "word": comparison.verdict, "summary": comparison.summary}
    paragraphs = [comparison.summary, form_paragraph(form[base], form[rl]), plan_paragraph(store, rl, study)]
    table = {stage: {task: model_cell(counts[stage], k)} for stage in (base, rl)}
    parts = {
        stage: {"parses": split.parses.to_json(), "correct_given_parsed": split.correct_given_parsed.to_json()}
        for stage, split in form.items()
    }
    return {
        "verdict": {"headline": headline, "paragraphs": paragraphs, "arms": [arm], "table": table},
        "form": parts,
        "comparison": {
            "verdict": comparison.verdict,
            "pass_at_1": comparison.difference.at(1).to_json(),
            f"pass_at_{k}": comparison.difference.at(k).to_json(),
            "four_way": comparison.four_way,
            "origin": {problem: origin.to_json() for problem, origin in comparison.origin.items()},
        },
    }


def traced(store: Store, study: Mapping[str, Any], found: Comparison, base: Counts) -> Comparison:
    """Return the comparison with the origin of the gained problems whose samples were scored under the base."""
    before, after = (policy_of_run(store, stage) for stage in study["arms"][0])
    params = store.get(ParamsRecord, study["params"])
    scored = store.scored(after, before, found.changes.of("gained"), params=study["params"])
    # without a record nobody knows whether the samples were truncated: then the origin "cannot say"
    return with_origins(found, scored, base, params is not None and SamplingParams(**params.stated).full_softmax)


def read_counts(store: Store, stage: str, study: Mapping[str, Any]) -> Counts:
    """Return a stage's counts on the held-out problems: its rollouts in training are no part of them."""
    policy = policy_of_run(store, stage)
    return store.counts(policy, params=study["params"], tasks=study["tasks_measured"], rollouts=False)


def form_and_skill(store: Store, stage: str, study: Mapping[str, Any], counts: Counts) -> ParseSplit:
    """Return P(an answer in the asked form) and P(correct | in that form) of a stage."""
    query = """
        SELECT problem, count(*) FILTER (extracted IS NOT NULL OR outcome = 'correct') AS parsed FROM samples
        WHERE policy = $policy AND params = $params AND step IS NULL AND outcome <> 'unjudged' GROUP BY problem
    """
    policy = policy_of_run(store, stage)
    rows = store.sql(query, {"policy": policy, "params": study["params"]}).to_pylist()
    parsed = {row["problem"]: row["parsed"] for row in rows}
    return parse_split(counts.judged, counts.c, np.array([parsed.get(i, 0) for i in counts.ids]))


def form_paragraph(before: ParseSplit, after: ParseSplit) -> str:
    """Say how much of the change in pass@1 is form and how much skill.

    With f = P(form) and s = P(correct | form) the change of f s is (f1 - f0) (s0 + s1) / 2 + (s1 - s0) (f0 + f1) / 2.
    """
    f, s = ([x.value for x in pair] for pair in ((before.parses, after.parses), _skills(before, after)))
    text = (
        f"Form and skill told apart: an answer in the asked form comes with P = {_of(before.parses)} before and "
        f"{_of(after.parses)} after RL; such an answer is right with P = {_of(before.correct_given_parsed)} before and "
        f"{_of(after.correct_given_parsed)} after."
    )
    if any(x != x for x in (*f, *s)):
        return text
    form, skill = (f[1] - f[0]) * (s[0] + s[1]) / 2, (s[1] - s[0]) * (f[0] + f[1]) / 2
    return f"{text} Of the change in pass@1, {form + skill:+.3f}, form makes {form:+.3f} and skill {skill:+.3f}."


def _skills(before: ParseSplit, after: ParseSplit) -> tuple[Estimate, Estimate]:
    return before.correct_given_parsed, after.correct_given_parsed


def _of(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def plan_paragraph(store: Store, rl: str, study: Mapping[str, Any]) -> str:
    """Say what the pilot foretold of the groups, and what became of them."""
    planned = study["plan"]
    mixed = planned["groups"][str(planned["group_size"])]["mixed"]
    return (
        f"The pilot ({planned['samples']} samples of {planned['problems']} training problems) foretold that "
        f"{mixed['value']:.0%} [{mixed['low']:.0%}, {mixed['high']:.0%}] of the groups of {planned['group_size']} "
        f"would be mixed at the start. {groups_paragraph(store, rl)}"
    )


def model_cell(counts: Counts, k: int) -> dict[str, Any]:
    """Return pass@1 and pass@k of one stage."""
    band = passk.curve(counts, [1, k])
    return {"k": k, "pass_at_1": band.at(1).to_json(), "pass_at_k": band.at(k).to_json()}
