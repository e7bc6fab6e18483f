"""A saved model is an ordinary Hugging Face folder: transformers, TRL and lm-eval load it unchanged."""

import os
import subprocess
import sys

import pytest

from goldpanner.tasks import World
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, save_model

TEXT = "Q oak river a b c"
TOOLS = {
    "transformers": """
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
""",
    "TRL": """
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
trainer = GRPOTrainer(
    model=folder,
    reward_funcs=lambda completions, **_: [0.0 for _ in completions],
    args=GRPOConfig(folder + "/out", use_cpu=True, bf16=False, num_generations=2, per_device_train_batch_size=2),
    train_dataset=Dataset.from_list([{"prompt": text}] * 2),
)
model, tokenizer = trainer.model, trainer.processing_class
""",
    "lm-eval": """
from lm_eval.models.huggingface import HFLM
evaluated = HFLM(pretrained=folder, device="cpu", backend="causal")
model, tokenizer = evaluated.model, evaluated.tokenizer
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = build_tokenizer(World().vocabulary())
    path = tmp_path_factory.mktemp("model") / "model"
    save_model(build_model(ModelConfig(), len(tokenizer), seed=0), tokenizer, path)
    return path


@pytest.mark.parametrize("tool", TOOLS)
def test_it_loads(tool, folder):
    import torch

    from goldpanner.train.model import load_model

    ours, tokenizer = load_model(folder)
    with torch.no_grad():
        expected = float(ours(torch.tensor([tokenizer(TEXT)["input_ids"]])).logits.double().abs().sum())
    code = f"import torch\nfolder, text = {str(folder)!r}, {TEXT!r}\n{TOOLS[tool]}\n" + (
        "ids = tokenizer(text)['input_ids']\n"
        "with torch.no_grad():\n    logits = model(torch.tensor([ids])).logits\n"
        "print('RESULT', tokenizer.decode(ids), '|', float(logits.double().abs().sum()))\n"
    )
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=quiet, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    text, _, total = done.stdout.split("RESULT ", 1)[1].partition(" | ")
    assert text == TEXT
    assert float(total) == pytest.approx(expected, rel=1e-6)
