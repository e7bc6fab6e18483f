"""The lab's model: a tiny Llama and a word-level tokenizer, both in the Hugging Face layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.files import save_folder
from goldpanner.policies.load import load_pretrained, quiet_progress
from goldpanner.train.lora import merge_adapters

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
SPECIAL_TOKENS = (PAD, EOS, UNK)
"""They take the ids 0, 1 and 2; the words follow in their given order."""


class ModelConfig(BaseModel):
    """Shape of the lab's model (Llama: RoPE, RMSNorm, SwiGLU). The default has 166,160 parameters at 68 tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_size: int = Field(default=80, ge=1, description="Width of the residual stream; a multiple of 2 x heads.")
    layers: int = Field(default=2, ge=1, description="Number of transformer blocks.")
    heads: int = Field(default=4, ge=1, description="Attention heads; each has hidden_size / heads dimensions.")
    kv_heads: int | None = Field(default=None, ge=1, description="Key/value heads; None means as many as heads.")
    intermediate_size: int = Field(default=216, ge=1, description="Width of the feed-forward layer (SwiGLU).")
    max_positions: int = Field(default=256, ge=1, description="Longest sequence the model declares, prompt included.")
    rope_theta: float = Field(default=10_000.0, gt=0, description="Base of the rotary position embedding.")
    init_std: float = Field(default=0.02, gt=0, description="Standard deviation of the initial weights.")
    tied: bool = Field(default=False, description="Whether input and output embeddings are one matrix.")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size is {self.hidden_size}; give a multiple of 2 x heads = {2 * self.heads}")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"kv_heads is {self.kv_heads}; give a divisor of heads = {self.heads}")
        return self


def build_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer that gives every word of `vocabulary` one id and splits text at whitespace.

    Specials are <pad> (0), <eos> (1) and <unk> (2); none is added by itself, and `decode(encode(text)) == text` for
    words of the vocabulary separated by single spaces. Raises InputError on a word that is empty, contains
    whitespace, stands twice, or is one of the specials.
    """
    words = list(vocabulary)
    for word in words:
        if word in SPECIAL_TOKENS or word.split() != [word]:
            raise InputError(
                f"vocabulary: {word!r} cannot be a word; give non-empty words without whitespace other than "
                f"{', '.join(SPECIAL_TOKENS)}"
            )
    if len(set(words)) != len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise InputError(f"vocabulary: {twice!r} stands twice; give every word once")
    ids = {word: i for i, word in enumerate([*SPECIAL_TOKENS, *words])}
    backend = Tokenizer(WordLevel(ids, unk_token=UNK))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(config: ModelConfig, vocab_size: int, seed: int) -> LlamaForCausalLM:
    """Return a fresh model in float32 on the CPU; its weights depend on (config, vocab_size, seed) alone.

    Matrices are drawn from N(0, init_std^2), norms are 1, the padding row of the input embedding is 0. The global
    random state of torch is left as it was.
    """
    llama = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads or config.heads,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        initializer_range=config.init_std,
        tie_word_embeddings=config.tied,
        pad_token_id=SPECIAL_TOKENS.index(PAD),
        bos_token_id=None,
        eos_token_id=SPECIAL_TOKENS.index(EOS),
        use_cache=True,
    )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights of its own; they are replaced below
        model = LlamaForCausalLM(llama)
    generator = rng.stream("model/init", seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.dim() > 1:
                values = generator.standard_normal(tuple(parameter.shape)) * config.init_std
                parameter.copy_(torch.from_numpy(values))
        model.get_input_embeddings().weight[llama.pad_token_id].zero_()
    return model.eval()


def save_model(model: Any, tokenizer: Any, folder: Path | str) -> None:
    """Write model and tokenizer in the Hugging Face layout; `folder` appears complete or not at all."""

    def write(scratch: Path) -> None:
        with quiet_progress():
            model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)

    save_folder(Path(folder), write)


def load_model(folder: Path | str, device: str | torch.device | None = None, dtype: str = "auto") -> tuple[Any, Any]:
    """Return (model, tokenizer) to be trained from a folder in the Hugging Face layout, in its own dtype unless said.

    Of a folder of adapters, the base model with them added to its weights. Raises InputError where the folder is none.
    """
    model, tokenizer = load_pretrained(folder, dtype)
    if hasattr(model, "peft_config"):
        merge_adapters(model)
    return (model if device is None else model.to(device)), tokenizer
