"""PPO: its equations against the written ones in float64, and training with a value head, on two architectures."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from transformers import GPT2Config, GPT2LMHeadModel

from goldpanner.errors import InputError
from goldpanner.tasks.task import Task
from goldpanner.train import grpo, ppo
from goldpanner.train.config import RLVRConfig
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.train.objective import add_gradient
from goldpanner.train.rlvr import PPO, rlvr
from goldpanner.train.rows import TokenRow
from goldpanner.types import Outcome, Problem, SamplingParams, Verdict
from test_grpo import in_double, some_rows

WORDS = [f"w{i}" for i in range(20)]


# --- the equations


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), discount=st.sampled_from([1.0, 0.9]), lam=st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_gae_is_the_sum_of_discounted_errors(seed, discount, lam):
    generator = np.random.default_rng(seed)
    lengths, width = generator.integers(0, 6, 4), 7
    reward, value = (torch.from_numpy(generator.normal(size=(4, width))) for _ in "rv")
    mask = torch.arange(width) < torch.from_numpy(lengths)[:, None]
    padded = [torch.where(mask, x, math.nan) for x in (reward, value)]  # what stands in padded cells is nobody's matter
    got = ppo.gae(*padded, mask, discount=discount, gae_lambda=lam)
    for i, length in enumerate(lengths):
        values = [*value[i, :length], 0.0]
        delta = [reward[i, t] + discount * values[t + 1] - values[t] for t in range(length)]
        for t in range(length):
            expected = sum((discount * lam) ** (u - t) * delta[u] for u in range(t, length))
            assert float(got[i, t]) == pytest.approx(float(expected), abs=1e-12)
        assert (got[i, length:] == 0).all()


def test_gae_at_its_ends():
    value = torch.tensor([[0.2, 0.6, 0.5]], dtype=torch.float64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    reward = ppo.at_last_token(torch.tensor([1.0], dtype=torch.float64), mask)
    whole = ppo.gae(reward, value, mask, discount=1.0, gae_lambda=1.0)
    torch.testing.assert_close(whole, 1 - value, rtol=0, atol=1e-15)  # reward minus value
    one_step = ppo.gae(reward, value, mask, discount=1.0, gae_lambda=0.0)
    torch.testing.assert_close(one_step, torch.tensor([[0.4, -0.1, 0.5]], dtype=torch.float64), rtol=0, atol=1e-15)


def test_the_reward_stands_at_the_last_token():
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert torch.equal(ppo.at_last_token(torch.tensor([1.0, 2.0, 3.0]), mask), expected)


def test_value_loss_by_hand():
    # (V, V_old, R): within the clip; moved too far towards R (no gradient); moved too far away from R (gradient)
    value = torch.tensor([[0.6, 0.9, 0.1]], dtype=torch.float64, requires_grad=True)
    old, target = torch.full((1, 3), 0.5, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    loss = ppo.value_loss(value, old, target, clip=0.2)
    expected = torch.tensor([[0.4**2, 0.3**2, 0.9**2]], dtype=torch.float64) / 2
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-15)
    (gradient,) = torch.autograd.grad(loss.sum(), value)
    torch.testing.assert_close(gradient, torch.tensor([[-0.4, 0.0, -0.9]], dtype=torch.float64), rtol=0, atol=1e-15)


def test_whitened_advantages_have_mean_0_and_std_1_over_the_tokens():
    generator = np.random.default_rng(0)
    advantage = torch.from_numpy(generator.normal(3, 5, (6, 9)))
    mask = torch.from_numpy(generator.random((6, 9)) < 0.6)
    white = ppo.whiten(advantage, mask)
    assert abs(float(white[mask].mean())) < 1e-12
    assert float(white[mask].std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert (white[~mask] == 0).all()
    assert (ppo.whiten(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)) == 0).all()
    assert (ppo.whiten(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)) == 0).all()


# --- its gradient on a model


@pytest.fixture(scope="module")
def tokenizer():
    torch.set_num_threads(1)
    return build_tokenizer(WORDS)


def llama(tokenizer, seed=0):
    shape = ModelConfig(hidden_size=16, layers=2, heads=2, intermediate_size=24, init_std=0.3)
    return build_model(shape, len(tokenizer), seed)


def gpt2(tokenizer):
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1
    )
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def double(request, tokenizer):
    """A model in float64 with a value head that says something."""
    model = in_double(llama(tokenizer) if request.param == "llama" else gpt2(tokenizer))
    head = ppo.value_head(model)
    head.weight.data = torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, (1, 16)))
    head.bias.data += 0.1
    return model, head


def gradient_of(model, head, rows, reward, *, every_row=False, old_logp=None, critic=None, whitened=False, **terms):
    config = RLVRConfig(
        variant="ppo", max_tokens=10, tokens_per_batch=70, gae_lambda=1.0, whiten=whitened, group_size=1, **terms
    )
    logp, seen = ppo.assess(model, head, rows, reward, config)
    parameters = [*model.parameters(), *head.parameters()]
    for parameter in parameters:
        parameter.grad = None
    found = add_gradient(
        model, rows, torch.zeros(len(rows)), config, every_row=every_row, old_logp=old_logp or logp,
        critic=critic or seen,
    )  # fmt: skip
    return found, torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])


def written_out(model, head, rows, reward, value_weight):
    """REINFORCE with the value as baseline, and the value's squared error, one token at a time."""
    parameters = [*model.parameters(), *head.parameters()]
    loss, tokens = 0.0, sum(len(row.response) for row in rows)
    for row, r in zip(rows, reward):
        out = model(torch.tensor([[*row.prompt, *row.response]]), output_hidden_states=True)
        logp = out.logits[0].log_softmax(-1)
        for t, token in enumerate(row.response):
            at = len(row.prompt) + t - 1  # the position that predicts the token
            value = head(out.hidden_states[-1][0, at])[0]
            loss = loss - (r - value.detach()) * logp[at, token] + value_weight * (value - r) ** 2 / 2
    gradient = torch.autograd.grad(loss / tokens, parameters, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, gradient)]
    )


@pytest.mark.parametrize("value_weight", [0.0, 0.5])
def test_at_ratio_1_and_lambda_1_it_is_reinforce_with_the_value_as_baseline(double, value_weight):
    rows, reward_PG = some_rows(groups=4)
    reward = reward_PG.flatten().tolist()
    _, gradient = gradient_of(*double, rows, reward, value_weight=value_weight)
    expected = written_out(*double, rows, reward, value_weight)
    assert expected.abs().max() > 1e-2
    assert (gradient - expected).abs().max() < 1e-12


def test_equal_rows_are_computed_once_and_counted_as_often_as_they_occur(double):
    rows, reward_PG = some_rows()
    rows = [row for row in rows[::4] for _ in range(4)]
    reward = reward_PG.flatten().tolist()
    reward[3] = None
    model, head = double
    config = RLVRConfig(variant="ppo", gae_lambda=1, whiten=False)
    old = [x + 0.3 for x in ppo.assess(model, head, rows, reward, config)[0]]
    terms = {"value_weight": 0.5, "entropy": 0.02, "whitened": True, "old_logp": old}
    once, fast = gradient_of(model, head, rows, reward, **terms)
    each, slow = gradient_of(model, head, rows, reward, every_row=True, **terms)
    assert (fast - slow).abs().max() < 1e-12
    assert (once.loss, once.clipped, once.value_loss) == pytest.approx((each.loss, each.clipped, each.value_loss))
    assert once.clipped > 0


def test_unjudged_rows_move_neither_policy_nor_value(double):
    model, head = double
    rows, _ = some_rows(groups=3)
    found, gradient = gradient_of(model, head, rows, [None] * len(rows), value_weight=0.5, whitened=True)
    assert (found.loss, found.value_loss) == (0, 0)
    assert (gradient == 0).all()
    # and beside judged ones they only count among the tokens
    reward = [1.0, 0.0, 1.0, 0.0]
    _, alone = gradient_of(model, head, rows[:4], reward, value_weight=0.5, whitened=True)
    _, beside = gradient_of(model, head, rows, [*reward, *[None] * 8], value_weight=0.5, whitened=True)
    shares = [sum(len(row.response) for row in some) for some in (rows[:4], rows)]
    torch.testing.assert_close(beside * shares[1] / shares[0], alone, rtol=1e-10, atol=1e-12)


def test_an_all_wrong_group_pushes_unless_the_critic_foresaw_it(double):
    # equal rewards carry no signal in GRPO; here they do, as far as the value is not the reward
    model, head = double
    rows, _ = some_rows(groups=3)
    _, gradient = gradient_of(model, head, rows, [0.0] * 12, value_weight=0.0)
    assert gradient.abs().max() > 1e-3
    foresight = ppo.value_head(model)  # says 0
    _, gradient = gradient_of(model, foresight, rows, [0.0] * 12, value_weight=0.5)
    assert (gradient == 0).all()


def test_a_fresh_value_head_says_0_and_fits_the_model(tokenizer):
    for model in (llama(tokenizer), gpt2(tokenizer), llama(tokenizer).to(torch.bfloat16)):
        head = ppo.value_head(model)
        assert (head.weight.dtype, head.weight.shape) == (model.dtype, (1, 16))
        assert not head.weight.any()
        assert not head.bias.any()


# --- training


class Say:
    """Problems that are learnt in a few steps: whatever the question, the first word is to be the one it names."""

    id = "say@1"

    def make(self, n, rng, split):
        return [Problem("say", f"{WORDS[i % 4]} w19", WORDS[i % 4], {"number": int(i)}) for i in rng.permutation(n)]

    def __call__(self, problem, completion):
        right = completion.text.split()[:1] == [problem.answer]
        return Verdict(Outcome.CORRECT if right else Outcome.WRONG, self.id)


SAY = {"say": Task("say", SamplingParams(), lambda: (Say(),), make=Say().make)}


def say(**changes):
    given = {"variant": "ppo", "tasks": {"say": 1.0}, "prompts_per_step": 96, "group_size": 1, "max_tokens": 2}
    return RLVRConfig(**{**given, "epochs": 2, "minibatches": 2, "learning_rate": 5e-3, "entropy": 0.01, **changes})


@pytest.mark.parametrize("architecture", [llama, gpt2])
def test_it_learns(architecture, tokenizer):
    model = architecture(tokenizer)
    records = list(rlvr(model, tokenizer, SAY, say(steps=60)))
    assert np.mean([r.reward for r in records[:3]]) < 0.2
    assert np.mean([r.reward for r in records[-10:]]) > 0.9
    assert np.mean([r.value_loss for r in records[-10:]]) < 0.05
    assert max(r.clipped for r in records) > 0
    assert {r.mixed for r in records} == {0.0}  # groups of one, and no signal from any group


@pytest.mark.parametrize("architecture", [llama, gpt2])
def test_an_abandoned_run_goes_on_from_its_checkpoint_value_head_included(architecture, tokenizer, tmp_path):
    config, path = say(steps=7, group_size=2, kl=0.01, checkpoint_every=3), tmp_path / "checkpoint.pt"

    def run(**options):
        model = architecture(tokenizer)
        return model, rlvr(model, tokenizer, SAY, config, **options)

    whole, steps = run()
    records = list(steps)
    _, steps = run(checkpoint=path)
    for _ in itertools.islice(steps, 5):
        pass
    steps.close()
    resumed, steps = run(checkpoint=path)
    again = list(steps)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters()))
    assert [(r.loss, r.value_loss) for r in again] == [(r.loss, r.value_loss) for r in records]
    with pytest.raises(InputError, match="belongs to another run"):
        next(rlvr(architecture(tokenizer), tokenizer, SAY, say(steps=7, gae_lambda=0.5), checkpoint=path))


def test_on_policy_ppo_is_one_update_and_clips_nothing(tokenizer):
    (record,) = rlvr(llama(tokenizer), tokenizer, SAY, say(steps=1, epochs=1, minibatches=1))
    assert (record.clipped, record.kl) == (0.0, None)
    assert record.value_loss >= 0


def test_whitening_and_lambda_and_the_clip_matter(tokenizer):
    def weights(**changes):
        model = llama(tokenizer)
        for _ in rlvr(model, tokenizer, SAY, say(steps=3, **changes)):
            pass
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    plain = weights()
    for change in ({"whiten": False}, {"gae_lambda": 0.0}, {"discount": 0.5}, {"value_weight": 0.0}):
        assert not torch.equal(plain, weights(**change)), change
    assert torch.equal(plain, weights())


def test_a_failed_completion_has_no_tokens_and_does_no_harm(tokenizer):
    model = llama(tokenizer)
    head = ppo.value_head(model)
    rows, reward = [TokenRow([3, 6], []), TokenRow([3, 6], [7, 1])], [None, 1.0]
    config = RLVRConfig(variant="ppo", max_tokens=10)
    logp, critic = ppo.assess(model, head, rows, reward, config)
    assert [len(x) for x in logp] == [0, 2]
    found = add_gradient(model, rows, torch.zeros(2), config, old_logp=logp, critic=critic)
    assert math.isfinite(found.loss)
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_the_default_draws_as_many_rollouts_as_grpo_s():
    other = RLVRConfig()
    assert PPO.prompts_per_step * PPO.group_size == other.prompts_per_step * other.group_size
    assert grpo.VARIANTS["ppo"].critic
    assert [name for name, variant in grpo.VARIANTS.items() if variant.critic] == ["ppo"]
