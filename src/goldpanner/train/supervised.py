"""Pretraining and SFT: one loss, next-token cross-entropy, and two masks.

The loss counts response tokens (with the end of sequence) and not the prompt, in SFT because the prompt is given, in
pretraining because the world's questions are random and learning to predict them wastes a small model
(`loss_on="all"` counts every token but the first).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Notify, silent
from goldpanner.train.checkpoint import Checkpoint
from goldpanner.train.finite import check_skips, step_if_finite
from goldpanner.train.metrics import Metrics
from goldpanner.train.rows import TokenRow, by_length, collate, response_logits
from goldpanner.types import Problem, content_hash


class TextPair(Protocol):
    """What is read of a document."""

    @property
    def prompt(self) -> str: ...  # noqa: D102
    @property
    def response(self) -> str: ...  # noqa: D102


Source = Callable[[int], Sequence[TextPair] | Sequence[TokenRow]]
"""The documents of a step, or their token rows: a function of the step alone, so that a resumed run sees what it would
have seen."""


class Corpus(Protocol):
    """What pretraining needs of a domain."""

    def documents(self, n: int, rng: np.random.Generator) -> Sequence[TextPair]:
        """Return n documents."""


class SupervisedConfig(BaseModel):
    """How to train on text; the defaults pretrain the lab's model, `SFT` fine-tunes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=500, ge=1, description="Optimizer steps.")
    batch: int = Field(default=160, ge=1, description="Documents a step.")
    seed: int = Field(
        default=0, description="Seed of the order of documents (of the documents themselves, in pretraining)."
    )
    loss_on: Literal["response", "all"] = Field(default="response", description="Tokens that the loss counts.")
    optimizer: Literal["muon", "adam"] = Field(
        default="muon",
        description="muon: Muon on the matrices of the blocks, AdamW on the rest; adam: AdamW everywhere.",
    )
    learning_rate: float = Field(
        default=0.03, gt=0, description="Peak rate: of Muon, or of AdamW where it trains everything."
    )
    embedding_learning_rate: float = Field(
        default=0.004, gt=0, description="Peak rate of AdamW beside Muon (embeddings, norms)."
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.95), description="AdamW's decay rates.")
    weight_decay: float = Field(default=0.02, ge=0, description="Decoupled decay of matrices, in units of the rate.")
    warmup_steps: int = Field(default=50, ge=0, description="Steps over which the rate rises from 0 to its peak.")
    final_rate: float = Field(
        default=0.02, ge=0, le=1, description="The rate at the last step, as a share of the peak (cosine)."
    )
    clip: float = Field(default=1.0, gt=0, description="Largest gradient norm; a longer gradient is scaled down to it.")
    tokens_per_batch: int = Field(
        default=640, ge=1, description="Padded tokens per forward pass; trades padding against calls."
    )
    checkpoint_every: int = Field(default=25, ge=1, exclude=True, description="Steps between two checkpoints.")
    checkpoints: int = Field(
        default=2, ge=1, exclude=True, description="Checkpoints to keep; a damaged one falls back to the one before."
    )


SFT = SupervisedConfig(
    steps=30, batch=64, optimizer="adam", learning_rate=5e-4, weight_decay=0.0, warmup_steps=0, final_rate=1.0
)
"""Fine-tuning on a few worked examples."""


@dataclass(frozen=True)
class StepRecord:
    """What one step of supervised training did."""

    step: int
    loss: float
    """Mean cross-entropy of the counted tokens, nats, before the update."""
    lr: float
    """Rate of the first optimizer in this step."""
    grad_norm: float
    """Before clipping."""
    tokens: int
    """Tokens read, prompts included, padding not."""
    seconds: float
    skipped: int = 0
    """1 where the loss or the gradient was not finite: the update was left out, the weights are as before."""


def fresh_text(domain: Corpus, config: SupervisedConfig) -> Source:
    """Return a source that draws new documents from `domain` for every step: none is read twice (pretraining)."""
    return lambda step: domain.documents(config.batch, rng.stream("pretrain/documents", config.seed, step))


def epochs(documents: Sequence[TextPair] | Sequence[TokenRow], config: SupervisedConfig) -> Source:
    """Return a source that goes through `documents` again and again, shuffled anew each time (SFT)."""
    if not documents:
        raise InputError("supervised training got no documents; give at least one")
    size = len(documents)

    def batch(step: int) -> list[Any]:
        start, stop = step * config.batch, (step + 1) * config.batch
        rounds = range(start // size, (stop - 1) // size + 1)
        order = {r: rng.stream("sft/order", config.seed, r).permutation(size) for r in rounds}
        return [documents[int(order[p // size][p % size])] for p in range(start, stop)]

    return batch


def supervised(
    model: Any,
    tokenizer: Any,
    source: Source,
    config: SupervisedConfig,
    *,
    checkpoint: Path | None = None,
    metrics: Metrics | None = None,
    notify: Notify = silent,
) -> Iterator[StepRecord]:
    """Train a model in place on texts; yield a record per step.

    Dropout is left as the model has it (off, unless `model.train()` was called).

    Args:
        model: the model.
        tokenizer: its tokenizer.
        source: gives the documents of a step.
        config: settings of the stage.
        checkpoint: file that a killed run goes on from: the records of the steps it holds are yielded again.
        metrics: writer of the steps' records, kept in step with the checkpoint.
        notify: told of checkpoints that were damaged.

    Raises:
        InputError: the checkpoint belongs to another run.
        NotFiniteError: losses or gradients stay non-finite.
    """
    optimizers = build_optimizers(model, config)
    first = [[text.prompt, text.response] for text in source(0)]
    keeper = Checkpoint(
        checkpoint,
        config.checkpoint_every,
        {
            "stage": "supervised",
            **{f"config.{name}": value for name, value in config.model_dump(mode="json").items()},
            "first batch": content_hash(first),
            "initial weights": LocalPolicy(model, tokenizer).id,
        },
        config.checkpoints,
        metrics,
        notify,
    )
    records = keeper.restore(model, optimizers, StepRecord)
    yield from records
    for step in range(len(records), config.steps):
        started = time.perf_counter()
        rows = encode_texts(tokenizer, source(step), config.loss_on)
        rate = set_rate(optimizers, rate_factor(step, config.steps, config.warmup_steps, config.final_rate))
        loss = backward(model, rows, config.tokens_per_batch)
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip))
        skipped = int(not step_if_finite(optimizers, loss, norm))
        for optimizer in optimizers:
            optimizer.zero_grad()
        tokens = sum(row.length for row in rows)
        record = StepRecord(step, loss, rate, norm, tokens, time.perf_counter() - started, skipped)
        records.append(record)
        check_skips(records)
        yield record
        if keeper.due(step + 1, config.steps):  # by now the step has its row in the metrics
            keeper.save(model, optimizers, records)


def backward(model: Any, rows: Sequence[TokenRow], tokens_per_batch: int) -> float:
    """Add the gradient of the mean cross-entropy over all response tokens of `rows` to the model; return that mean."""
    count = sum(len(row.response) for row in rows)
    total = 0.0
    for chunk in by_length(rows, tokens_per_batch):
        batch = collate([rows[i] for i in chunk], model.device)
        logits = response_logits(model, batch)
        loss = torch.nn.functional.cross_entropy(logits, batch.target_N, reduction="sum") / count
        loss.backward()
        total += float(loss.detach())
    return total


def encode_texts(
    tokenizer: Any, texts: Sequence[TextPair] | Sequence[TokenRow], loss_on: Literal["response", "all"] = "response"
) -> list[TokenRow]:
    """Return token rows; the response ends with the end-of-sequence token. Rows of tokens are taken as they are.

    With `loss_on="all"` everything after the first token counts as response.
    """
    rows = [text for text in texts if isinstance(text, TokenRow)] or _tokenize(tokenizer, texts)
    for row in rows:
        if not row.prompt:
            raise InputError(
                f"document {tokenizer.decode(row.response)!r} has an empty prompt; give one token at least"
            )
    if loss_on == "all":
        return [TokenRow(row.prompt[:1], [*row.prompt[1:], *row.response]) for row in rows]
    return rows


def in_template(policy: LocalPolicy, examples: Sequence[TextPair], template: str) -> list[TokenRow]:
    """Return worked examples as token rows, as a policy is asked in `template` (`chat`: the model's own).

    A blank sets the response off from a prompt that does not end with one.
    """
    blank = "" if template == "chat" or template.endswith((" ", "\n")) else " "
    return [
        TokenRow(
            policy.encode_prompt(Problem("", each.prompt, ""), template), policy.encode_response(blank + each.response)
        )
        for each in examples
    ]


def _tokenize(tokenizer: Any, texts: Sequence[Any]) -> list[TokenRow]:
    prompts = tokenizer([text.prompt for text in texts])["input_ids"]
    responses = tokenizer([text.response for text in texts], add_special_tokens=False)["input_ids"]
    return [TokenRow(prompt, [*response, tokenizer.eos_token_id]) for prompt, response in zip(prompts, responses)]


def build_optimizers(model: Any, config: SupervisedConfig) -> list[torch.optim.Optimizer]:
    """Return [Muon over the block matrices, AdamW over the rest], or [AdamW over everything].

    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) takes matrices only; embeddings, output head and norms
    are left to AdamW, as its author advises. Norms and other vectors are not decayed.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    embeddings = {id(p) for part in ends for p in part.parameters()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim == 2 and id(p) not in embeddings]
    tables = [p for p in parameters if id(p) in embeddings]
    vectors = [p for p in parameters if p.ndim != 2 and id(p) not in embeddings]

    def adam(decayed: list[Any], rate: float) -> torch.optim.Optimizer:
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=config.betas, fused=True)

    if config.optimizer == "adam":
        optimizers = [adam(matrices + tables, config.learning_rate)]
    else:
        muon = torch.optim.Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay)
        optimizers = [muon, adam(tables, config.embedding_learning_rate)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def rate_factor(step: int, steps: int, warmup: int, final: float) -> float:
    """Linear warm-up over `warmup` steps to 1, then half a cosine down to `final` at the last step."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - 1 - warmup, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def set_rate(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> float:
    """Set every rate to `factor` times its peak; return the first one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
    return float(optimizers[0].param_groups[0]["lr"])
