"""The one sampling path: what is drawn is judged, kept, and counted; nothing turns into a wrong answer by accident."""

import pytest

from goldpanner.errors import InputError
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.sampling.rollout import count, judge, judge_all, rollout
from goldpanner.tasks import World, load
from goldpanner.types import Completion, Outcome, SamplingParams, Verdict

PARAMS = SamplingParams(max_tokens=40)
PROBLEMS = load("world/d2", 6)
VERIFIERS = World().verifiers()


class Kept:
    def __init__(self):
        self.samples, self.verdicts = [], []

    def write(self, samples, verdicts=()):
        self.samples += samples
        self.verdicts += verdicts


class Broken:
    id = "broken@1"

    def __call__(self, problem, completion):
        raise RuntimeError("boom")


def test_one_list_per_problem_in_order_everything_written_before_it_is_yielded():
    kept = Kept()
    policy = ScriptedPolicy.with_p(0.5)
    for i, group in enumerate(rollout(policy, PROBLEMS, VERIFIERS, PARAMS, n=4, sink=kept, run="r")):
        assert {s.problem for s in group} == {PROBLEMS[i].id}
        assert [s.index for s in group] == [0, 1, 2, 3]
        assert len(kept.samples) == 4 * (i + 1)
    assert len(kept.verdicts) == len(kept.samples)
    assert {v.verifier for _, v in kept.verdicts} == {"world-process@1"}
    assert all(s.reward is None and s.step is None for s in kept.samples)


def test_a_sample_depends_on_problem_seed_and_index_alone():
    policy = ScriptedPolicy.with_p(0.5)
    whole = {s.key: s for g in rollout(policy, PROBLEMS, VERIFIERS, PARAMS, n=16) for s in g}
    parts = list(rollout(policy, PROBLEMS[::-1], VERIFIERS, PARAMS, n=[range(5, 9)] * 6))
    assert all(whole[s.key] == s for g in parts for s in g)
    other = [s for g in rollout(policy, PROBLEMS, VERIFIERS, PARAMS, n=16, seed=1) for s in g]
    assert [s.completion.text for s in other] != [s.completion.text for s in whole.values()]


def test_training_rollouts_carry_step_group_and_reward():
    groups = list(rollout(ScriptedPolicy.with_p(0.5, unjudged=0.2), PROBLEMS, VERIFIERS, PARAMS, n=50, step=7))
    for i, group in enumerate(groups):
        assert {s.group for s in group} == {i}
        assert {s.step for s in group} == {7}
        for s in group:
            unjudged = s.verdict.outcome is Outcome.UNJUDGED
            assert s.reward is None if unjudged else s.reward == float(s.verdict.correct)
    assert any(s.reward is None for g in groups for s in g)


def test_a_verifier_that_raises_has_not_judged():
    verdict = judge(Broken(), PROBLEMS[0], Completion("x"))
    assert verdict.outcome is Outcome.UNJUDGED
    assert "boom" in verdict.reason


def test_a_policy_that_failed_is_not_wrong():
    assert judge(VERIFIERS[0], PROBLEMS[0], Completion("503", finish="error")).outcome is Outcome.UNJUDGED


def test_known_p_is_found():
    policy = ScriptedPolicy.with_p(0.3)
    counts = count(rollout(policy, PROBLEMS, VERIFIERS, PARAMS, n=2000))
    assert counts.n.tolist() == [2000] * 6
    assert abs(counts.c.sum() / counts.n.sum() - 0.3) < 4 * (0.3 * 0.7 / 12000) ** 0.5


def test_count_takes_a_key_once_and_keeps_the_unjudged_apart():
    policy = ScriptedPolicy.with_p(0.3, unjudged=0.3, truncated=0.2)
    groups = list(rollout(policy, PROBLEMS, VERIFIERS, PARAMS, n=100))
    once, twice = count(groups), count(groups + groups)
    assert once.n.tolist() == twice.n.tolist() == [100] * 6
    assert once.unjudged.sum() > 0
    assert once.truncated.sum() > 0


@pytest.mark.parametrize(
    ("verifiers", "n", "says"),
    [((), 4, "verifier"), (VERIFIERS, 0, "at least one"), (VERIFIERS, [range(2)], "1 index")],
)
def test_wrong_input(verifiers, n, says):
    with pytest.raises(InputError, match=says):
        list(rollout(ScriptedPolicy.with_p(0.5), PROBLEMS, verifiers, PARAMS, n=n))


def test_count_of_nothing():
    with pytest.raises(InputError, match="no sample"):
        count([])


class Batches:
    """A verifier that judges many at once; `how` says what it does wrong with a batch."""

    id = "batches@1"

    def __init__(self, how=""):
        self.how, self.sizes = how, []

    def __call__(self, problem, completion):
        return Verdict(Outcome.CORRECT if completion.text == problem.meta["chain"] else Outcome.WRONG, self.id)

    def judge_many(self, pairs):
        self.sizes.append(len(pairs))
        if self.how == "raises":
            raise RuntimeError("boom")
        verdicts = [self(*pair) for pair in pairs]
        return {"": verdicts, "short": verdicts[1:], "none": [None] * len(pairs), "no list": None}[self.how]


@pytest.mark.parametrize("how", ["", "raises", "short", "none", "no list"])
def test_a_verifier_that_judges_many_at_once_says_what_it_says_of_one(how):
    policy, verifier = ScriptedPolicy.with_p(0.4, unjudged=0.2), Batches(how)
    completions = [s.completion for g in rollout(policy, PROBLEMS[:1], VERIFIERS, PARAMS, n=40) for s in g]
    one_by_one = [judge(verifier, PROBLEMS[0], completion) for completion in completions]
    assert judge_all(verifier, PROBLEMS[0], completions) == one_by_one
    failed = sum(completion.finish == "error" for completion in completions)
    assert verifier.sizes == [40 - failed], "one call, without the requests that failed"
    kept = Kept()
    list(rollout(policy, PROBLEMS, [verifier, Batches(how)], PARAMS, n=8, sink=kept))
    assert [sample.verdict for sample in kept.samples] == [verdict for _, verdict in kept.verdicts]


def test_of_a_batch_that_raises_only_its_cause_is_unjudged():
    class Fragile(Batches):
        def __call__(self, problem, completion):
            if completion.text == "no":
                raise RuntimeError("boom")
            return super().__call__(problem, completion)

    right = Completion(PROBLEMS[0].meta["chain"])
    verdicts = judge_all(Fragile(), PROBLEMS[0], [right, Completion("no"), right])
    assert [verdict.outcome for verdict in verdicts] == [Outcome.CORRECT, Outcome.UNJUDGED, Outcome.CORRECT]
    assert "boom" in verdicts[1].reason
