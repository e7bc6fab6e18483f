"""The RL loop: what it draws, stores, skips and updates, on a world small enough to learn in a second."""

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
from goldpanner.tasks import World, WorldConfig
from goldpanner.train import grpo
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.train.reward import select_reward
from goldpanner.train.rlvr import RLVRConfig, Rollouts, rlvr, step_problems, update
from goldpanner.train.rows import TokenRow
from goldpanner.train.supervised import SupervisedConfig, fresh_text, supervised
from goldpanner.train.trl.launch import trl_fields
from goldpanner.types import Completion, Outcome, SamplingParams, Verdict
from goldpanner.verify import Exact

TASKS = {"world/d1": 2.0, "world/d2": 1.0}


@pytest.fixture(scope="module")
def world():
    sizes = {"letters": 4, "word_length": 2, "known_relations": 3, "max_depth": 2, "exposures": (), "test_share": 0.3}
    return World(WorldConfig(**sizes, diligence=0.6, reliabilities=((1.0, 1.0),)))


@pytest.fixture(scope="module")
def base(world):
    torch.set_num_threads(1)
    tokenizer = build_tokenizer(world.vocabulary())
    model = build_model(ModelConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64), len(tokenizer), seed=0)
    config = SupervisedConfig(steps=250, batch=32, warmup_steps=10)
    for _ in supervised(model, tokenizer, fresh_text(world, config), config):
        pass
    return model, tokenizer


def settings(**changes):
    defaults = {"tasks": TASKS, "steps": 3, "prompts_per_step": 6, "group_size": 4, "max_tokens": 12}
    return RLVRConfig(**{**defaults, **changes})


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Kept:
    """A sink that remembers."""

    def __init__(self):
        self.samples, self.verdicts, self.flushed = [], [], 0

    def write(self, samples, verdicts=()):
        self.samples += samples
        self.verdicts += verdicts

    def flush(self):
        self.flushed = len(self.samples)


def train(base, world, config, **options):
    model = copy.deepcopy(base[0])
    return model, list(rlvr(model, base[1], world.tasks, config, **options))


def mean_p(model, tokenizer, world, task="world/d1"):
    problems = world.problems(task, 10, rng.stream("test"), "test")
    return np.exp(LocalPolicy(model, tokenizer).logprobs(problems, [p.meta["chain"] for p in problems])).mean()


@pytest.mark.parametrize("variant", grpo.VARIANTS)
def test_every_variant_raises_the_probability_of_right_answers_on_held_out_problems(base, world, variant):
    config = settings(variant=variant, steps=10, prompts_per_step=8, group_size=8, learning_rate=1e-3)
    model, records = train(base, world, config)
    assert mean_p(model, base[1], world) > mean_p(*base, world) + 0.08
    assert records[-1].reward > records[0].reward + 0.1


@pytest.mark.parametrize("variant", grpo.VARIANTS)
def test_the_loop_trains_with_the_variant_s_own_loss(base, world, variant, monkeypatch):
    """The opposite loss moves every weight the opposite way: at its first step Adam is antisymmetric."""
    config = settings(variant=variant, steps=1, value_weight=0.0)
    start, original = weights(base[0]), grpo.VARIANTS[variant]

    def opposite(*values):
        loss_BT, clipped_BT = original.loss(*values)
        return grpo.TokenLoss(-loss_BT, torch.ones_like(clipped_BT))

    forth, (record,) = train(base, world, config)
    monkeypatch.setitem(grpo.VARIANTS, variant, dataclasses.replace(original, loss=opposite))
    back, (reverse,) = train(base, world, config)
    assert (weights(forth) - start).abs().max() > 5e-4
    torch.testing.assert_close(weights(back) - start, start - weights(forth), rtol=0, atol=1e-7)
    assert reverse.loss == -record.loss
    assert (record.clipped, reverse.clipped) == (0.0, 1.0)  # and the clip statistic is its own


@pytest.mark.parametrize("variant", [name for name, each in grpo.VARIANTS.items() if not each.critic])
def test_the_loop_trains_with_the_variant_s_own_advantages(base, world, variant, monkeypatch):
    """The opposite advantages move every weight the opposite way, whatever their formula is."""
    config = settings(variant=variant, steps=1)
    start, original = weights(base[0]), grpo.VARIANTS[variant]

    def opposite(reward_PG, **numbers):
        return -original.advantages(reward_PG, **numbers)

    forth, _ = train(base, world, config)
    monkeypatch.setitem(grpo.VARIANTS, variant, dataclasses.replace(original, advantages=opposite))
    back, _ = train(base, world, config)
    assert (weights(forth) - start).abs().max() > 5e-4
    torch.testing.assert_close(weights(back) - start, start - weights(forth), rtol=0, atol=1e-7)


def test_a_variant_from_outside_trains_end_to_end(base, world, monkeypatch, tmp_path):
    """One line adds an objective: what stands in it is what trains, and TRL is not given another one for it."""

    def soft_gate(logp_BT, old_logp_BT, advantage, mask_BT, clip_low, clip_high):
        rho_BT = grpo.ratio(logp_BT, old_logp_BT)
        advantage = grpo.per_token(advantage, logp_BT)
        far_BT = ((rho_BT - 1).abs() > clip_high) & (advantage != 0)
        return grpo.TokenLoss(-4 * torch.sigmoid(rho_BT - 1) * advantage, far_BT)

    monkeypatch.setitem(grpo.VARIANTS, "soft", grpo.Variant(grpo.rloo_advantages, "token-mean", soft_gate))
    config = settings(variant="soft", steps=10, prompts_per_step=8, group_size=8, epochs=2)
    model, records = train(base, world, config, checkpoint=tmp_path / "c.pt")
    assert mean_p(model, base[1], world) > mean_p(*base, world) + 0.08
    assert records[-1].clipped > 0
    assert train(base, world, config, checkpoint=tmp_path / "c.pt")[1] == records
    with pytest.raises(InputError, match="variant soft with these settings; give our own loop"):
        trl_fields(config, tmp_path, 1, "cpu")


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda logp, old, a, mask, low, high: grpo.TokenLoss(-logp, logp > 0), "has a gradient, where the advantage"),
        (lambda logp, old, a, mask, low, high: grpo.TokenLoss(logp.sum(1), logp > 0), "token losses have shape"),
        (lambda logp, old, a, mask, low, high: grpo.TokenLoss(0 * logp, a > 0), "clip statistics have shape"),
    ],
)
def test_a_loss_that_the_loop_cannot_train_with_is_refused_before_anything_is_sampled(
    base, world, monkeypatch, loss, says
):
    sink = Kept()
    monkeypatch.setitem(grpo.VARIANTS, "odd", grpo.Variant(grpo.group_advantages, "token-mean", loss))
    with pytest.raises(InputError, match=says):
        train(base, world, settings(variant="odd"), sink=sink)
    assert not sink.samples


def test_every_rollout_is_stored_before_any_filter_and_the_record_counts_it(base, world):
    sink, asked = Kept(), []
    _, records = train(base, world, settings(), sink=sink, run="r", on_problems=asked.extend)
    assert len(sink.samples) == 3 * 6 * 4
    assert len({sample.key for sample in sink.samples}) == len(sink.samples)
    assert [problem.id for problem in asked] == [sample.problem for sample in sink.samples[::4]]
    assert {v.verifier for _, v in sink.verdicts} == {"world-process@1"}
    for record in records:
        samples = [s for s in sink.samples if s.step == record.step]
        groups = [list(g) for _, g in itertools.groupby(samples, key=lambda s: s.group)]
        assert [g[0].group for g in groups] == list(range(6))
        assert {s.run for s in samples} == {"r"}
        rewards = [[s.reward for s in g] for g in groups]
        assert record.reward == pytest.approx(np.mean(rewards))
        assert record.mixed == pytest.approx(np.mean([len(set(r)) == 2 for r in rewards]))
        assert record.all_correct == pytest.approx(np.mean([set(r) == {1.0} for r in rewards]))
        assert record.all_wrong == pytest.approx(np.mean([set(r) == {0.0} for r in rewards]))
        assert record.tokens == sum(len(s.completion.tokens) for s in samples)
        assert record.length == record.tokens / 24
        assert record.truncated == np.mean([s.completion.finish == "length" for s in samples])
        assert record.entropy == pytest.approx(-sum(s.completion.logprob for s in samples) / record.tokens)
        assert (record.kl, record.clipped, record.unjudged, record.groups) == (None, 0.0, 0.0, 6)


def test_training_draws_the_same_samples_as_measuring_would(base, world):
    config, sink = settings(steps=1), Kept()
    train(base, world, config, sink=sink)
    problems = step_problems(world.tasks, config, 0, 6)
    policy = LocalPolicy(*base)
    seed = rng.seed_for("grpo/rollouts", 0, 0)
    measured = rollout(policy, problems, world.verifiers(), SamplingParams(max_tokens=12), n=4, seed=seed)
    assert [s.completion.text for g in measured for s in g] == [s.completion.text for s in sink.samples]


def test_prompts_are_training_problems_and_a_function_of_seed_and_step(world):
    config = settings()
    problems = step_problems(world.tasks, config, 5, 6)
    assert problems == step_problems(world.tasks, config, 5, 6)
    assert [p.task for p in problems] == ["world/d1"] * 4 + ["world/d2"] * 2
    assert problems != step_problems(world.tasks, config, 4, 6)
    assert problems != step_problems(world.tasks, settings(seed=1), 5, 6)
    held_out = {p.prompt for task in TASKS for p in world.problems(task, 10, rng.stream("x"), "test")}
    assert not held_out & {p.prompt for step in range(20) for p in step_problems(world.tasks, config, step, 6)}


def test_the_same_seed_gives_the_same_weights_and_another_does_not(base, world):
    (one, records), (two, again), (other, _) = (train(base, world, settings(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(other))
    timeless = {"seconds": 0.0, "sampling_seconds": 0.0}
    assert [dataclasses.replace(r, **timeless) for r in records] == [dataclasses.replace(r, **timeless) for r in again]


def test_an_abandoned_run_goes_on_from_its_checkpoint(base, world, tmp_path):
    config, path = settings(steps=7, checkpoint_every=3), tmp_path / "checkpoint.pt"
    whole, records = train(base, world, config)
    model, sink = copy.deepcopy(base[0]), Kept()
    steps = rlvr(model, base[1], world.tasks, config, checkpoint=path, sink=sink)
    for _ in range(5):
        next(steps)
    steps.close()
    assert sink.flushed == 3 * 24  # what the checkpoint holds is in the store
    resumed, again = train(base, world, config, checkpoint=path)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r.reward for r in again] == [r.reward for r in records]
    finished, replayed = train(base, world, config, checkpoint=path)
    assert torch.equal(weights(whole), weights(finished))
    assert replayed == again


def test_interrupted_while_it_samples_it_saves_the_last_whole_step(base, world, tmp_path):
    config, path = settings(steps=5, checkpoint_every=100), tmp_path / "checkpoint.pt"
    whole, records = train(base, world, config)
    sink, rounds = Kept(), itertools.count()

    def interrupt(problems):
        if next(rounds) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base, world, config, checkpoint=path, sink=sink, on_problems=interrupt)
    assert sink.flushed == 3 * 24
    assert len(torch.load(path)["records"]) == 3
    resumed, again = train(base, world, config, checkpoint=path)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r.reward for r in again] == [r.reward for r in records]


def test_dynamic_sampling_trains_on_mixed_groups_and_counts_all(base, world):
    sink = Kept()
    _, (record, *_) = train(base, world, settings(variant="dapo", steps=1, prompts_per_step=3, group_size=2), sink=sink)
    groups = [list(g) for _, g in itertools.groupby(sink.samples, key=lambda s: s.group)]
    mixed = [len({s.reward for s in g}) == 2 for g in groups]
    assert record.groups == len(groups) > 3
    assert [g[0].group for g in groups] == list(range(len(groups)))
    assert all(len(g) == 2 for g in groups)
    # field bug: groups that are not mixed filtered before they are counted
    assert record.mixed == np.mean(mixed) < 1
    assert sum(mixed) >= 3 > sum(mixed[:-3])


def test_dynamic_sampling_gives_up_after_its_rounds(base, world):
    config = settings(variant="dapo", steps=2, prompts_per_step=3, max_rounds=2, reward="never")
    _, records = train(base, Judged(world, Outcome.WRONG), config)
    assert [(r.groups, r.all_wrong, r.loss, r.grad_norm) for r in records] == [(6, 1.0, 0.0, 0.0)] * 2


class Judged:
    """The world with a verifier of our own in it."""

    def __init__(self, world, outcome):
        self.world, self.outcome, self.id = world, outcome, "test-never@1"

    @property
    def tasks(self):
        judges = (*self.world.verifiers(), self)
        return {name: dataclasses.replace(task, verifiers=lambda: judges) for name, task in self.world.tasks.items()}

    def __call__(self, problem, completion):
        odd = len(completion.text) % 4 == 1 and self.outcome is Outcome.UNJUDGED
        return Verdict(Outcome.CORRECT if odd else self.outcome, self.id)


def test_unjudged_completions_are_counted_and_move_nothing(base, world):
    sink = Kept()
    model, (record,) = train(
        base, Judged(world, Outcome.UNJUDGED), settings(steps=1, reward="never", unjudged_budget=1.0), sink=sink
    )
    assert 0 < record.unjudged < 1
    assert record.unjudged == np.mean([s.reward is None for s in sink.samples])
    assert record.reward == 1.0  # over the judged ones; no group holds two different rewards
    assert (record.mixed, record.grad_norm) == (0.0, 0.0)
    assert torch.equal(weights(model), weights(base[0]))


def test_off_policy_updates_clip_and_stay_close(base, world):
    config = settings(steps=2, epochs=3, minibatches=2, learning_rate=1e-2, prompts_per_step=12)
    _, records = train(base, world, config)
    assert all(0 < r.clipped < 1 for r in records)
    _, unclipped = train(base, world, config.model_copy(update={"clip_low": 1.0, "clip_high": 1e9}))
    assert all(r.clipped == 0 for r in unclipped)


def test_the_kl_term_is_measured_from_the_start_and_holds_back(base, world):
    free, _ = train(base, world, settings(steps=6, learning_rate=3e-3))
    held, records = train(base, world, settings(steps=6, learning_rate=3e-3, kl=5.0))
    assert records[0].kl == pytest.approx(0, abs=1e-9)
    assert records[-1].kl > 1e-5
    start = weights(base[0])
    assert (weights(held) - start).norm() < (weights(free) - start).norm()


def test_a_temperature_trains_the_softmax_at_that_temperature(base, world):
    model, tokenizer = base
    row = TokenRow(tokenizer("Q oak a b")["input_ids"], tokenizer("oak a a")["input_ids"] + [tokenizer.eos_token_id])
    rollouts = Rollouts([[], []], [row] * 4, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    # the same completion right and wrong: the two gradients cancel whatever the temperature
    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), 1.0)
    config = settings(temperature=0.5, group_size=2)
    update(trained, optimizer, rollouts, config, rng.stream("test"))
    assert (weights(trained) - weights(model)).abs().max() < 1e-5
    # and alone, its step is that of log softmax(logits / T)
    alone = Rollouts([[]], [row], torch.tensor([[1.0]]))
    optimizer = torch.optim.SGD(trained.parameters(), 1.0)
    trained.load_state_dict(model.state_dict())
    config = settings(temperature=0.5, group_size=1, variant="reinforce", clip=1e9)
    update(trained, optimizer, alone, config, rng.stream("test"))
    expected = copy.deepcopy(model)
    logits = expected(torch.tensor([[*row.prompt, *row.response]])).logits[0] / 0.5
    logp = logits.log_softmax(-1)[len(row.prompt) - 1 : -1].gather(1, torch.tensor(row.response)[:, None])
    (-logp.sum()).backward()
    step = torch.cat([p.grad.flatten() for p in expected.parameters()])
    torch.testing.assert_close(weights(trained), weights(model) - step, rtol=1e-4, atol=1e-5)


def test_a_step_without_gradient_is_the_same_after_a_resume(base):
    rows = [TokenRow([3, 6], [6, 7, 1]), TokenRow([3, 6], [7, 1])]
    mixed, equal = (Rollouts([[]], rows, torch.tensor([[1.0, right]])) for right in (0.0, 1.0))
    config = settings(group_size=2)

    def fresh(model):
        return torch.optim.AdamW(model.parameters(), 1e-2, fused=True)

    model = copy.deepcopy(base[0])
    optimizer = fresh(model)
    update(model, optimizer, mixed, config, rng.stream("t"))
    after_mixed = weights(model)
    resumed = copy.deepcopy(base[0])
    resumed.load_state_dict(model.state_dict())
    second = fresh(resumed)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for m, o in ((model, optimizer), (resumed, second)):
        update(m, o, equal, config, rng.stream("t"))
    assert not torch.equal(weights(model), after_mixed)  # Adam's momentum moves on
    assert torch.equal(weights(model), weights(resumed))


def test_the_reward_is_chosen_by_name(world):
    names = [v.id for v in select_reward(world.verifiers(), "process")]
    assert names == ["world-process@1", "world-answer@1"]
    assert [v.id for v in select_reward(world.verifiers(), None)] == ["world-answer@1", "world-process@1"]
    assert select_reward(world.verifiers(), "world-answer")[0].id == "world-answer@1"
    with pytest.raises(InputError, match=r"'luck', which fits 0 of the verifiers world-answer, world-process"):
        select_reward(world.verifiers(), "luck")


def test_process_reward_is_what_is_trained_on(base, world):
    sink = Kept()
    train(base, world, settings(steps=1, reward="process"), sink=sink)
    assert {s.verdict.verifier for s in sink.samples} == {"world-process@1"}


def test_a_group_of_one_is_refused_before_anything_is_sampled(base, world):
    sink = Kept()
    with pytest.raises(InputError, match="group of one"):
        train(base, world, settings(group_size=1), sink=sink)
    assert not sink.samples
    train(base, world, settings(group_size=1, variant="reinforce", steps=1))


@pytest.mark.parametrize("wrong", [{"variant": "ppo9"}, {"tasks": {}}, {"tasks": {"world/d1": 0}}, {"beta": 0.1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        settings(**wrong)


def test_a_failed_completion_has_no_tokens_and_does_no_harm(base):
    rows = [TokenRow([3, 6], []), TokenRow([3, 6], [7, 1]), TokenRow([3, 6], [8, 1])]
    model = copy.deepcopy(base[0])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    rollouts = Rollouts([[]], rows, torch.tensor([[float("nan"), 1.0, 0.0]]))
    for extra in ({}, {"kl": 0.1}, {"epochs": 2}):
        reference = base[0] if "kl" in extra else None
        stats = update(
            model,
            optimizer,
            rollouts,
            settings(group_size=3, **extra),
            rng.stream("t"),
            reference,
        )
        assert np.isfinite(stats.loss)
        assert weights(model).isfinite().all()
    assert Completion("boom", finish="error").tokens is None


def test_tasks_that_are_judged_by_different_verifiers_are_not_trained_together(base, world):
    other = dataclasses.replace(world.tasks["world/d2"], verifiers=lambda: (Exact(),))
    tasks = {**world.tasks, "world/d2": other}
    with pytest.raises(InputError, match="tasks world/d1, world/d2 are judged by different verifiers"):
        next(rlvr(copy.deepcopy(base[0]), base[1], tasks, settings()))
