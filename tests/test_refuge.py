"""GRPO finds what is not judged, and the cure: a bandit with our own rewards and advantages, its ability known exactly.

An answer comes out right with P = .15, and no training changes that. The policy sees what came out, as a model that
doubts its own answer does, and shows it or hides it in a form that no verifier reads. Where what is unjudged is left
out of the advantage, a wrong answer that is shown is punished and one that is hidden is not: wrong answers are hidden,
and pass@1 over what is judged rises without anything learned.
"""

import torch

from goldpanner.measure.intervals import proportion
from goldpanner.rng import stream
from goldpanner.train.grpo import group_advantages
from goldpanner.types import Cause, Counts, Outcome, Verdict

ABILITY, PROMPTS, GROUP, STEPS = 0.15, 64, 16, 120


def verdict(right: bool, hidden: bool, cause: Cause) -> Verdict:
    if hidden:
        return Verdict(Outcome.UNJUDGED, "bandit@1", cause=cause)
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, "bandit@1")


def train(cause: Cause):
    """Return per step: exact P of a right answer that is shown, the counts, and P of hiding a wrong one."""
    rng = stream("test/refuge")
    logit = torch.tensor([-2.0, -2.0])  # of hiding a wrong answer, and a right one
    steps = []
    for _ in range(STEPS):
        hide = logit.sigmoid()
        right = torch.from_numpy(rng.random((PROMPTS, GROUP)) < ABILITY)
        chance = hide[right.long()]
        hidden = torch.from_numpy(rng.random((PROMPTS, GROUP))) < chance
        verdicts = [[verdict(r, h, cause) for r, h in zip(*row)] for row in zip(right.tolist(), hidden.tolist())]
        rewards = [[float("nan") if v.reward is None else v.reward for v in row] for row in verdicts]
        gradient = group_advantages(torch.tensor(rewards)).float() * (hidden.float() - chance)
        outcomes = [v.outcome for row in verdicts for v in row]
        unjudged = outcomes.count(Outcome.UNJUDGED)
        own = unjudged if cause is Cause.MODEL else 0
        counts = Counts.of([len(outcomes)], [outcomes.count(Outcome.CORRECT)], unjudged=[unjudged], unanswered=[own])
        steps.append((ABILITY * (1 - float(hide[1])), counts, float(hide[0])))
        logit = logit + 4 * torch.stack([gradient[right.logical_not()].mean(), gradient[right].mean()])
    return steps


def test_grpo_hides_wrong_answers_where_hiding_is_left_out():
    steps = train(Cause.OURS)
    (_, first, before), (ability, last, after) = steps[0], steps[-1]
    assert before < 0.15
    assert after > 0.95, "wrong answers are hidden"
    assert first.c[0] / first.judged[0] < 0.2
    assert last.c[0] / last.judged[0] > 0.75, "what is judged looks like a triumph"
    assert ability <= ABILITY, "and nothing was learned"


def test_counted_as_wrong_they_are_not_and_strict_pass_at_1_is_the_ability_at_every_step():
    steps = train(Cause.MODEL)
    assert max(hiding for *_, hiding in steps) < 0.3
    for ability, counts, _ in steps:
        low, high = proportion(counts.c, counts.judged, level=1 - 0.01 / STEPS)
        assert counts.judged[0] == PROMPTS * GROUP
        assert low[0] <= ability <= high[0]
