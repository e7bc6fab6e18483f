"""The tiny model and its tokenizer: deterministic, and loadable by anyone who reads the Hugging Face layout."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from goldpanner.errors import InputError
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, load_model, save_model

WORDS = ("Q", "T", "r1", "r2", *[f"{a}{b}" for a in "abcdefgh" for b in "klmnopqr"][:61])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    tokenizer = build_tokenizer(WORDS)
    model = build_model(ModelConfig(), len(tokenizer), seed=0)
    folder = tmp_path_factory.mktemp("model") / "base"
    save_model(model, tokenizer, folder)
    return model, tokenizer, folder


def test_the_default_model_has_about_166k_parameters():
    model = build_model(ModelConfig(), 68, seed=0)
    assert sum(p.numel() for p in model.parameters()) == 166_160


def test_weights_depend_on_the_seed_alone_and_torchs_global_state_is_untouched():
    before = torch.get_rng_state()
    first = build_model(ModelConfig(), 20, seed=3).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    second, other = (build_model(ModelConfig(), 20, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    assert abs(float(first["lm_head.weight"].std()) - 0.02) < 0.002


def test_tokenizer_round_trips_words_and_adds_nothing_by_itself():
    tokenizer = build_tokenizer(WORDS)
    text = "Q r1 r2 ak"
    ids = tokenizer(text)["input_ids"]
    assert ids == tokenizer.encode(text) == [3 + WORDS.index(word) for word in text.split()]
    assert tokenizer.decode(ids) == text
    assert tokenizer("nonsense")["input_ids"] == [tokenizer.unk_token_id]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert len(tokenizer) == len(WORDS) + 3


def test_punctuation_survives_the_round_trip():
    tokenizer = build_tokenizer(["n't", ".", ",", "+", "=", "'s"])
    assert tokenizer.decode(tokenizer.encode("+ n't . , 's =")) == "+ n't . , 's ="


@pytest.mark.parametrize("words", [["a", "a"], ["a b"], [""], ["<eos>"], ["a\n"]])
def test_words_that_cannot_be_told_apart_are_refused(words):
    with pytest.raises(InputError, match="vocabulary"):
        build_tokenizer(words)


def test_a_config_names_what_is_wrong():
    with pytest.raises(ValidationError, match="multiple of"):
        ModelConfig(hidden_size=81)
    with pytest.raises(ValidationError, match="divisor"):
        ModelConfig(kv_heads=3)
    with pytest.raises(ValidationError, match="extra"):
        ModelConfig(width=3)
    assert all(field.description for field in ModelConfig.model_fields.values())


def test_auto_classes_load_the_folder_unchanged(saved):
    model, tokenizer, folder = saved
    other = AutoModelForCausalLM.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder)
    ids = words("Q r1 ak", return_tensors="pt")["input_ids"]
    assert ids.tolist() == tokenizer("Q r1 ak", return_tensors="pt")["input_ids"].tolist()
    assert words.decode(ids[0]) == "Q r1 ak"
    assert (words.eos_token_id, words.pad_token_id, words.unk_token_id) == (1, 0, 2)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, other(ids).logits)
    assert other.generation_config.eos_token_id == 1


def test_grouped_heads_and_tied_embeddings_round_trip(tmp_path):
    tokenizer = build_tokenizer(WORDS)
    model = build_model(ModelConfig(kv_heads=2, tied=True), len(tokenizer), seed=1)
    save_model(model, tokenizer, tmp_path / "m")
    other, _ = load_model(tmp_path / "m", device="cpu")
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, other(ids).logits)


def test_saving_replaces_a_folder_whole_and_leaves_nothing_behind(saved, tmp_path):
    model, tokenizer, _ = saved
    folder = tmp_path / "deep" / "m"
    save_model(build_model(ModelConfig(layers=1), len(tokenizer), seed=5), tokenizer, folder)
    (folder / "stale").touch()
    save_model(model, tokenizer, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["m"]
    assert not (folder / "stale").exists()
    assert len(load_model(folder)[0].model.layers) == 2


def test_a_failed_save_leaves_the_old_folder(saved, tmp_path, monkeypatch):
    model, tokenizer, _ = saved
    save_model(model, tokenizer, tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()

    def full(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(tokenizer, "save_pretrained", full)
    with pytest.raises(OSError, match="disk full"):
        save_model(build_model(ModelConfig(), len(tokenizer), seed=9), tokenizer, tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before


def test_loading_what_is_no_model_says_so(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        load_model(tmp_path)


def test_initial_predictions_are_nearly_uniform(saved):
    model, tokenizer, _ = saved
    with torch.no_grad():
        logits = model(torch.arange(3, 20)[None]).logits.double()
    entropy = torch.distributions.Categorical(logits=logits).entropy().numpy()
    assert np.all(entropy > 0.97 * np.log(len(tokenizer)))
