"""The four stages of DeepSeek-R1 on any Hugging Face model and a task of its own: a tiny untrained GPT-2 learns to add.

The same from the command line:
    goldpanner train recipe r1 --model FOLDER --out runs/r1 --task arithmetic/add-1d1d
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import goldpanner as gp
from goldpanner.runs import recipe
from goldpanner.store.schema import RunRecord
from goldpanner.train.model import build_tokenizer, save_model

SETTINGS = [
    *("demonstrations=60", "sft.steps=120", "sft.learning_rate=0.003"),
    *("grpo.steps=15", "grpo.prompts_per_step=32", "grpo.learning_rate=0.0003"),
    *("rft.prompts=60", "rft.training.steps=150", "rft.training.learning_rate=0.003"),
    'grpo.template="{prompt}"',  # without the four examples that the task puts before a prompt
    'rft.template="{prompt}"',
]

torch.set_num_threads(1)
with TemporaryDirectory() as folder:
    start, out = Path(folder) / "start", Path(folder) / "r1"
    tokenizer = build_tokenizer([*map(str, range(20)), "+", "="])
    shape = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=64, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
    )
    save_model(GPT2LMHeadModel(shape), tokenizer, start)

    task = gp.task("arithmetic/add-1d1d")
    recipe.run_recipe("r1", start, out, lambda event: None, overrides=SETTINGS, task=task)

    runs = gp.Store(out / "store").records(RunRecord)
    for name in [stage.name for stage in recipe.load_recipe("r1").stages]:
        run = runs[name]
        lines = (out / "stages" / name / "metrics.jsonl").read_text().splitlines()
        first, last = (json.loads(line) for line in (lines[0], lines[-1]))
        what = "reward" if "reward" in first else "loss"
        print(f"{name:>14} ({run.stage}): {what} {first[what]:.2f} -> {last[what]:.2f}, model {run.policy}")
