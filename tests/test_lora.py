"""LoRA adapters: sampled and scored as the model they make, trained alone, saved and found again."""

import copy
import json
import shutil
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tiny_model
from goldpanner.cli import application
from goldpanner.errors import InputError, MissingExtraError
from goldpanner.policies.base import Request
from goldpanner.policies.load import load_pretrained
from goldpanner.policies.local import LocalPolicy
from goldpanner.runs.config import fit_to_task
from goldpanner.runs.stages import rl_stage, train_stage
from goldpanner.sampling import summary
from goldpanner.store import Store
from goldpanner.store.schema import RunRecord
from goldpanner.tasks.catalog import task
from goldpanner.train import lora
from goldpanner.train.config import RLVRConfig
from goldpanner.train.model import load_model
from goldpanner.train.rlvr import rlvr
from goldpanner.types import Outcome, SamplingParams, Verdict

pytest.importorskip("peft")
TASKS = {tiny_model.TASK: 1.0}
TINY = {"prompts_per_step": 8, "group_size": 16, "max_tokens": 4, "learning_rate": 0.01}


class Sevens:
    """A reward for every answer that begins with a 7."""

    id = "sevens@1"

    def __call__(self, problem, completion):
        return Verdict(Outcome.CORRECT if completion.text.startswith("7") else Outcome.WRONG, self.id)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("lora") / "base")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """Adapters whose effect is large: every B drawn at random."""
    model, tokenizer = load_model(base)
    lora.adapt(model, 4, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.from_numpy(np.random.default_rng(len(name)).normal(size=parameter.shape)))
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    lora.save_adapter(model, tokenizer, folder, base)
    return folder


def problems(n=6):
    return task(tiny_model.TASK).problems(n, seed=0)


def test_fresh_adapters_change_nothing_and_alone_are_trained(base):
    model, _ = load_model(base)
    ids = torch.randint(2, 20, (3, 5))
    before = model(ids).logits
    lora.adapt(model, 4, seed=0)
    assert torch.equal(model(ids).logits, before)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 7 * 2, "A and B of seven linear layers in two blocks"
    assert all("lora_" in name for name in trained)
    with pytest.raises(InputError, match="adapters already"):
        lora.adapt(model, 4, seed=0)


def test_samples_and_scores_are_those_of_pefts_own_and_of_the_merged_model(base, adapter):
    from peft import PeftModel

    policy = LocalPolicy.from_pretrained(adapter, device="cpu")
    requests = [Request(problem, range(8), 0) for problem in problems()]
    drawn = list(policy.sample(requests, SamplingParams(max_tokens=5)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers for a name that it is about to lose
        peft_model = PeftModel.from_pretrained(load_model(base)[0], adapter)
    merged = copy.deepcopy(policy.model)
    lora.merge_adapters(merged)
    assert not [name for name in merged.state_dict() if "lora" in name]
    plain = LocalPolicy.from_pretrained(base, device="cpu")
    moved = 0.0
    for request, completions in zip(requests, drawn):
        prompt = policy.encode_prompt(request.problem)
        for completion in completions:
            ids = torch.tensor([[*prompt, *completion.tokens]])
            at = torch.arange(len(completion.tokens))
            for model in (peft_model, merged):
                logp = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
                full = logp[at, torch.tensor(completion.tokens)].detach().numpy()
                np.testing.assert_allclose(completion.token_logprobs, full, atol=1e-4)
            moved = max(moved, abs(plain.logprobs([request.problem], [completion.tokens])[0] - completion.logprob))
    assert moved > 0.1, "the adapters do something"


def test_the_id_follows_base_and_adapters(base, adapter, tmp_path):
    one = LocalPolicy.from_pretrained(adapter, device="cpu")
    assert one.describe()["adapters"]
    assert one.id == LocalPolicy.from_pretrained(adapter, device="cpu").id
    plain = LocalPolicy.from_pretrained(base, device="cpu")
    assert one.id != plain.id
    other_base = tiny_model.write(tmp_path / "other", steps=1)
    assert LocalPolicy.from_pretrained(adapter, device="cpu", base=other_base).id not in (one.id, plain.id)


def test_the_base_is_looked_for_beside_the_adapters_and_then_told(base, adapter, tmp_path):
    moved = tmp_path / "adapters" / "mine"
    shutil.copytree(adapter, moved)
    shutil.copytree(base, tmp_path / "adapters" / "the-base")
    file = moved / "adapter_config.json"
    config = json.loads(file.read_text())

    def name(value):
        file.write_text(json.dumps({**config, "base_model_name_or_path": value}))

    name("../the-base")
    assert LocalPolicy.from_pretrained(moved, device="cpu").id == LocalPolicy.from_pretrained(adapter, device="cpu").id
    name("Someone/a-model")
    with pytest.raises(InputError, match=r"no model folder 'Someone/a-model'; name its folder with --model"):
        load_pretrained(moved)
    assert load_pretrained(moved, base=base)
    file.write_text("{}")
    with pytest.raises(InputError, match="names no base model"):
        load_pretrained(moved)
    with pytest.raises(InputError, match="no folder of adapters"):
        load_pretrained(base, base=base)


def test_without_peft_the_extra_is_named(adapter, base, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr("goldpanner.errors.find_spec", lambda name: None)
    monkeypatch.setattr("goldpanner.train.lora.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[lora\]"):
        load_pretrained(adapter)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[lora\]"):
        lora.adapt(load_model(base)[0], 4, seed=0)


def test_grpo_on_adapters_lifts_the_reward_and_leaves_the_weights_alone(base):
    model, tokenizer = load_model(base)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sevens = {tiny_model.TASK: replace(task(tiny_model.TASK), verifiers=lambda: (Sevens(),))}
    records = list(rlvr(model, tokenizer, sevens, RLVRConfig(**TINY, tasks=TASKS, steps=30, lora=8)))
    first, last = (np.mean([r.reward for r in part]) for part in (records[:4], records[-4:]))
    assert last > first + 0.3, (first, last)
    after = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any("lora_B" in name and value.abs().max() > 0 for name, value in after.items())


def test_a_stage_leaves_the_merged_model_and_its_adapters(base, tmp_path):
    sums = task(tiny_model.TASK)
    config = fit_to_task(RLVRConfig(**TINY, steps=3, lora=4), sums)
    store = Store(tmp_path / "store")
    train_stage(rl_stage("grpo", {sums.id: sums}, config), tmp_path / "rl", store, lambda event: None, parent=base)
    merged = LocalPolicy.from_pretrained(tmp_path / "rl" / "model", device="cpu")
    assert merged.id == store.get(RunRecord, "rl").policy
    assert not merged.describe()["adapters"]
    adapted = LocalPolicy.from_pretrained(tmp_path / "rl" / "adapter", device="cpu")
    answers = ["7", "12", "3 4", "0", "9", "1"]
    np.testing.assert_allclose(merged.logprobs(problems(), answers), adapted.logprobs(problems(), answers), atol=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_training_goes_on_from_adapters_as_a_whole_model(base, adapter, tmp_path, rank):
    settings = ["--set", f"grpo.lora={rank}", "--set", "grpo.learning_rate=1e-9", "--set", "grpo.steps=1"]
    settings += ["--set", "grpo.prompts_per_step=2", "--set", "grpo.group_size=2", "--set", "grpo.max_tokens=4"]
    command = ["train", "grpo", "--model", adapter, "--task", tiny_model.TASK, "--out", tmp_path / "rl", *settings]
    result = CliRunner().invoke(application(), [str(word) for word in command])
    assert result.exit_code == 0, (result.output, result.exception)
    whole = LocalPolicy.from_pretrained(tmp_path / "rl" / "model", device="cpu")
    assert not whole.describe()["adapters"]
    assert not (tmp_path / "rl" / "adapter").exists()
    answers, adapted = ["7", "12", "3 4", "0", "9", "1"], LocalPolicy.from_pretrained(adapter, device="cpu")
    np.testing.assert_allclose(whole.logprobs(problems(), answers), adapted.logprobs(problems(), answers), atol=1e-4)


def test_the_command_line_samples_and_scores_adapters(base, adapter, tmp_path, monkeypatch):
    runner = CliRunner()

    def call(*words):
        result = runner.invoke(application(), [str(word) for word in words])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    draw = ("sample", adapter, tiny_model.TASK, "--store", tmp_path / "store", "-n", 8, "--problems", 4)
    told = json.loads(call(*draw, "--max-tokens", 6, "--template", "{prompt}", "--json"))
    assert told["policy"] == LocalPolicy.from_pretrained(adapter, device="cpu").id
    assert told["n"] == 32
    assert "32 samples scored" in call("score", base, told["policy"], "--store", tmp_path / "store")
    call("sample", base, tiny_model.TASK, "--store", tmp_path / "store", "-n", 8, "--problems", 4)
    scored = call("score", adapter, LocalPolicy.from_pretrained(base, device="cpu").id, "--store", tmp_path / "store")
    assert told["policy"] in scored

    half = json.loads(call("sample", base, tiny_model.TASK, *draw[3:], "--dtype", "bfloat16", "--json"))
    assert half["policy"] == LocalPolicy.from_pretrained(base, device="cpu", dtype="bfloat16").id
    monkeypatch.setattr(summary, "LARGE", 0)
    for able in (False, True):
        monkeypatch.setattr("goldpanner.policies.local.fast_bfloat16", lambda device, able=able: able)
        told = runner.invoke(application(), ["sample", str(base), tiny_model.TASK, *map(str, draw[3:])]).stderr
        assert ("--dtype bfloat16" in told) == able
    refused = runner.invoke(
        application(), ["sample", "scripted:0.5", tiny_model.TASK, *map(str, draw[3:]), "--dtype", "float32"]
    )
    assert "--dtype float32 is for model folders" in str(refused.exception)
