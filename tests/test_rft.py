"""Rejection fine-tuning: what is kept, that the very tokens are trained on, and the rounds."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.sampling.rollout import rollout
from goldpanner.store import Store
from goldpanner.train.config import RFTConfig
from goldpanner.train.rejection import keep_correct, rft, to_rows
from goldpanner.train.rlvr import RLVRConfig, rlvr
from goldpanner.train.rows import TokenRow
from goldpanner.train.supervised import SFT, encode_texts, epochs, supervised
from goldpanner.types import Completion, Outcome, Problem, Sample, SamplingParams, Verdict
from goldpanner.verify import ChainProcess
from test_rlvr import TASKS, Kept, base, mean_p, weights, world  # noqa: F401  (fixtures)

PROBLEM = Problem("t", "Q oak a", "b", {"chain": "oak b"})


def sample(text, outcome=Outcome.CORRECT, problem="p", index=0, tokens=None):
    completion = Completion(text, tokens=tokens)
    return Sample(problem, "policy", "params", 0, index, completion, Verdict(outcome, "v@1"))


def test_only_right_samples_are_kept_in_their_order():
    samples = [sample(str(i), outcome, problem=f"p{i % 2}", index=i) for i, outcome in enumerate(list(Outcome) * 3)]
    assert [s.index for s in keep_correct(samples)] == [0, 3, 6]  # unjudged is not right
    assert keep_correct([]) == []


def test_equal_completions_of_a_problem_are_kept_once():
    samples = [sample("b", index=0), sample("c", index=1), sample("b", index=2), sample("b", problem="q", index=3)]
    assert [s.index for s in keep_correct(samples)] == [0, 1, 3]
    assert [s.index for s in keep_correct(samples, distinct=False)] == [0, 1, 2, 3]
    by_token = [sample("b", index=0, tokens=(5, 1)), sample("b", index=1, tokens=(2, 3, 1))]
    assert len(keep_correct(by_token)) == 2  # the same text in other tokens is another completion


def test_a_cap_chooses_at_random_by_seed():
    samples = [sample(str(i), index=i, problem=f"p{i % 3}") for i in range(30)]
    capped = [[s.index for s in keep_correct(samples, per_problem=4, seed=seed)] for seed in range(6)]
    for indices in capped:
        assert indices == sorted(indices)
        assert [sum(i % 3 == p for i in indices) for p in range(3)] == [4, 4, 4]
    assert capped[0] == [s.index for s in keep_correct(samples, per_problem=4, seed=0)]
    assert len({tuple(indices) for indices in capped}) > 1
    assert len({i for indices in capped for i in indices}) > 24  # not the first ones only
    assert len(keep_correct(samples, per_problem=99)) == 30


def test_another_verifier_judges_anew():
    samples = [sample("b", problem=PROBLEM.id), sample("oak b", Outcome.WRONG, problem=PROBLEM.id, index=1)]
    kept = keep_correct(samples, verifier=ChainProcess(), problems={PROBLEM.id: PROBLEM})
    assert [(s.index, s.verdict.verifier) for s in kept] == [(1, "chain-process@1")]
    with pytest.raises(InputError, match="problem p is not known"):
        keep_correct([sample("b")], verifier=ChainProcess(), problems={})


def test_rows_hold_the_very_tokens_that_were_drawn(base, world):  # noqa: F811
    policy = LocalPolicy(*base)
    problems = world.problems("world/d1", 4, rng.stream("t"), "train")
    drawn = list(rollout(policy, problems, world.verifiers(), SamplingParams(max_tokens=12), n=4))
    samples = [s for group in drawn for s in group if s.completion.finish == "stop"]
    texts = {problem.id: problem for problem in problems}
    rows = to_rows(samples, texts, policy)
    assert [tuple(row.response) for row in rows] == [s.completion.tokens for s in samples]
    assert [row.prompt for row in rows] == [policy.encode_prompt(texts[s.problem]) for s in samples]
    # without tokens the text gives them, with its end
    bare = [dataclasses.replace(s, completion=Completion(s.completion.text)) for s in samples]
    assert to_rows(bare, texts, policy) == [TokenRow(list(row.prompt), list(row.response)) for row in rows]
    assert to_rows(samples[:1], texts, policy, "T {prompt}")[0].prompt[1:] == rows[0].prompt
    with pytest.raises(InputError, match="is not known"):
        to_rows(samples, {}, policy)


def test_supervised_takes_rows_as_they_are(base):  # noqa: F811
    rows = [TokenRow([3, 6], [6, 7]), TokenRow([3, 7], [8, 1])]  # no end is added: none was drawn
    assert encode_texts(base[1], rows) == rows
    assert encode_texts(base[1], rows, "all") == [TokenRow([3], [6, 6, 7]), TokenRow([3], [7, 8, 1])]
    with pytest.raises(InputError, match="empty prompt"):
        encode_texts(base[1], [TokenRow([], [6])])


def config(**changes):
    given = {"tasks": TASKS, "prompts": 24, "group_size": 8, "max_tokens": 12}
    training = SFT.model_copy(update={"steps": 20, "batch": 32, "learning_rate": 1e-3})
    return RFTConfig(**{**given, "training": training, **changes})


def train(base, world, config, **options):  # noqa: F811
    model = copy.deepcopy(base[0])
    return model, list(rft(model, base[1], world.tasks, config, **options))


def test_it_raises_the_probability_of_right_answers_on_held_out_problems(base, world):  # noqa: F811
    sink, asked = Kept(), []
    model, records = train(base, world, config(rounds=2), sink=sink, run="r", on_problems=asked.extend)
    assert mean_p(model, base[1], world) > mean_p(*base, world) + 0.08
    assert records[1].reward > records[0].reward + 0.1
    assert len(sink.samples) == 2 * 24 * 8 == sink.flushed
    assert {(s.run, s.step) for s in sink.samples} == {("r", 0), ("r", 1)}
    assert len({s.policy for s in sink.samples}) == 2  # the second round samples the fine-tuned policy
    assert {s.problem for s in sink.samples} == {p.id for p in asked}
    assert records[0].reward == pytest.approx(np.mean([s.verdict.correct for s in sink.samples[:192]]))


def test_on_the_rollouts_that_an_rl_run_stored(base, world, tmp_path):  # noqa: F811
    store = Store(tmp_path)
    rl = RLVRConfig(tasks=TASKS, steps=4, prompts_per_step=12, group_size=8, max_tokens=12)
    with store.writer() as sink:
        list(
            rlvr(copy.deepcopy(base[0]), base[1], world.tasks, rl, sink=sink, run="rl", on_problems=store.put_problems)
        )
    kept = keep_correct(store.samples(run="rl"))
    assert 0 < len(kept) < 4 * 12 * 8
    rows = to_rows(kept, store.problems(), LocalPolicy(*base))
    model, sft = copy.deepcopy(base[0]), config().training
    for _ in supervised(model, base[1], epochs(rows, sft), sft):
        pass
    assert mean_p(model, base[1], world) > mean_p(*base, world) + 0.05


def test_a_round_without_a_right_answer_changes_nothing(base, world):  # noqa: F811
    class Never:
        id = "never@1"

        @property
        def tasks(self):
            return {name: dataclasses.replace(task, verifiers=lambda: (self,)) for name, task in world.tasks.items()}

        def __call__(self, problem, completion):
            return Verdict(Outcome.WRONG, self.id)

    model, (record,) = train(base, Never(), config(prompts=4))
    assert (record.reward, record.loss, record.all_wrong) == (0.0, 0.0, 1.0)
    assert torch.equal(weights(model), weights(base[0]))


def test_an_abandoned_run_goes_on_after_its_last_whole_round(base, world, tmp_path):  # noqa: F811
    settings, path = config(rounds=3, prompts=12, per_problem=2), tmp_path / "checkpoint.pt"
    whole, records = train(base, world, settings)
    model = copy.deepcopy(base[0])
    steps = rft(model, base[1], world.tasks, settings, checkpoint=path)
    for _ in itertools.islice(steps, 2):
        pass
    steps.close()
    resumed, again = train(base, world, settings, checkpoint=path)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r.loss for r in again] == [r.loss for r in records]
    with pytest.raises(InputError, match="per_problem was 2, now it is 3"):
        train(base, world, config(rounds=3, prompts=12, per_problem=3), checkpoint=path)


def test_the_default_draws_as_many_rollouts_as_grpo_s():
    ours, theirs = RFTConfig(), RLVRConfig()
    assert ours.rounds * ours.prompts * ours.group_size == (theirs.steps * theirs.prompts_per_step * theirs.group_size)
    assert ours.rollouts().frozen
    assert ours.rollouts().sampling() == theirs.sampling()
