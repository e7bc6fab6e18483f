"""A tiny Llama that adds one-digit numbers right now and then: what a real model looks like to the code."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from goldpanner.policies.local import LocalPolicy
from goldpanner.rng import stream
from goldpanner.tasks.catalog import task
from goldpanner.train.model import build_tokenizer, save_model
from goldpanner.train.supervised import SFT, epochs, in_template, supervised

TASK = "arithmetic/add-1d1d"


def write(folder, steps=40):
    """Save the model, taught for `steps` steps, in `folder`; return the folder."""
    torch.set_num_threads(1)
    tokenizer = build_tokenizer([*map(str, range(20)), "+", "="])
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        model = LlamaForCausalLM(shape)
    policy = LocalPolicy(model, tokenizer)
    rows = in_template(policy, task(TASK).demonstrations(64, stream("tiny")), "{prompt}")
    config = SFT.model_copy(update={"steps": steps, "learning_rate": 0.01})
    for _ in supervised(model, tokenizer, epochs(rows, config), config):
        pass
    save_model(model, tokenizer, folder)
    return folder
