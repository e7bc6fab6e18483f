"""Token rows and padded batches: what every trainer feeds its model (teacher forcing).

Rows are padded on the right and no attention mask is built: under causal attention no real token sees a pad. Logits are
computed only from the first position that predicts a response token on, and used only at those positions.
Axes: B row, L response token (padded), N response token (flat, row by row), V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class TokenRow(NamedTuple):
    """Token ids of one prompt and of its response (with the end-of-sequence token, unless it was cut off)."""

    prompt: Sequence[int]
    response: Sequence[int]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Batch:
    """Rows as tensors."""

    tokens_BT: Tensor
    """Prompt and response, padded with 0 on the right."""
    keep: int
    """Logits are needed at the last `keep` positions."""
    source_N: Tensor
    """Flat index into the (B, keep) logits of the position that predicts each response token."""
    target_N: Tensor
    """The response tokens."""
    mask_BL: Tensor
    """Which cells of a (B, L) matrix hold a response token; in row-major order they are the N tokens."""

    def scatter(self, value_N: Tensor) -> Tensor:
        """Return the (B, L) matrix with `value_N` in its response cells and 0 elsewhere."""
        return value_N.new_zeros(self.mask_BL.shape).masked_scatter(self.mask_BL, value_N)


def collate(rows: Sequence[TokenRow], device: torch.device | str = "cpu") -> Batch:
    """Return the batch of `rows`; a row needs at least one prompt token (it predicts the first response token)."""
    width = max(row.length for row in rows)
    start = min(len(row.prompt) for row in rows) - 1
    keep = width - start
    longest = max(len(row.response) for row in rows)
    tokens = [[*row.prompt, *row.response, *[0] * (width - row.length)] for row in rows]
    # the logits at position t predict token t + 1
    source = [i * keep + len(r.prompt) - 1 - start + j for i, r in enumerate(rows) for j in range(len(r.response))]
    lengths = torch.tensor([len(row.response) for row in rows], device=device)
    return Batch(
        torch.tensor(tokens, device=device),
        keep,
        torch.tensor(source, dtype=torch.int64, device=device),
        torch.tensor([token for row in rows for token in row.response], dtype=torch.int64, device=device),
        torch.arange(longest, device=device) < lengths[:, None],
    )


def response_logits(model: Any, batch: Batch, temperature: float = 1.0, autocast: bool = False) -> Tensor:
    """Return the logits / temperature from which each response token is drawn, shape (N, V).

    With `autocast` the model computes in bfloat16, and what is done with its logits in float32.
    """
    with _computing(batch, autocast):
        logits = model(input_ids=batch.tokens_BT, use_cache=False, logits_to_keep=batch.keep).logits
    return _selected(logits, batch, temperature, autocast)


def response_outputs(
    model: Any, batch: Batch, temperature: float = 1.0, autocast: bool = False
) -> tuple[Tensor, Tensor]:
    """Return `response_logits`, shape (N, V), and the last hidden states they are made of, shape (N, D)."""
    with _computing(batch, autocast):
        out = model(input_ids=batch.tokens_BT, use_cache=False, logits_to_keep=batch.keep, output_hidden_states=True)
    states_ND = out.hidden_states[-1][:, -batch.keep :].flatten(0, 1)[batch.source_N]
    return _selected(out.logits, batch, temperature, autocast), states_ND.float() if autocast else states_ND


def _computing(batch: Batch, autocast: bool) -> torch.autocast:
    return torch.autocast(batch.tokens_BT.device.type, torch.bfloat16, enabled=autocast)


def _selected(logits: Tensor, batch: Batch, temperature: float, autocast: bool) -> Tensor:
    selected: Tensor = logits.flatten(0, 1)[batch.source_N]
    selected = selected.float() if autocast else selected
    return selected if temperature == 1.0 else selected / temperature


def token_logprobs(logits_NV: Tensor, batch: Batch) -> Tensor:
    """Return log pi(y_t | prompt, y_<t) of each response token, shape (B, L); 0 in padded cells."""
    return batch.scatter(-torch.nn.functional.cross_entropy(logits_NV, batch.target_N, reduction="none"))


def by_length(rows: Sequence[TokenRow], tokens_per_batch: int) -> Iterator[list[int]]:
    """Yield indices of `rows`, similar lengths together, in chunks of at most `tokens_per_batch` padded tokens each."""
    chunk: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: rows[i].length):
        if chunk and rows[index].length * (len(chunk) + 1) > tokens_per_batch:
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk
