"""Picking tokens: inverse CDF over the model's softmax, or over what temperature, top-k and top-p leave of it."""

import torch

from goldpanner.types import SamplingParams

BLOCK = 256
"""Tokens in one block of the search for a token in a large vocabulary."""


def pick(logits: torch.Tensor, u: torch.Tensor, params: SamplingParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's token and its log-probability (float64) under the unadjusted softmax.

    `logits` is float32 of shape (rows, vocabulary), `u` float64 in [0, 1) of shape (rows,). Adjustments come in the
    usual order: temperature, top-k (ties with the k-th kept), top-p (the fewest most likely tokens that hold at least
    top_p).
    """
    token, normalizer = inverse_cdf(logits, u)
    if params.temperature == 0:
        token = logits.argmax(-1)
    elif not params.full_softmax:
        token, _ = inverse_cdf(adjust(logits, params), u)
    return token, logits.gather(1, token[:, None]).squeeze(1).double() - normalizer


def inverse_cdf(logits: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first token whose cumulative softmax exceeds u, and the log of the softmax's denominator (float64).

    Sums are in float64. A large vocabulary is searched in two steps, the block and then the token in it, which spares
    the cumulative sum over all of it.
    """
    vocabulary = logits.shape[-1]
    peak = logits.amax(-1, keepdim=True)
    mass = (logits - peak).exp_()
    width = vocabulary if vocabulary <= 4 * BLOCK else BLOCK
    if vocabulary % width:
        mass = torch.nn.functional.pad(mass, (0, -vocabulary % width))
    blocks = mass.view(len(mass), -1, width)
    ends = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    total = ends[:, -1:].contiguous()
    target = u[:, None] * total  # may round up to the total: then the last block and token with mass take it
    block = torch.minimum(torch.searchsorted(ends, target, right=True), torch.searchsorted(ends, total))
    before = torch.nn.functional.pad(ends, (1, 0)).gather(1, block)
    inside = blocks[torch.arange(len(mass), device=mass.device), block.squeeze(1)].cumsum(-1, dtype=torch.float64)
    last = torch.searchsorted(inside, inside[:, -1:].contiguous())
    token = block * width + torch.minimum(torch.searchsorted(inside, target - before, right=True), last)
    return token.squeeze(1), (peak.double() + total.log()).squeeze(1)


def adjust(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Return the log-probabilities after temperature, top-k and top-p; a token cut off has -inf."""
    shifted = logits - logits.amax(-1, keepdim=True)  # so that a tiny temperature cannot overflow
    logprobs = (shifted / params.temperature).log_softmax(-1)
    if 0 < params.top_k < logprobs.shape[-1]:
        kth = logprobs.topk(params.top_k).values[:, -1:]
        logprobs = logprobs.masked_fill(logprobs < kth, -torch.inf).log_softmax(-1)
    if params.top_p < 1:
        ordered, order = logprobs.sort(descending=True, stable=True)
        mass = ordered.exp().cumsum(-1, dtype=torch.float64)
        cut = (mass - ordered.exp() >= params.top_p).scatter(-1, order, mass - ordered.exp() >= params.top_p)
        logprobs = logprobs.masked_fill(cut, -torch.inf).log_softmax(-1)
    return logprobs
