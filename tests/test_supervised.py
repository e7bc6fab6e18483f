"""Pretraining and SFT: the loss against the written formula, the masks, the optimizers, the schedule."""

import copy
import math
from collections import Counter

import numpy as np
import pytest
import torch

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.tasks import World, WorldConfig
from goldpanner.tasks.task import Document
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.train.rows import TokenRow, by_length, collate
from goldpanner.train.supervised import (
    SFT,
    SupervisedConfig,
    backward,
    build_optimizers,
    encode_texts,
    epochs,
    fresh_text,
    rate_factor,
    supervised,
)

WORDS = [f"w{i}" for i in range(12)]
SMALL = ModelConfig(hidden_size=16, layers=2, heads=2, intermediate_size=24)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tokenizer():
    return build_tokenizer(WORDS)


@pytest.fixture
def model(tokenizer):
    return build_model(SMALL, len(tokenizer), seed=0)


def some_documents(n, seed=0):
    generator = np.random.default_rng(seed)

    def text(low, high):
        return " ".join(generator.choice(WORDS, generator.integers(low, high)))

    return [Document(text(1, 5), text(1, 9)) for _ in range(n)]


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def in_double(model):
    """Return a float64 copy that is float64 throughout: Llama's own RMSNorm goes through float32."""
    model = copy.deepcopy(model).double()
    for module in list(model.modules()):
        for name, part in module.named_children():
            if type(part).__name__ == "LlamaRMSNorm":
                norm = torch.nn.RMSNorm(part.weight.shape, eps=part.variance_epsilon)
                norm.weight = part.weight
                setattr(module, name, norm)
    return model


@pytest.mark.parametrize("loss_on", ["response", "all"])
@pytest.mark.parametrize("cells", [1, 40, 10**6])
def test_loss_and_gradient_are_the_mean_over_response_tokens_written_out(tokenizer, model, loss_on, cells):
    model = in_double(model)
    documents = some_documents(9)
    rows = encode_texts(tokenizer, documents, loss_on)
    loss = backward(model, rows, cells)
    got = gradient(model)

    model.zero_grad()
    terms = []
    for document in documents:  # one unpadded row at a time, every token by hand
        prompt = tokenizer(document.prompt)["input_ids"]
        whole = prompt + tokenizer(document.response)["input_ids"] + [tokenizer.eos_token_id]
        logp = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        first = len(prompt) if loss_on == "response" else 1
        terms += [-logp[t - 1, whole[t]] for t in range(first, len(whole))]
    expected = torch.stack(terms).mean()
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-10)
    assert (got - gradient(model)).abs().max() < 1e-10


def test_chunks_hold_every_row_once_and_keep_to_the_limit():
    generator = np.random.default_rng(0)
    rows = [TokenRow([1] * generator.integers(1, 9), [2] * generator.integers(0, 9)) for _ in range(60)]
    chunks = list(by_length(rows, 50))
    assert sorted(i for chunk in chunks for i in chunk) == list(range(60))
    assert all(len(chunk) * max(rows[i].length for i in chunk) <= 50 for chunk in chunks)
    assert list(by_length([], 50)) == []


def test_a_batch_points_at_the_positions_that_predict_the_response():
    batch = collate([TokenRow([5, 6], [7, 8, 1]), TokenRow([9], [3])])
    logits = torch.arange(batch.tokens_BT.numel()).view(batch.tokens_BT.shape)[:, -batch.keep :].flatten()
    assert batch.tokens_BT.tolist() == [[5, 6, 7, 8, 1], [9, 3, 0, 0, 0]]
    assert logits[batch.source_N].tolist() == [1, 2, 3, 5]  # each is the position before its target
    assert batch.target_N.tolist() == [7, 8, 1, 3]
    assert batch.scatter(batch.target_N).tolist() == [[7, 8, 1], [3, 0, 0]]


def test_muon_gets_the_block_matrices_and_nothing_is_left_out(model):
    names = {id(p): name for name, p in model.named_parameters()}
    muon, adam = build_optimizers(model, SupervisedConfig())
    assert isinstance(muon, torch.optim.Muon)
    by_optimizer = [[names[id(p)] for g in o.param_groups for p in g["params"]] for o in (muon, adam)]
    assert sorted(by_optimizer[0] + by_optimizer[1]) == sorted(names.values())
    assert all(".layers." in name and "norm" not in name for name in by_optimizer[0])
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= set(by_optimizer[1])
    undecayed = [names[id(p)] for g in adam.param_groups if g["weight_decay"] == 0 for p in g["params"]]
    assert all("norm" in name for name in undecayed)


def test_tied_embeddings_are_trained_once(tokenizer):
    model = build_model(ModelConfig(hidden_size=16, heads=2, intermediate_size=24, tied=True), len(tokenizer), seed=0)
    for config in (SupervisedConfig(), SFT):
        parameters = [p for o in build_optimizers(model, config) for g in o.param_groups for p in g["params"]]
        assert len(parameters) == len({id(p) for p in parameters}) == len(list(model.parameters()))


def test_the_rate_warms_up_and_falls_as_a_cosine():
    factors = [rate_factor(step, 101, 50, 0.02) for step in range(101)]
    assert factors[0] == 1 / 50
    assert factors[49] == factors[50] == 1
    assert factors[75] == pytest.approx(0.51)
    assert factors[100] == pytest.approx(0.02)
    assert rate_factor(3, 30, 0, 1.0) == 1
    assert rate_factor(0, 1, 0, 0.5) == 1


def test_records_say_what_happened(tokenizer, model):
    config = SupervisedConfig(steps=4, batch=5, warmup_steps=2)
    documents = some_documents(5)
    before = weights(model)
    records = list(supervised(model, tokenizer, epochs(documents, config), config))
    assert [r.step for r in records] == [0, 1, 2, 3]
    assert records[0].loss == pytest.approx(math.log(15), abs=0.05)  # a fresh model knows nothing
    assert records[0].tokens == sum(len(d.text.split()) + 1 for d in documents)
    assert [r.lr for r in records] == pytest.approx([0.015, 0.03, 0.03, 0.0006])
    assert all(r.grad_norm > 0 and r.seconds > 0 for r in records)
    assert not torch.equal(before, weights(model))


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_it_learns(tokenizer, model, optimizer):
    rate = 0.03 if optimizer == "muon" else 0.01
    config = SupervisedConfig(steps=150, batch=12, optimizer=optimizer, learning_rate=rate, warmup_steps=5)
    documents = [Document(f"w{i}", f"w{(i * 5 + 3) % 12} w{i}") for i in range(12)]
    *_, last = supervised(model, tokenizer, epochs(documents, config), config)
    assert last.loss < 0.2


def test_the_same_seed_gives_the_same_weights(tokenizer):
    results = []
    for seed in (0, 0, 1):
        model = build_model(SMALL, len(tokenizer), seed=0)
        config = SupervisedConfig(steps=5, batch=4, seed=seed)
        list(supervised(model, tokenizer, epochs(some_documents(9), config), config))
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_an_epoch_shows_every_document_once_in_an_order_of_its_own():
    documents = some_documents(10)
    config = SupervisedConfig(batch=4)
    source = epochs(documents, config)
    seen = [document for step in range(5) for document in source(step)]
    assert Counter(seen[:10]) == Counter(seen[10:]) == Counter(documents)
    assert seen[:10] != seen[10:]
    assert list(source(3)) == seen[12:16]
    assert len(epochs(documents, SupervisedConfig(batch=25))(0)) == 25
    assert epochs(documents, SupervisedConfig(batch=4, seed=1))(0) != seen[:4]


def test_pretraining_text_is_a_function_of_seed_and_step():
    world = World(WorldConfig())
    source = fresh_text(world, SupervisedConfig(batch=6))
    assert source(3) == source(3) == world.documents(6, rng.stream("pretrain/documents", 0, 3))
    assert source(3) != source(4)
    assert source(3) != fresh_text(world, SupervisedConfig(batch=6, seed=1))(3)


def test_wrong_input_is_named(tokenizer):
    with pytest.raises(InputError, match="empty prompt"):
        encode_texts(tokenizer, [Document("", "w1 w2")])
    with pytest.raises(InputError, match="no documents"):
        epochs([], SFT)
    with pytest.raises(ValueError, match="extra"):
        SupervisedConfig(epochs=3)
