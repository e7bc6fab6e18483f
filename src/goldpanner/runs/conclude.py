"""What a run showed, in words, the lab's or a model's: every sentence is made from numbers in the store.

Both are compared, told and tabled alike. Where exact P is known (the lab) the sentences speak of it; where it is not (a
model) they speak of samples, of form apart from skill, and of what the pilot foretold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.compare import Comparison, compare, with_origins
from goldpanner.measure.corrections import ParseSplit, parse_split
from goldpanner.runs.cells import Measured, agreement, cell, exact_gap, read_cells
from goldpanner.store import Store
from goldpanner.store.find import policy_of_run
from goldpanner.store.schema import EstimateRecord, ParamsRecord
from goldpanner.store.studies import (
    STUDY,
    AgreementRecord,
    ArmRecord,
    ComparisonRecord,
    FormRecord,
    PilotPlan,
    StudyRecord,
    VerdictRecord,
)
from goldpanner.types import Counts, Estimate, FloatArray, Problem, SamplingParams

MASTERED = 0.5
"""A problem counts as mastered when P(correct) is at least this."""
RARE = 1e-6
"""Below this exact P a problem was out of reach of the whole run's rollouts."""
SAID = {
    "sharpened": "sharpened what was there",
    "expanded": "expanded the boundary",
    "open": "improved, and whether the base could get there is open",
    "better": "is better at one try",
    "higher": "is higher at many tries",
    "worse": "is worse at one try",
    "narrowed": "narrowed the boundary",
    "no difference shown": "made no difference to pass@k that these samples show",
}
"""What RL did, by the word of the comparison."""


def said(verdict: str) -> str:
    """Return what RL did, for the words of a comparison."""
    return " and ".join(SAID[word] for word in verdict.split(" and "))


@dataclass(frozen=True)
class Arm:
    """A stage before and one after RL, compared on some tasks."""

    base: str
    rl: str
    tasks: Sequence[str]
    before: Measured
    after: Measured
    comparison: Comparison

    @classmethod
    def of(cls, base: str, rl: str, tasks: Sequence[str], measured: Mapping[str, Measured]) -> "Arm":
        """Compare two of the stages."""
        before, after = measured[base], measured[rl]
        return cls(base, rl, tasks, before, after, compare(before.pooled(tasks), after.pooled(tasks)))

    @property
    def k(self) -> int:
        """The largest k that every problem's samples support."""
        return self.before.largest_k(self.tasks)

    @property
    def exact(self) -> bool:
        """Whether exact P is known."""
        return bool(self.before.logp)

    def pass_at(self, k: int) -> tuple[float, float]:
        """Return pass@k before and after: exact where that is known, else sampled."""
        if not self.exact:
            return self.comparison.base.at(k).value, self.comparison.rl.at(k).value
        before, after = (float(passk.exact(x.exact(self.tasks), [k])[0]) for x in (self.before, self.after))
        return before, after

    def record(self) -> ArmRecord:
        """Return what is kept of it."""
        word, summary = self.comparison.verdict, self.comparison.summary
        return ArmRecord(base=self.base, rl=self.rl, tasks=tuple(self.tasks), word=word, summary=summary)


def conclude_run(store: Store, study: StudyRecord) -> StudyRecord:
    """Conclude a run, store its record and return it; command and seconds are those of the first time."""
    if (earlier := store.get(StudyRecord, STUDY)) is not None:
        study = study.model_copy(update={"command": earlier.command, "seconds": earlier.seconds})
    study = conclude(store, study)
    store.put(study)
    return study


def conclude(store: Store, study: StudyRecord) -> StudyRecord:
    """Return a run's record with its verdict, and for a model with its `form` and its `comparison`."""
    measured = {stage: read_cells(store, stage, study) for stage in study.stages}
    trained = [task for task in study.tasks_trained if task in study.tasks_measured] or study.tasks_measured
    arms = [Arm.of(base, rl, trained, measured) for base, rl in study.arms]
    if all(arm.exact for arm in arms):
        changes: dict[str, object] = {}
        paragraphs = exact_paragraphs(store, study, arms, measured)
    else:
        arms = [replace(arm, comparison=traced(store, study, arm)) for arm in arms]
        forms = {stage: parse_shares(store, stage, study, each) for stage, each in measured.items()}
        changes = {
            "form": {stage: form_record(split) for stage, split in forms.items()},
            "comparison": comparison_record(arms[0]),
        }
        paragraphs = [text for arm in arms for text in sampled_paragraphs(store, study, arm, forms)]
    verdict = VerdictRecord(
        headline=" ".join(map(headline, arms)),
        paragraphs=tuple(text for text in paragraphs if text),
        arms=tuple(arm.record() for arm in arms),
        table={stage: {task: cell(each, task) for task in study.tasks_measured} for stage, each in measured.items()},
        agreement=agreement(measured),
    )
    return study.model_copy(update={**changes, "verdict": verdict})


def headline(arm: Arm) -> str:
    """Return a sentence led by the word that the samples support; of gained problems, what the base had too rarely."""
    k, gained = arm.k, arm.comparison.four_way["gained"]
    first, last = arm.pass_at(1), arm.pass_at(k)
    text = (
        f"From {arm.base}, RL {said(arm.comparison.verdict)}: pass@1 {first[0]:.2f} → {first[1]:.2f}, "
        f"pass@{k} {last[0]:.2f} → {last[1]:.2f}."
    )
    if had := sum(origin.label == "amplified" for origin in arm.comparison.origin.values()):
        text += f" Of {gained} gained problems the base had {had}, too rarely for {k} samples."
    return text


def groups_paragraph(store: Store, rl: str) -> str:
    """Say how the shares of mixed, all-wrong and all-correct groups moved, first and last tenth of the steps."""
    try:
        table = store.groups(rl).to_pydict()
    except InputError:  # lost to damage: measurements are drawn again, rollouts of a finished training are not
        return f"The rollouts of {rl} are no longer in the store."
    step, n, c = (np.array(table[name]) for name in ("step", "n", "c"))
    tenth = max(1, (int(step.max()) + 1) // 10)

    def shares(chosen: NDArray[np.bool_]) -> tuple[float, float, float]:
        return tuple(float(x[chosen].mean()) for x in ((c > 0) & (c < n), c == 0, c == n))  # type: ignore[return-value]

    start, end = shares(step < tenth), shares(step > step.max() - tenth)
    return (
        f"Groups of {rl}: mixed {start[0]:.0%} → {end[0]:.0%} (first to last {tenth} steps), all wrong "
        f"{start[1]:.0%} → {end[1]:.0%}, all correct {start[2]:.0%} → {end[2]:.0%}."
    )


# --- where exact P is known


def exact_paragraphs(
    store: Store, study: StudyRecord, arms: Sequence[Arm], measured: Mapping[str, Measured]
) -> list[str]:
    """Return the paragraphs of a run whose exact P is known; some may be empty."""
    problems = store.problems()
    held_out = [task for task in study.tasks_measured if task not in arms[0].tasks]
    paragraphs = []
    for arm in arms:
        paragraphs += [
            arm_paragraph(arm),
            groups_paragraph(store, arm.rl),
            unreached_paragraph(arm.rl, arm.tasks, arm.after, problems),
            held_out_paragraph(replace(arm, tasks=held_out)),
        ]
    return [*paragraphs, probes_paragraph(study, measured), agreement_paragraph(agreement(measured))]


def arm_paragraph(arm: Arm) -> str:
    """Say what happened on the trained tasks: exact curves first, then what the samples alone support."""
    old, new, k = arm.before.exact(arm.tasks), arm.after.exact(arm.tasks), arm.k
    first, last = exact_gap(old, new, 1), exact_gap(old, new, k)
    rose = (np.exp(new) >= MASTERED) & (np.exp(old) < MASTERED)
    rare = old < np.log(RARE)
    return (
        f"{arm.base} → {arm.rl}, trained tasks ({', '.join(arm.tasks)}). Exact, over {len(old)} held-out problems: "
        f"pass@1 {change_text(old, new, 1)} ({signed(first)}), pass@{k} {change_text(old, new, k)} ({signed(last)}). "
        f"{equivalent_sentence(old, new, arm.base)} RL lifted {rose.sum()} problems above P = {MASTERED:g}; "
        f"{(rose & rare).sum()} of the {rare.sum()} problems that stood below P = {RARE:g} were among them. "
        f"What {k} samples of {arm.comparison.problems} problems say without knowing the truth: "
        f"{arm.comparison.verdict}."
    )


def equivalent_sentence(old: FloatArray, new: FloatArray, name: str) -> str:
    """Say at which k the base's pass@k equals RL's pass@1, and from which k on the base is ahead, from exact P."""
    ks = np.unique(np.round(np.logspace(0, 6, 400)).astype(np.int64))
    before, after = passk.exact(old, ks), passk.exact(new, ks)
    if after[0] <= before[0]:
        return f"RL's pass@1 is not above that of {name}."
    reached, ahead = before >= after[0], before > after
    first = (
        f"RL's pass@1 is what {name} reaches with k = {ks[np.argmax(reached)]:,} samples"
        if reached.any()
        else f"RL's pass@1 is more than {name} reaches with k = {ks[-1]:,} samples"
    )
    if not ahead.any():
        return f"{first}; no k up to 1e6 puts {name} ahead."
    last_behind = int(np.flatnonzero(~ahead)[-1])
    if last_behind == len(ks) - 1:
        return f"{first}; {name} is ahead at some k from {ks[np.argmax(ahead)]:,}, and behind again at 1e6."
    return f"{first}; from k = {ks[last_behind + 1]:,} on {name} is ahead."


def unreached_paragraph(
    rl: str, tasks: Sequence[str], after: Measured, problems: Mapping[str, Problem], low: float = 1e-3
) -> str:
    """Say what RL left out of reach and whether those problems rest on facts that the text seldom states right.

    Args:
        rl: stage after RL.
        tasks: tasks that RL was trained on.
        after: measurements of that stage.
        problems: problem id -> problem.
        low: P(correct) below which a problem counts as out of reach.
    """
    rows: list[tuple[float, Any]] = [
        (p, problems[i].meta.get("weakest")) for t in tasks for i, p in after.logp[t].items()
    ]
    left = [weak for p, weak in rows if p < np.log(low)]
    reached = [weak for p, weak in rows if p >= np.log(low)]
    text = f"After {rl}, {len(left)} of {len(rows)} problems of the trained tasks still have P < {low:g}."
    if left and reached and all(weak is not None for _, weak in rows):
        share = [sum(weak < 0.05 for weak in group) / len(group) for group in (left, reached)]
        text += (
            f" {share[0]:.0%} of them need a fact that the pretraining text states right less than 5% of the time; "
            f"of the reached ones {share[1]:.0%} do."
        )
    return text


def held_out_paragraph(arm: Arm) -> str:
    """Say what happened on an arm's tasks if RL never saw them, one by one."""
    parts = []
    for task in arm.tasks:
        old, new = arm.before.exact([task]), arm.after.exact([task])
        k = arm.before.largest_k([task])
        parts.append(
            f"{task} pass@1 {change_text(old, new, 1)}, pass@{k} {change_text(old, new, k)} "
            f"({signed(exact_gap(old, new, k))})"
        )
    return f"Held-out tasks, {arm.base} → {arm.rl}, exact: {'; '.join(parts)}." if parts else ""


def probes_paragraph(study: StudyRecord, measured: Mapping[str, Measured]) -> str:
    """Say what became of relations that pretraining showed rarely or never."""
    parts = []
    for task in study.tasks_probed:
        values = [np.median(measured[stage].exact([task])) / np.log(10) for stage in study.stages]
        parts.append(f"{task} {', '.join(f'{v:.1f}' for v in values)}")
    if not parts:
        return ""
    where = f"where pretraining showed a relation rarely or never ({', '.join(study.stages)})"
    return f"Median log10 P(correct) {where}: {'; '.join(parts)}."


def agreement_paragraph(result: AgreementRecord | None) -> str:
    """Say whether sampled and exact probabilities agree; nothing where no exact one is known."""
    if result is None:
        return ""
    share = result.inside / result.problems
    word = "agree" if share >= result.level - 0.02 else "DISAGREE"
    return (
        f"Sampled and exact {word}: {result.inside:,} of {result.problems:,} exact probabilities ({share:.1%}) lie "
        f"inside the {result.level:.0%} interval of their own counts."
    )


def change_text(old: FloatArray, new: FloatArray, k: int) -> str:
    """Return `before → after` of exact pass@k."""
    values = [float(passk.exact(x, [k])[0]) for x in (old, new)]
    return f"{values[0]:.3g} → {values[1]:.3g}"


def signed(estimate: Estimate) -> str:
    """Return a difference with its sign and interval."""
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


# --- where P is sampled


def sampled_paragraphs(store: Store, study: StudyRecord, arm: Arm, forms: Mapping[str, ParseSplit]) -> list[str]:
    """Return the paragraphs of one arm of a run whose P is only sampled."""
    return [
        arm.comparison.summary,
        form_paragraph(forms[arm.base], forms[arm.rl]),
        *([] if study.plan is None else [plan_paragraph(study.plan)]),
        groups_paragraph(store, arm.rl),
    ]


def traced(store: Store, study: StudyRecord, arm: Arm) -> Comparison:
    """Return the comparison with the origin of the gained problems whose samples were scored under the base."""
    before, after = policy_of_run(store, arm.base), policy_of_run(store, arm.rl)
    params = store.get(ParamsRecord, study.params)
    scored = store.scored(after, before, arm.comparison.changes.of("gained"), params=study.params)
    # without a record nobody knows whether the samples were truncated: then the origin "cannot say"
    full_softmax = params is not None and SamplingParams(**params.stated).full_softmax
    return with_origins(arm.comparison, scored, arm.before.pooled(arm.tasks), full_softmax)


def comparison_record(arm: Arm) -> ComparisonRecord:
    """Return what is kept of an arm's comparison."""
    difference, k = arm.comparison.difference, arm.k
    return ComparisonRecord(
        verdict=arm.comparison.verdict,
        k=k,
        pass_at_1=EstimateRecord.of(difference.at(1)),
        pass_at_k=EstimateRecord.of(difference.at(k)),
        four_way=arm.comparison.four_way,
        origin={problem: origin.to_json() for problem, origin in arm.comparison.origin.items()},
    )


def parse_shares(store: Store, stage: str, study: StudyRecord, measured: Measured) -> ParseSplit:
    """Return P(an answer in the asked form) and P(correct | in that form) of a stage."""
    query = """
        SELECT problem, count(*) FILTER (extracted IS NOT NULL OR outcome = 'correct') AS parsed FROM samples
        WHERE policy = $policy AND params = $params AND step IS NULL AND outcome <> 'unjudged' GROUP BY problem
    """
    rows = store.sql(query, {"policy": policy_of_run(store, stage), "params": study.params}).to_pylist()
    parsed = {row["problem"]: row["parsed"] for row in rows}
    counts: Counts = measured.pooled(study.tasks_measured)
    return parse_split(counts.judged, counts.c, np.array([parsed.get(i, 0) for i in counts.ids]))


def form_record(split: ParseSplit) -> FormRecord:
    """Return what is kept of form and skill."""
    parses, correct = EstimateRecord.of(split.parses), EstimateRecord.of(split.correct_given_parsed)
    return FormRecord(parses=parses, correct_given_parsed=correct)


def form_paragraph(before: ParseSplit, after: ParseSplit) -> str:
    """Say how much of the change in pass@1 is form and how much skill.

    With f = P(form) and s = P(correct | form) the change of f s is (f1 - f0) (s0 + s1) / 2 + (s1 - s0) (f0 + f1) / 2.
    """
    f = [split.parses.value for split in (before, after)]
    s = [split.correct_given_parsed.value for split in (before, after)]
    text = (
        f"Form and skill told apart: an answer in the asked form comes with P = {before.parses:.3f} before and "
        f"{after.parses:.3f} after RL; such an answer is right with P = {before.correct_given_parsed:.3f} before and "
        f"{after.correct_given_parsed:.3f} after."
    )
    if any(x != x for x in (*f, *s)):
        return text
    form, skill = (f[1] - f[0]) * (s[0] + s[1]) / 2, (s[1] - s[0]) * (f[0] + f[1]) / 2
    return f"{text} Of the change in pass@1, {form + skill:+.3f}, form makes {form:+.3f} and skill {skill:+.3f}."


def plan_paragraph(plan: PilotPlan) -> str:
    """Say what the pilot foretold of the groups."""
    mixed = plan.groups[str(plan.group_size)].mixed.estimate()
    return (
        f"The pilot ({plan.samples} samples of {plan.problems} training problems) foretold that {mixed.value:.0%} "
        f"[{mixed.low:.0%}, {mixed.high:.0%}] of the groups of {plan.group_size} would be mixed at the start."
    )
