"""Make fixtures/trl/: TRL's GRPOTrainer trains a tiny Llama made from a config, and logs its completions itself.

    cd tests/interop && python make_fixtures/make_trl.py        (trl 1.16.0, on the CPU, seconds)

`every_step`: logging_steps=1. `every_second`: logging_steps=2, so every other batch is missing. `reused`:
num_iterations=2 and logging_steps=1, so each batch is logged twice. `two_rewards`: conversational prompts, a second
reward, and rewards of None. `evaluated`: an evaluation every second step, whose rows TRL writes over those of training.
"""

import shutil
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

OUT = Path(__file__).parent.parent / "fixtures" / "trl"
WORDS = ["<pad>", "<eos>", "<unk>", *map(str, range(6)), "plus", "is", "user", "assistant"]


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    made.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant "
    return made


def text_of(completion: object) -> str:
    return completion if isinstance(completion, str) else completion[0]["content"]


def starts_right(completions: list, answer: list[str], **kwargs: object) -> list[float]:
    return [float(text_of(c).split()[:1] == [a]) for c, a in zip(completions, answer)]


def is_short(
    completions: list, log_extra: object = None, answer: list[str] = (), **kwargs: object
) -> list[float | None]:
    log_extra("truth", list(answer))
    return [None if not text_of(c) else 1 / len(text_of(c).split()) for c in completions]


def train(name: str, rewards: list, chat: bool = False, **settings: object) -> None:
    torch.manual_seed(3)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(WORDS), pad_token_id=0, eos_token_id=1, bos_token_id=None, **size)
    )
    questions = [(f"{a} plus {b} is", str(a + b)) for a, b in ((1, 1), (2, 1), (2, 2), (3, 2))]
    rows = [{"prompt": [{"role": "user", "content": q}] if chat else q, "answer": a} for q, a in questions]
    folder = Path(tempfile.mkdtemp())
    config = GRPOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, seed=5, max_steps=4, per_device_train_batch_size=8,
        num_generations=4, max_completion_length=3, log_completions=True, report_to=[],
        gradient_checkpointing=False, disable_tqdm=True, **{"save_strategy": "no", **settings},
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=config,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows) if settings.get("eval_strategy") else None,
        processing_class=tokenizer(),
    )
    trainer.train()
    (OUT / name).mkdir(parents=True)
    for file in sorted((folder / "completions").iterdir()):
        shutil.copy(file, OUT / name / file.name)
    if settings.get("eval_strategy"):
        shutil.copy(next(folder.glob("checkpoint-*/trainer_state.json")), OUT / name / "trainer_state.json")


shutil.rmtree(OUT, ignore_errors=True)
train("every_step", [starts_right], logging_steps=1)
train("every_second", [starts_right], logging_steps=2)
train("reused", [starts_right], logging_steps=1, num_iterations=2)
train("two_rewards", [starts_right, is_short], chat=True, logging_steps=4)
train("evaluated", [starts_right], logging_steps=1, eval_strategy="steps", eval_steps=2, save_strategy="steps")
