"""What the story shows, in words: every sentence is made from numbers in the store and follows them anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from goldpanner.errors import InputError
from goldpanner.measure import intervals, passk
from goldpanner.measure.compare import Comparison, compare
from goldpanner.store import Store
from goldpanner.store.find import policy_of_run
from goldpanner.types import Counts, Estimate, FloatArray, Problem

MASTERED = 0.5
"""A problem counts as mastered when P(correct) is at least this."""
RARE = 1e-6
"""Below this exact P a problem was out of reach of the whole run's rollouts."""
SAID = {
    "sharpened": "sharpened what was there",
    "expanded": "expanded the boundary",
    "narrowed": "narrowed the boundary",
    "shifted": "shifted the boundary: it gained some problems and lost others",
    "no difference shown": "made no difference that these samples show",
}
UNDECIDED = "did something that these samples cannot decide"
"""What RL did, by the word of the comparison."""


@dataclass(frozen=True)
class Measured:
    """One stage as it was measured: counts of the sampled problems and exact log P of all, per task."""

    counts: Mapping[str, Counts]
    """By the answer verifier: what pass@k is about."""
    process: Mapping[str, Counts]
    """By the process verifier: what the exact probability is about."""
    logp: Mapping[str, Mapping[str, float]]
    """Task -> problem id -> exact log P of the worked answer; probed tasks too."""

    def pooled(self, tasks: Sequence[str]) -> Counts:
        """Return the counts of several tasks as one set."""
        parts = [self.counts[task] for task in tasks]
        ids = tuple(i for part in parts for i in part.ids)
        return Counts(ids, *map(np.concatenate, zip(*(part.columns for part in parts))))

    def exact(self, tasks: Sequence[str]) -> FloatArray:
        """Return exact log P of every problem of `tasks`, shape (P,), in an order that all stages share."""
        return np.array([self.logp[task][i] for task in tasks for i in sorted(self.logp[task])])


def conclude(store: Store, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study's verdict: headline, paragraphs, a word and a summary per arm, and the table of figures."""
    problems = store.problems()
    measured = {stage: read(store, stage, study, problems) for stage in study["stages"]}
    trained = [task for task in study["tasks_trained"] if task in study["tasks_measured"]] or study["tasks_measured"]
    held_out = [task for task in study["tasks_measured"] if task not in trained]
    arms = []
    paragraphs = []
    for base, rl in study["arms"]:
        before, after = measured[base], measured[rl]
        comparison = compare(before.pooled(trained), after.pooled(trained))
        arms.append(
            {"base": base, "rl": rl, "tasks": trained, "word": comparison.verdict, "summary": comparison.summary}
        )
        paragraphs += [
            arm_paragraph(base, rl, trained, before, after, comparison),
            groups_paragraph(store, rl),
            unreached_paragraph(rl, trained, after, problems),
            held_out_paragraph(base, rl, held_out, before, after),
        ]
    paragraphs += [probes_paragraph(study, measured), agreement_paragraph(agreement(measured))]
    table = {stage: {t: cell(m, t) for t in study["tasks_measured"]} for stage, m in measured.items()}
    return {
        "headline": headline(arms, measured, trained),
        "paragraphs": [text for text in paragraphs if text],
        "arms": arms,
        "table": table,
        "agreement": agreement(measured),
    }


def read(store: Store, stage: str, study: Mapping[str, Any], problems: Mapping[str, Problem]) -> Measured:
    """Return what the store holds of one stage."""
    policy, verifiers = policy_of_run(store, stage), study["verifiers"]
    logp: dict[str, dict[str, float]] = {}
    for problem, value in store.truth(policy).items():
        logp.setdefault(problems[problem].task, {})[problem] = value

    def counts(verifier: str) -> dict[str, Counts]:
        return {
            # without rollouts: those of RL's first step were drawn from the very policy that it started from
            task: store.counts(policy, params=study["params"], tasks=[task], verifier=verifier, rollouts=False)
            for task in study["tasks_measured"]
        }

    return Measured(counts(verifiers["answer"]), counts(verifiers["process"]), logp)


def headline(arms: Sequence[Mapping[str, Any]], measured: Mapping[str, Measured], trained: Sequence[str]) -> str:
    """Return one sentence per arm, led by the word that the samples support."""
    sentences = []
    for arm in arms:
        k = largest_k(measured[arm["base"]], trained)
        one = [passk.exact(measured[s].exact(trained), [1, k]) for s in (arm["base"], arm["rl"])]
        what = SAID.get(arm["word"], UNDECIDED)
        sentences.append(
            f"From {arm['base']}, RL {what}: pass@1 {one[0][0]:.2f} → {one[1][0]:.2f}, "
            f"pass@{k} {one[0][1]:.2f} → {one[1][1]:.2f}."
        )
    return " ".join(sentences)


def arm_paragraph(
    base: str, rl: str, tasks: Sequence[str], before: Measured, after: Measured, comparison: Comparison
) -> str:
    """Say what happened on the trained tasks: exact curves first, then what the samples alone support."""
    old, new = before.exact(tasks), after.exact(tasks)
    k = largest_k(before, tasks)
    first, last = exact_gap(old, new, 1), exact_gap(old, new, k)
    rose = (np.exp(new) >= MASTERED) & (np.exp(old) < MASTERED)
    rare = old < np.log(RARE)
    return (
        f"{base} → {rl}, trained tasks ({', '.join(tasks)}). Exact, over {len(old)} held-out problems: pass@1 "
        f"{change_text(old, new, 1)} ({signed(first)}), pass@{k} {change_text(old, new, k)} ({signed(last)}). "
        f"{equivalent_sentence(old, new, base)} RL lifted {rose.sum()} problems above P = {MASTERED:g}; "
        f"{(rose & rare).sum()} of the {rare.sum()} problems that stood below P = {RARE:g} were among them. "
        f"What {k} samples of {comparison.problems} problems say without knowing the truth: {comparison.verdict}."
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


def unreached_paragraph(
    rl: str, tasks: Sequence[str], after: Measured, problems: Mapping[str, Problem], low: float = 1e-3
) -> str:
    """Say what RL left out of reach and whether those problems rest on facts that the text seldom states right."""
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


def held_out_paragraph(base: str, rl: str, tasks: Sequence[str], before: Measured, after: Measured) -> str:
    """Say what happened on tasks that RL never saw: the better ones and the worse ones by name."""
    parts = []
    for task in tasks:
        old, new = before.exact([task]), after.exact([task])
        k = largest_k(before, [task])
        parts.append(
            f"{task} pass@1 {change_text(old, new, 1)}, pass@{k} {change_text(old, new, k)} "
            f"({signed(exact_gap(old, new, k))})"
        )
    return f"Held-out tasks, {base} → {rl}, exact: {'; '.join(parts)}." if parts else ""


def probes_paragraph(study: Mapping[str, Any], measured: Mapping[str, Measured]) -> str:
    """Say what became of relations that pretraining showed rarely or never."""
    stages = study["stages"]
    parts = []
    for task in study["tasks_probed"]:
        values = [np.median(measured[stage].exact([task])) / np.log(10) for stage in stages]
        parts.append(f"{task} {', '.join(f'{v:.1f}' for v in values)}")
    if not parts:
        return ""
    where = f"where pretraining showed a relation rarely or never ({', '.join(stages)})"
    return f"Median log10 P(correct) {where}: {'; '.join(parts)}."


def agreement(measured: Mapping[str, Measured], level: float = 0.95) -> dict[str, float]:
    """Return how many exact P lie inside the exact interval of their own counts (process verdicts), over all stages."""
    inside = total = 0
    for stage in measured.values():
        for task, counts in stage.process.items():
            low, high = intervals.proportion(counts.c, counts.n, counts.unjudged, level)
            p = np.exp([stage.logp[task][i] for i in counts.ids])
            inside += int(((p >= low) & (p <= high)).sum())
            total += len(p)
    return {"inside": inside, "problems": total, "level": level}


def agreement_paragraph(found: Mapping[str, float]) -> str:
    """Say whether sampled and exact probabilities agree."""
    share, level = found["inside"] / max(found["problems"], 1), found["level"]
    word = "agree" if share >= level - 0.02 else "DISAGREE"
    return (
        f"Sampled and exact {word}: {found['inside']:,} of {found['problems']:,} exact probabilities ({share:.1%}) lie "
        f"inside the {level:.0%} interval of their own counts."
    )


def cell(measured: Measured, task: str) -> dict[str, Any]:
    """Return pass@1 and pass@k of one stage and task, sampled with intervals and exact."""
    counts, logp = measured.counts[task], measured.exact([task])
    k = int(counts.n.min())
    band, exact = passk.curve(counts, [1, k]), passk.exact(logp, [1, k])
    return {
        "k": k,
        "pass_at_1": band.at(1).to_json(),
        "pass_at_k": band.at(k).to_json(),
        "exact_at_1": float(exact[0]),
        "exact_at_k": float(exact[1]),
    }


def largest_k(measured: Measured, tasks: Sequence[str]) -> int:
    """Return the largest k that every sampled problem of `tasks` supports."""
    return int(min(measured.counts[task].n.min() for task in tasks))


def exact_gap(old: FloatArray, new: FloatArray, k: int, level: float = 0.95) -> Estimate:
    """Return exact pass@k after minus before with a paired t interval over problems."""
    gain = (passk.exact_rows(new, [k]) - passk.exact_rows(old, [k]))[:, 0]
    mean, error = float(gain.mean()), float(stats.sem(gain))
    half = float(stats.t.ppf(0.5 + level / 2, len(gain) - 1)) * error
    return Estimate(mean, mean - half, mean + half, level, "paired t over problems", len(gain))


def change_text(old: FloatArray, new: FloatArray, k: int) -> str:
    """Return `before → after` of exact pass@k."""
    values = [float(passk.exact(x, [k])[0]) for x in (old, new)]
    return f"{values[0]:.3g} → {values[1]:.3g}"


def signed(estimate: Estimate) -> str:
    """Return a difference with its sign and interval."""
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
