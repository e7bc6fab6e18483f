"""Control experiments: a random reward, a reward for form alone, process reward, and a policy that is not trained."""

import numpy as np
import pytest
import torch

from goldpanner.errors import InputError
from goldpanner.tasks import ColumnAddition, World
from goldpanner.train import grpo
from goldpanner.train.config import RLVRConfig
from goldpanner.train.reward import random_reward, select_reward
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import ChainFormat
from test_rlvr import Kept, base, mean_p, settings, train, weights, world  # noqa: F401  (fixtures)

# --- random reward


def test_a_random_reward_is_what_is_trained_on_and_verdicts_stay_the_true_ones(base, world):  # noqa: F811
    plain, sink = Kept(), Kept()
    config = settings(steps=1, prompts_per_step=24, group_size=8)
    train(base, world, config, sink=plain)
    _, (record,) = train(base, world, config.model_copy(update={"random_reward": 0.25}), sink=sink)
    assert [s.completion for s in sink.samples] == [s.completion for s in plain.samples]
    assert [s.verdict for s in sink.samples] == [s.verdict for s in plain.samples]
    rewards = np.array([s.reward for s in sink.samples])
    assert set(rewards) == {0.0, 1.0}
    assert record.reward == pytest.approx(rewards.mean())
    groups = rewards.reshape(24, 8)
    assert record.mixed == np.mean(groups.max(1) > groups.min(1))
    correct = np.array([s.verdict.correct for s in sink.samples])
    assert 0.2 < correct.mean() < 0.9
    assert abs(rewards[correct].mean() - rewards[~correct].mean()) < 0.2


def test_a_random_reward_depends_on_seed_step_group_and_member_alone():
    class Place:
        def __init__(self, step, group, index):
            self.step, self.group, self.index = step, group, index

    places = [Place(s, g, i) for s in range(4) for g in range(40) for i in range(50)]
    draws = {
        seed: np.array([random_reward(settings(random_reward=0.3, seed=seed))(p) for p in places]) for seed in (0, 1)
    }
    n = len(places)
    for drawn in draws.values():
        assert abs(drawn.mean() - 0.3) < 4 * np.sqrt(0.21 / n)
        cube = drawn.reshape(4, 40, 50)
        for axis in range(3):  # members, groups and steps differ from each other
            assert abs(np.corrcoef(cube.take(0, axis).ravel(), cube.take(1, axis).ravel())[0, 1]) < 0.3
    assert np.mean(draws[0] == draws[1]) < 0.65
    again = np.array([random_reward(settings(random_reward=0.3))(p) for p in places])
    assert (again == draws[0]).all()
    for share, always in ((0.0, 0.0), (1.0, 1.0)):
        assert {random_reward(settings(random_reward=share))(p) for p in places[:100]} == {always}
    assert random_reward(settings()) is None


def test_a_random_reward_teaches_nothing_right(base, world):  # noqa: F811
    config = settings(steps=10, prompts_per_step=8, group_size=8)
    start = mean_p(*base, world)
    real, _ = train(base, world, config)
    gains = []
    for seed in range(4):
        lucky, records = train(base, world, config.model_copy(update={"random_reward": 0.5, "seed": seed}))
        assert 0.4 < np.mean([r.reward for r in records]) < 0.6
        assert not torch.equal(weights(lucky), weights(base[0]))  # it does train: the policy drifts
        gains.append(mean_p(lucky, base[1], world) - start)
    assert np.mean(gains) < (mean_p(real, base[1], world) - start) / 4


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match="random_reward"):
        settings(random_reward=1.5)


# --- form alone

CHAIN = Problem("world/d2", "Q oak river f q b", "k e i", {"chain": "oak c a t river k e i"})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("oak c a t river k e i", Outcome.CORRECT),
        ("oak x x x river α β γ", Outcome.CORRECT),
        ("oak c a t", Outcome.WRONG),
        ("river k e i oak c a t", Outcome.WRONG),
        ("oak c a river k e i t", Outcome.WRONG),
        ("oak c a t river k e i i", Outcome.WRONG),
        ("hmm oak c a t river k e i", Outcome.WRONG),
        ("k e i", Outcome.WRONG),
        ("", Outcome.WRONG),
    ],
)
def test_form_is_the_step_names_and_the_numbers_of_symbols(text, outcome):
    verdict = ChainFormat()(CHAIN, Completion(text))
    assert (verdict.outcome, verdict.verifier) == (outcome, "chain-format@1")
    assert bool(verdict.reason) == (outcome is Outcome.WRONG)


def test_what_form_cannot_judge():
    form = ChainFormat()
    assert form(Problem("t", "p", "k"), Completion("oak k")).outcome is Outcome.UNJUDGED
    assert form(CHAIN, Completion("boom", finish="error")).outcome is Outcome.UNJUDGED
    assert form(CHAIN, Completion("oak c a t river k e i", finish="length")).outcome is Outcome.WRONG


@pytest.mark.parametrize("domain", [World(), ColumnAddition()])
def test_every_domain_offers_its_form_and_judges_it_only_when_named(domain):
    usual = [v.id for v in domain.verifiers()]
    assert [v.id for v in select_reward(domain.verifiers(), None, domain.controls())] == usual
    assert [v.id for v in select_reward(domain.verifiers(), "answer", domain.controls())] == usual
    assert [v.id for v in select_reward(domain.verifiers(), "format", domain.controls())] == [
        f"{domain.name}-format@1",
        *usual,
    ]
    with pytest.raises(InputError, match="fits 0 of the verifiers .*-process, .*-format"):
        select_reward(domain.verifiers(), "style", domain.controls())


def test_a_format_reward_teaches_the_form(base, world):  # noqa: F811
    sink = Kept()
    config = settings(steps=10, prompts_per_step=8, group_size=8, reward="format")
    _, records = train(base, world, config, sink=sink)
    assert records[-1].reward > records[0].reward + 0.1
    assert {s.verdict.verifier for s in sink.samples} == {"world-format@1"}
    assert {v.verifier for _, v in sink.verdicts} == {"world-answer@1", "world-process@1"}
    wrong = [s for s, v in sink.verdicts if v.verifier == "world-answer@1" and not v.correct and s.reward == 1]
    assert wrong  # rewarded all the same


# --- process reward


def test_a_process_reward_gives_nothing_for_a_lucky_answer(base, world):  # noqa: F811
    sink = Kept()
    train(base, world, settings(steps=2, prompts_per_step=24, reward="process"), sink=sink)
    answers = {s.key: v for s, v in sink.verdicts if v.verifier == "world-answer@1"}
    lucky = [s for s in sink.samples if answers[s.key].correct and s.reward == 0]
    assert len(answers) == len(sink.samples)
    assert lucky
    assert all(answers[s.key].correct for s in sink.samples if s.reward == 1)


# --- frozen


@pytest.mark.parametrize("variant", ["grpo", "ppo"])
def test_a_frozen_policy_makes_as_many_attempts_and_stays_as_it_is(variant, base, world, tmp_path):  # noqa: F811
    sink, trained = Kept(), Kept()
    config = settings(variant=variant, frozen=True)
    model, records = train(base, world, config, sink=sink, checkpoint=tmp_path / "c.pt")
    train(base, world, settings(variant=variant), sink=trained)
    assert torch.equal(weights(model), weights(base[0]))
    assert len({s.policy for s in sink.samples}) == 1
    assert len({s.policy for s in trained.samples}) == 3
    assert [(s.problem, s.step, s.group, s.index) for s in sink.samples] == [
        (s.problem, s.step, s.group, s.index) for s in trained.samples
    ]
    assert len({s.key for s in sink.samples}) == len(sink.samples)  # no attempt is counted twice
    assert {(r.loss, r.grad_norm, r.clipped) for r in records} == {(0.0, 0.0, 0.0)}
    again = train(base, world, config, checkpoint=tmp_path / "c.pt")[1]
    assert again == records


def test_settings_are_checked_before_anything_is_sampled():
    assert RLVRConfig(variant="pkpo", k=16).resolve_variant().advantages.keywords == {"k": 16}
    with pytest.raises(InputError, match="k is 17 and the group size 16"):
        RLVRConfig(variant="pkpo", k=17).resolve_variant()
    assert grpo.VARIANTS["pkpo"].advantages is grpo.pkpo_advantages
