"""Policies: what is drawn follows the stated distribution, and the stated log-probabilities are its own."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies import local
from goldpanner.policies.base import Policy, Request
from goldpanner.policies.decode import RowCache, SharedCache, decoding_cache
from goldpanner.policies.local import LocalPolicy, pack
from goldpanner.policies.scripted import Route, ScriptedPolicy
from goldpanner.policies.token_sampling import adjust, pick
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, save_model
from goldpanner.types import Problem, SamplingParams

WORDS = tuple("abcdefghijkl")


def tiny(words=WORDS, scale=12.0, seed=0, **config):
    """A random model whose predictions are far from uniform, as a policy."""
    tokenizer = build_tokenizer(words)
    model = build_model(ModelConfig(**{"hidden_size": 16, "intermediate_size": 24, **config}), len(tokenizer), seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return LocalPolicy(model, tokenizer)


def problem(prompt):
    return Problem("test", prompt, "a")


PROBLEMS = [problem(text) for text in ("a b c", "d e f", "a b", "g", "c c c c c", "h i j")]


@pytest.fixture(scope="module")
def policy():
    return tiny()


def draw(policy, problems, n, seed=0, **params):
    requests = [Request(p, range(n), seed) for p in problems]
    return list(policy.sample(requests, SamplingParams(**{"max_tokens": 6, **params})))


def naive_logprobs(policy, prompt, tokens):
    """One full forward per token, float64 softmax: the definition."""
    ids = policy.tokenizer.encode(prompt)
    out = []
    for token in tokens:
        with torch.no_grad():
            logits = policy.model(torch.tensor([ids])).logits[0, -1].double()
        out.append(float(logits.log_softmax(-1)[token]))
        ids.append(token)
    return out


# --- the sampler -----------------------------------------------------------------------------------------------------


def test_first_tokens_and_pairs_follow_the_models_distribution(policy):
    n = 4000
    (completions,) = draw(policy, PROBLEMS[:1], n, seed=1, max_tokens=2)
    ids = policy.tokenizer.encode(PROBLEMS[0].prompt)
    with torch.no_grad():
        first = policy.model(torch.tensor([ids])).logits[0, -1].double().softmax(-1).numpy()
        after = [policy.model(torch.tensor([[*ids, t]])).logits[0, -1].double().softmax(-1).numpy() for t in range(15)]
    expected = {(1,): first[1]} | {(a, b): first[a] * after[a][b] for a in range(15) if a != 1 for b in range(15)}
    assert math.isclose(sum(expected.values()), 1.0, rel_tol=1e-9)
    seen = Counter(c.tokens for c in completions)
    common = [pair for pair in expected if n * expected[pair] >= 5]
    f_obs = [seen[pair] for pair in common]
    f_exp = [n * expected[pair] for pair in common]
    assert len(common) > 15
    assert stats.chisquare([*f_obs, n - sum(f_obs)], [*f_exp, n - sum(f_exp)]).pvalue > 0.01


def test_logprobs_of_what_was_drawn_equal_a_full_forward(policy):
    for problem_, completions in zip(PROBLEMS, draw(policy, PROBLEMS, 20)):
        for c in completions:
            naive = naive_logprobs(policy, problem_.prompt, c.tokens)
            assert np.allclose(c.token_logprobs, naive, atol=1e-4)
            assert math.isclose(c.logprob, sum(c.token_logprobs), abs_tol=1e-12)


def test_logprobs_are_the_models_own_under_any_temperature(policy):
    for completions in draw(policy, PROBLEMS[:2], 20, temperature=0.5, top_k=4, top_p=0.9):
        scored = policy.logprobs([PROBLEMS[0]] * 20, [c.tokens for c in completions])
        assert scored.shape == (20,)
    (completions,) = draw(policy, PROBLEMS[:1], 20, temperature=0.5, top_k=4)
    scored = policy.logprobs(PROBLEMS[:1] * 20, [c.tokens for c in completions])
    assert np.allclose([c.logprob for c in completions], scored, atol=1e-4)


def test_a_sample_does_not_depend_on_batch_order_or_mates(policy):
    together = draw(policy, PROBLEMS, 16)
    for rows in (1, 7, 30):
        policy.batch_rows = rows
        assert [[c.tokens for c in cs] for cs in draw(policy, PROBLEMS, 16)] == [
            [c.tokens for c in cs] for cs in together
        ]
    policy.batch_rows = 1024
    backwards = draw(policy, PROBLEMS[::-1], 16)[::-1]
    assert [[c.text for c in cs] for cs in backwards] == [[c.text for c in cs] for cs in together]
    picked = next(policy.sample([Request(PROBLEMS[2], (13, 5))], SamplingParams(max_tokens=6)))
    assert [c.tokens for c in picked] == [together[2][13].tokens, together[2][5].tokens]
    shorter = draw(policy, PROBLEMS, 16, max_tokens=3)
    assert all(s.tokens == c.tokens[:3] for a, b in zip(shorter, together) for s, c in zip(a, b))


def test_little_memory_means_small_batches_and_the_same_samples(policy):
    whole = draw(policy, PROBLEMS, 10)
    policy.batch_bytes, before = 20_000, policy.batch_bytes
    assert 1 < policy._rows_that_fit(11) < 10
    small = draw(policy, PROBLEMS, 10)
    policy.batch_bytes = before
    assert [[c.tokens for c in cs] for cs in small] == [[c.tokens for c in cs] for cs in whole]


def test_seeds_and_indices_give_different_samples(policy):
    (first,), (second,) = (draw(policy, PROBLEMS[:1], 50, seed=seed) for seed in (0, 1))
    assert [c.tokens for c in first] != [c.tokens for c in second]
    assert len({c.tokens for c in first}) > 10


def test_mixed_prompt_lengths_in_one_batch_are_exact(policy):
    completions = draw(policy, PROBLEMS, 3)  # 18 rows, four lengths: one padded batch
    assert len(pack([3, 3, 2, 1, 5, 3], [3] * 6, 1024)) == 1
    for problem_, cs in zip(PROBLEMS, completions):
        for c in cs:
            assert np.allclose(c.token_logprobs, naive_logprobs(policy, problem_.prompt, c.tokens), atol=1e-4)


def test_finish_reasons_and_text(policy):
    completions = [c for cs in draw(policy, PROBLEMS, 60) for c in cs]
    assert {c.finish for c in completions} == {"stop", "length"}
    for c in completions:
        assert (c.finish == "stop") == (c.tokens[-1] == 1)
        assert 1 not in c.tokens[:-1]
        assert len(c.tokens) == 6 or c.finish == "stop"
        body = c.tokens[:-1] if c.finish == "stop" else c.tokens
        assert c.text == policy.tokenizer.decode(body)
        assert len(c.tokens) == len(c.token_logprobs)


def test_an_end_at_the_last_allowed_token_is_a_stop(policy):
    (completions,) = draw(policy, PROBLEMS[:1], 400, max_tokens=1)
    assert {c.finish for c in completions if c.tokens == (1,)} == {"stop"}
    assert {c.finish for c in completions if c.tokens != (1,)} == {"length"}


def test_stop_strings_end_a_sample_and_leave_the_text(policy):
    free = [c for cs in draw(policy, PROBLEMS, 60) for c in cs]
    stopped = [c for cs in draw(policy, PROBLEMS, 60, stop=("c", "f")) for c in cs]
    assert any("c" in c.text for c in free)
    for a, b in zip(free, stopped):
        assert a.tokens[: len(b.tokens)] == b.tokens
        assert not {"c", "f"} & set(b.text)
        cut = [i for i, word in enumerate(policy.tokenizer.convert_ids_to_tokens(a.tokens)) if word in "cf"]
        assert len(b.tokens) == (cut[0] + 1 if cut else len(a.tokens))
        assert b.finish == ("stop" if cut else a.finish)


def test_greedy_takes_the_likeliest_token(policy):
    for problem_, (a, b) in zip(PROBLEMS, draw(policy, PROBLEMS, 2, temperature=0.0)):
        assert a == b
        ids = policy.tokenizer.encode(problem_.prompt)
        for token in a.tokens:
            with torch.no_grad():
                assert token == int(policy.model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)


def test_no_requests_and_no_samples(policy):
    assert list(policy.sample([], SamplingParams())) == []
    assert list(policy.sample([Request(PROBLEMS[0], range(0))], SamplingParams(max_tokens=2))) == [[]]
    assert policy.logprobs([], []).shape == (0,)


def test_the_models_mode_is_put_back(policy):
    policy.model.train()
    stream = policy.sample([Request(PROBLEMS[0], range(2))], SamplingParams(max_tokens=2))
    next(stream)
    assert policy.model.training
    assert not torch.is_inference_mode_enabled()
    policy.model.eval()


@pytest.mark.parametrize("family", ["gpt2", "qwen2-grouped", "mistral-sliding", "gpt_neox"])
def test_any_causal_model_is_sampled_by_its_own_distribution(family):
    from transformers import AutoModelForCausalLM as Auto
    from transformers import GPT2Config, GPTNeoXConfig, MistralConfig, Qwen2Config

    shape = {"vocab_size": 15, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"eos_token_id": 1, "bos_token_id": None, "pad_token_id": 0}
    wide = {"intermediate_size": 24, "initializer_range": 0.3}
    config = {
        "gpt2": lambda: GPT2Config(
            vocab_size=15, n_embd=16, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3, eos_token_id=1
        ),
        "qwen2-grouped": lambda: Qwen2Config(**shape, **wide, num_key_value_heads=2),
        "mistral-sliding": lambda: MistralConfig(**shape, **wide, num_key_value_heads=2, sliding_window=4),
        "gpt_neox": lambda: GPTNeoXConfig(**shape, **wide),
    }[family]()
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        model = Auto.from_config(config).eval()
    policy = LocalPolicy(model, build_tokenizer(WORDS))
    for problem_, completions in zip(PROBLEMS, draw(policy, PROBLEMS, 4, max_tokens=8)):
        for c in completions:
            assert np.allclose(c.token_logprobs, naive_logprobs(policy, problem_.prompt, c.tokens), atol=1e-4)
        scored = policy.logprobs([problem_] * 4, [c.tokens for c in completions])
        assert np.allclose(scored, [c.logprob for c in completions], atol=1e-4)


def long_problem(words, size):
    return problem(" ".join((words * 9)[:size]))


@pytest.mark.parametrize("family", ["llama", "llama-grouped", "qwen2-grouped", "qwen3-grouped"])
def test_prompts_shared_by_their_samples_give_the_models_own_distribution(family, monkeypatch):
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

    shape = {"vocab_size": 15, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "pad_token_id": 0}
    shape |= {"num_attention_heads": 4, "initializer_range": 0.4, "eos_token_id": 1, "bos_token_id": None}
    config = {
        "llama": lambda: LlamaConfig(**shape),
        "llama-grouped": lambda: LlamaConfig(**shape, num_key_value_heads=2),
        "qwen2-grouped": lambda: Qwen2Config(**shape, num_key_value_heads=1),
        "qwen3-grouped": lambda: Qwen3Config(**shape, num_key_value_heads=2, head_dim=6),
    }[family]()
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config).eval()
    policy = LocalPolicy(model, build_tokenizer(WORDS))
    problems = [long_problem("abc", 33), long_problem("dabe", 40), problem("a b"), long_problem("lk", 33)]
    assert isinstance(decoding_cache(model, 40, 12), SharedCache)
    shared = draw(policy, problems, 12, max_tokens=12)
    assert model.config._attn_implementation == "sdpa"
    for problem_, completions in zip(problems, shared):
        for c in completions[:4]:
            assert np.allclose(c.token_logprobs, naive_logprobs(policy, problem_.prompt, c.tokens), atol=1e-4)
        scored = policy.logprobs([problem_] * 12, [c.tokens for c in completions])
        assert np.allclose(scored, [c.logprob for c in completions], atol=1e-4)
    monkeypatch.setattr("goldpanner.policies.decode.SHARING_FAMILIES", ())
    assert isinstance(decoding_cache(model, 40, 12), RowCache)
    for a, b in zip(shared, draw(policy, problems, 12, max_tokens=12)):
        assert [c.tokens for c in a] == [c.tokens for c in b]


@pytest.mark.parametrize("sharing", [("llama",), ()], ids=["prompts apart", "whole rows"])
def test_each_distinct_prefix_is_computed_once(sharing, monkeypatch):
    monkeypatch.setattr("goldpanner.policies.decode.SHARING_FAMILIES", sharing)
    policy = tiny()
    problems = [long_problem("abc", 33), long_problem("dabe", 40)]
    rows = []
    forward = policy.model.forward
    monkeypatch.setattr(policy.model, "forward", lambda ids, **rest: rows.append(len(ids)) or forward(ids, **rest))
    samples = draw(policy, problems, 200, max_tokens=6)
    prefixes = [
        {(i, c.tokens[:size]) for i, completions in enumerate(samples) for c in completions if len(c.tokens) > size}
        for size in range(6)
    ]
    distinct = [len(at) for at in prefixes]
    assert rows[0] == distinct[0] == 2
    assert sum(distinct) < 0.8 * sum(len(c.tokens) for completions in samples for c in completions)
    assert all(computed >= size for computed, size in zip(rows, distinct))
    assert sum(rows) <= sum(distinct) * (1 if sharing else 1.2), "a few idle rows may wait to be dropped"


# --- picking one token -----------------------------------------------------------------------------------------------

P = torch.tensor([[0.1, 0.4, 0.2, 0.3]])


def tokens_at(us, **params):
    u = torch.tensor(us, dtype=torch.float64)
    return pick(P.log(), u, SamplingParams(**params), torch.zeros(len(us), dtype=torch.int64))[0].tolist()


def test_inverse_cdf_known_answers():
    assert tokens_at([0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 1 - 2**-53]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert tokens_at([0.0, 0.5, 0.99], temperature=0.0) == [1, 1, 1]
    assert tokens_at([0.0, 0.56, 0.58, 0.999], top_k=2) == [1, 1, 3, 3]  # .4/.7 = .571
    assert tokens_at([0.0, 0.43, 0.45, 0.66, 0.67, 0.999], top_p=0.75) == [1, 1, 2, 2, 3, 3]  # .4 .2 .3 of .9
    assert tokens_at([0.0, 0.999], top_p=0.39) == [1, 1]
    cut = [0.01, 0.03, 0.04, 0.55, 0.57, 0.69, 0.71]  # squares: .01 .16 .04 .09 of .30
    assert tokens_at(cut, temperature=0.5) == [0, 0, 1, 1, 2, 2, 3]


def test_adjusted_distributions_known_answers():
    def probabilities(**params):
        return adjust(P.log(), SamplingParams(**params)).exp().squeeze().tolist()

    assert probabilities(temperature=0.5) == pytest.approx([1 / 30, 16 / 30, 4 / 30, 9 / 30], abs=1e-6)
    assert probabilities(temperature=2.0) == pytest.approx((P**0.5 / (P**0.5).sum()).squeeze().tolist(), abs=1e-6)
    assert probabilities(top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=1e-6)
    assert probabilities(temperature=1e-30) == pytest.approx([0, 1, 0, 0])
    assert probabilities(top_k=9) == pytest.approx(P.squeeze().tolist(), abs=1e-6)
    assert probabilities(top_p=0.71) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=1e-6)
    assert probabilities(temperature=0.5, top_k=3, top_p=0.8) == pytest.approx([0, 16 / 25, 0, 9 / 25], abs=1e-6)


def test_a_token_without_mass_is_never_picked():
    logits = torch.tensor([[-torch.inf, 0.0, -200.0, -torch.inf]])
    u = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    token, logprob = pick(logits, u, SamplingParams(), torch.zeros(3, dtype=torch.int64))
    assert token.tolist() == [1, 1, 1]
    assert logprob.tolist() == pytest.approx([0, 0, 0])


def test_small_probabilities_keep_their_share_of_the_unit_interval():
    small = 2.0**-40  # far below float32's resolution near 1
    logits = torch.tensor([[1.0, small, small]]).log()
    edges = torch.tensor([1 - 2 * small - 2**-45, 1 - 1.5 * small, 1 - 0.5 * small], dtype=torch.float64)
    assert pick(logits, edges, SamplingParams(), torch.zeros(3, dtype=torch.int64))[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("vocabulary", [1025, 3000, 4096])
def test_a_large_vocabulary_is_searched_exactly(vocabulary):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((200, vocabulary), generator=generator)
    logits[:, -300:] = -torch.inf  # whole blocks without mass, at the end and in the middle
    logits[:, 500:1000] = -torch.inf
    u = torch.rand(200, dtype=torch.float64, generator=generator)
    u[:3] = torch.tensor([0.0, 1 - 2**-53, 0.5])
    token, logprob = pick(logits, u, SamplingParams(), torch.arange(200))
    exact = logits.double().softmax(-1)
    above = exact.cumsum(-1).gather(1, token[:, None]).squeeze(1)
    mass = exact.gather(1, token[:, None]).squeeze(1)
    assert bool((mass > 0).all())
    assert bool((u < above + 1e-6).all())
    assert bool((u >= above - mass - 1e-6).all())
    assert torch.allclose(logprob, mass.log(), rtol=0, atol=1e-5)


def test_packing_covers_every_sample_once_within_the_limit():
    generator = np.random.default_rng(0)
    for _ in range(50):
        size = int(generator.integers(1, 12))
        lengths, counts = generator.integers(1, 6, size).tolist(), generator.integers(0, 40, size).tolist()
        limit = int(generator.integers(1, 50))
        batches = pack(lengths, counts, limit)
        assert all(0 < sum(part.stop - part.start for _, part in batch) <= limit for batch in batches)
        seen = [(i, j) for batch in batches for i, part in batch for j in range(part.start, part.stop)]
        assert sorted(seen) == [(i, j) for i in range(size) for j in range(counts[i])]
        for i in range(size):  # a request's samples come in order
            assert [j for k, j in seen if k == i] == list(range(counts[i]))


# --- scoring ---------------------------------------------------------------------------------------------------------


def test_scores_equal_the_naive_computation(policy):
    texts = ["a", "b c", "", "l k j i h", "f f"]
    problems = [PROBLEMS[i] for i in (0, 2, 3, 4, 5)]
    each = policy.token_logprobs(problems, texts)
    for problem_, text, values in zip(problems, texts, each):
        naive = naive_logprobs(policy, problem_.prompt, [*policy.tokenizer.encode(text), 1])
        assert np.allclose(values, naive, rtol=0, atol=2e-5)
    assert np.allclose(policy.logprobs(problems, texts), [v.sum() for v in each], rtol=0, atol=1e-12)
    policy.batch_bytes, whole = 1, policy.batch_bytes  # one pair a batch
    one_by_one = policy.logprobs(problems, texts)
    policy.batch_bytes = whole
    assert np.allclose(one_by_one, policy.logprobs(problems, texts), rtol=0, atol=2e-5)


def test_scores_of_all_sequences_and_the_rest_sum_to_one():
    policy = tiny(words=("a",), seed=3)  # 4 tokens: <pad> <eos> <unk> a
    others = [0, 2, 3]
    ended = [(*body, 1) for size in range(3) for body in itertools.product(others, repeat=size)]
    open_ = list(itertools.product(others, repeat=3))
    sequences = [*ended, *open_]
    total = np.exp(policy.logprobs([problem("a a")] * len(sequences), sequences)).sum()
    assert math.isclose(total, 1.0, abs_tol=1e-6)


def test_scores_far_below_the_smallest_float_are_finite_and_right():
    policy = tiny(scale=40.0, seed=1)
    text = " ".join("abcdefghijkl" * 12)
    (score,) = policy.logprobs([problem("a")], [text])
    naive = sum(naive_logprobs(policy, "a", [*policy.tokenizer.encode(text), 1]))
    assert score < -800  # exp of it is 0 in float64
    assert math.isclose(score, naive, rel_tol=1e-5)


def test_scores_agree_with_frequencies(policy):
    (completions,) = draw(policy, PROBLEMS[:1], 4000)
    (text, seen), *_ = Counter(c.text for c in completions if c.finish == "stop").most_common(1)
    p = math.exp(policy.logprobs(PROBLEMS[:1], [text])[0])
    assert stats.binomtest(seen, 4000, p).pvalue > 0.01


# --- identity and mistakes -------------------------------------------------------------------------------------------


def test_id_follows_weights_and_tokenizer(policy, tmp_path):
    assert tiny().id == policy.id == tiny().id
    assert tiny(seed=1).id != policy.id
    assert tiny(words=tuple("bacdefghijkl")).id != policy.id
    save_model(policy.model, policy.tokenizer, tmp_path / "m")
    assert LocalPolicy.from_pretrained(tmp_path / "m", device="cpu").id == policy.id


def test_id_changes_when_an_optimizer_has_stepped():
    policy = tiny()
    before = policy.id
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.1)
    policy.model(torch.tensor([[3, 4]])).logits.sum().backward()
    optimizer.step()
    assert policy.id != before
    policy.model.load_state_dict(tiny().model.state_dict())
    assert policy.id == before


def test_describe_is_a_record(policy):
    record = policy.describe()
    assert record["id"] == policy.id
    assert record["model_type"] == "llama"
    assert isinstance(policy, Policy)


def test_prompt_templates(policy):
    assert policy.encode_prompt(problem("c"), "a {prompt} b") == policy.tokenizer.encode("a c b")
    policy.tokenizer.chat_template = "{% for m in messages %}a {{ m.content }} b{% endfor %}"
    assert policy.encode_prompt(problem("c {x}"), "chat") == policy.tokenizer.encode("a c {x} b")
    policy.tokenizer.chat_template = None


@pytest.mark.parametrize(
    ("params", "prompt", "message"),
    [
        ({"template": "chat"}, "a", "no chat template"),
        ({"template": "none"}, "a", "contains"),
        ({}, "", "no tokens"),
        ({"max_tokens": 1000}, "a", "1001 tokens, but the model has 256"),
    ],
)
def test_mistakes_name_the_value(policy, params, prompt, message):
    with pytest.raises(InputError, match=message):
        draw(policy, [problem(prompt)], 1, **params)


def test_more_mistakes(policy, tmp_path):
    with pytest.raises(InputError, match="1 problems but 0 responses"):
        policy.logprobs(PROBLEMS[:1], [])
    with pytest.raises(InputError, match="negative"):
        Request(PROBLEMS[0], (3, -1))
    with pytest.raises(InputError, match="batch_rows"):
        LocalPolicy(policy.model, policy.tokenizer, batch_rows=0)
    with pytest.raises(InputError, match="no config"):
        LocalPolicy.from_pretrained(tmp_path)


def test_a_name_on_the_hub_is_a_policy_unless_it_is_a_path_here(tmp_path):
    known = tiny()
    cache = tmp_path / "cache" / "models--someone--tiny-1.5"
    save_model(known.model, known.tokenizer, cache / "snapshots" / "abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    (tmp_path / "runs").mkdir()
    script = (
        "from goldpanner.policies.resolve import load_policy\n"
        "from goldpanner.errors import InputError\n"
        "policy = load_policy('someone/tiny-1.5')\n"
        "print(policy.id, policy.name)\n"
        "for name in ('someone/other', 'runs/other', 'someone/tiny/1'):\n"
        "    try:\n"
        "        load_policy(name)\n"
        "    except InputError as error:\n"
        "        print(error)\n"
    )
    offline = {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.replace("\n", " ")
    assert said.startswith(f"{known.id} tiny-1.5 ")
    assert "no folder here, and from the hub 'someone/other' cannot be loaded" in said
    assert "'runs/other' is no model folder" in said
    assert "'someone/tiny/1' is no model folder" in said


# --- the scripted policy ---------------------------------------------------------------------------------------------


def test_scripted_frequencies_match_the_script():
    policy = ScriptedPolicy.with_p(0.3, unjudged=0.1, truncated=0.2)
    (completions,) = draw(policy, PROBLEMS[:1], 20_000)
    seen = Counter((c.text if c.finish == "stop" else c.finish) for c in completions)
    observed = [seen["a"], seen["no"], seen["error"], seen["length"]]
    assert stats.chisquare(observed, [6000, 8000, 2000, 4000]).pvalue > 0.01


def test_scripted_p_per_problem_and_by_function():
    table = {p.id: value for p, value in zip(PROBLEMS, (0.0, 1.0, 0.5, 0.25, 1.0, 0.0))}
    by_table = ScriptedPolicy.with_p(table)
    by_function = ScriptedPolicy.with_p(lambda p: table[p.id], name="table")
    shares = [np.mean([c.text == "a" for c in cs]) for cs in draw(by_table, PROBLEMS, 400)]
    assert shares == pytest.approx(list(table.values()), abs=0.1)
    assert draw(by_table, PROBLEMS, 9) == draw(by_function, PROBLEMS, 9)
    assert by_table.id != by_function.id != ScriptedPolicy.with_p(0.5).id
    assert isinstance(by_table, Policy)


def test_scripted_densities_are_exact_under_itself_and_another():
    def right(_):
        return {"a": 3.0, "b": 1.0}

    base = ScriptedPolicy.with_p(1e-12, right=right, name="base")
    proposal = ScriptedPolicy.with_p(0.5, right=right, name="rl")
    p = PROBLEMS[0]
    assert base.logprobs([p, p, p], ["a", "b", "no"]) == pytest.approx(
        [math.log(0.75e-12), math.log(0.25e-12), math.log1p(-1e-12)], rel=1e-12
    )
    (completions,) = draw(proposal, [p], 4000)
    for c in completions[:50]:
        assert c.logprob == proposal.logprob(p, c.text, c.finish)
    weights = np.exp([base.logprob(p, c.text) - c.logprob for c in completions])
    right_ones = np.array([c.text in "ab" for c in completions])
    assert np.mean(weights * right_ones) == pytest.approx(1e-12, rel=0.1)
    assert base.logprob(p, "never") == -math.inf


def test_scripted_routes_with_one_text_add_up():
    policy = ScriptedPolicy(lambda _: [Route("a", 0.25), Route("a", 0.25), Route("b", 0.5)], {"name": "twice"})
    assert policy.logprob(PROBLEMS[0], "a") == math.log(0.5)


def test_scripted_right_answer_is_the_chain_where_there_is_one():
    chained = Problem("test", "q", "z", {"chain": "x y z"})
    (completions,) = draw(ScriptedPolicy.with_p(1.0), [chained], 3)
    assert [c.text for c in completions] == ["x y z"] * 3


def test_scripted_samples_depend_on_problem_seed_and_index_alone():
    policy = ScriptedPolicy.with_p(0.5)
    whole = draw(policy, PROBLEMS, 60)
    part = next(policy.sample([Request(PROBLEMS[3], (59, 2))], SamplingParams()))
    assert part == [whole[3][59], whole[3][2]]
    u = rng.sample_uniforms(PROBLEMS[3].id, 0, range(60), 1)[:, 0]
    assert [c.text == "a" for c in whole[3]] == (u < 0.5).tolist()
    assert {c.text for c in draw(ScriptedPolicy.with_p(0.6), PROBLEMS[:1], 9, temperature=0.0)[0]} == {"a"}


def test_scripted_mistakes():
    with pytest.raises(InputError, match="sum to 1"):
        draw(ScriptedPolicy.with_p(1.2), PROBLEMS, 1)
    with pytest.raises(InputError, match="sum to 1"):
        draw(ScriptedPolicy(lambda _: [Route("a", 0.5)], {}), PROBLEMS, 1)
    with pytest.raises(InputError, match="no p for problem"):
        draw(ScriptedPolicy.with_p({}), PROBLEMS, 1)
    with pytest.raises(InputError, match="is a right answer"):
        draw(ScriptedPolicy.with_p(0.5, wrong="a"), PROBLEMS, 1)
    with pytest.raises(InputError, match="top_k"):
        draw(ScriptedPolicy.with_p(0.5), PROBLEMS, 1, top_k=3)
    with pytest.raises(InputError, match="1 problems"):
        ScriptedPolicy.with_p(0.5).logprobs(PROBLEMS[:1], [])


def test_scripted_policies_need_no_torch():
    code = "import sys, goldpanner.policies.scripted; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("fused", [True, False])
def test_the_id_follows_every_optimizer_step(fused):
    """A fused optimizer writes weights without raising their version: ids that trusted it merged all steps' samples."""
    model, tokenizer = build_model(ModelConfig(), 13, seed=0), build_tokenizer("abcdefghij")
    policy = LocalPolicy(model, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=fused)
    ids = [policy.id]
    for _ in range(3):
        model(torch.tensor([[3, 4, 5]])).logits.sum().backward()
        optimizer.step()
        ids.append(policy.id)
    assert len(set(ids)) == 4
    assert policy.id == LocalPolicy(model, tokenizer).id


def test_a_slow_model_hands_on_what_it_has_after_about_a_minutes_operations(policy, monkeypatch):
    drawn = []
    draw = policy._draw
    monkeypatch.setattr(policy, "_draw", lambda *arguments: drawn.append(1) or draw(*arguments))
    parameters = sum(p.numel() for p in policy.model.parameters())
    monkeypatch.setitem(local.MINUTE, "cpu", 2 * parameters * 8 * 40)  # 40 rows of 8 tokens
    requests = [Request(problem, range(16)) for problem in PROBLEMS[:6]]
    stream = policy.sample(requests, SamplingParams(max_tokens=8))
    next(stream)
    assert len(drawn) == 1
    slow = [c.tokens for group in stream for c in group]
    assert len(drawn) == 3
    monkeypatch.undo()
    assert slow == [
        c.tokens for group in list(policy.sample(requests, SamplingParams(max_tokens=8)))[1:] for c in group
    ]


def test_a_cut_weights_file_is_told(policy, tmp_path):
    save_model(policy.model, policy.tokenizer, tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be loaded"):
        LocalPolicy.from_pretrained(tmp_path / "m")
