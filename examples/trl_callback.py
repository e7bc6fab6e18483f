"""Your own TRL script, with goldpanner watching: every rollout stored, the states of the groups, a probe set.

Three lines are ours; the rest is any GRPOTrainer script. `pip install 'goldpanner[lab]' trl`; seconds on a CPU.
"""

import warnings

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from goldpanner import (
    Recorder,  # 1
    Store,
)

warnings.simplefilter("ignore")
torch.set_num_threads(1)


def same_letter(prompts: list, completions: list, answer: list, **columns: object) -> list[float]:
    """Your reward function: the first letter said is the one that was asked for."""
    return [float(said.split()[:1] == [letter]) for said, letter in zip(completions, answer)]


# a model of 20,000 random parameters and a vocabulary of ten; yours comes from a hub
words = {word: i for i, word in enumerate(["<pad>", "<eos>", "say", *"abcdefg"])}
backend = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", padding_side="left")
torch.manual_seed(0)  # noqa: TID251  (a script of yours)
shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
model = LlamaForCausalLM(
    LlamaConfig(vocab_size=10, max_position_embeddings=32, eos_token_id=1, pad_token_id=0, **shape)
)
rows = [{"prompt": f"say {letter}", "answer": letter} for letter in "abcdefg"]

recorder = Recorder("trl-runs", "letters", probe=rows[:4], every=20, samples=64)  # 2
trainer = GRPOTrainer(
    model,
    reward_funcs=recorder.reward(same_letter),  # 3 (here and in `callbacks`)
    callbacks=[recorder],
    args=GRPOConfig(
        output_dir="trl-out",
        max_steps=40,
        per_device_train_batch_size=56,
        num_generations=8,
        learning_rate=1e-2,
        max_completion_length=4,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to=[],
        logging_steps=10,
        save_strategy="no",
    ),
    train_dataset=Dataset.from_list(rows),
    processing_class=tokenizer,
)
trainer.train()

print()
for look in recorder.looks:
    print(f"step {look.step:2d}: {look.c} of {look.n} probe samples right, stored as policy {look.policy}")
for entry in trainer.state.log_history[:-1]:
    mixed, wrong, correct = (entry[f"groups/{kind}"] for kind in ("mixed", "all_wrong", "all_correct"))
    print(f"step {entry['step']:2d}: groups mixed {mixed:.0%}, all wrong {wrong:.0%}, all correct {correct:.0%}")
groups = Store("trl-runs").groups("letters")
print(f"{groups.num_rows} groups and {sum(groups['n'].to_pylist()):,} rollouts in the store trl-runs")
