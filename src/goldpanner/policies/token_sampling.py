"""Picking tokens: inverse CDF over the model's softmax, or over what temperature, top-k and top-p leave of it."""

import torch

from goldpanner.errors import InputError
from goldpanner.types import SamplingParams

BLOCK = 256
"""Tokens in one block of the search for a token in a large vocabulary."""


CHUNK = 16
"""Rows of logits of a large vocabulary that are summed at a time: so many stay in a core's cache."""


def pick(
    logits: torch.Tensor, u: torch.Tensor, params: SamplingParams, node: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each sample's token and its log-probability (nats, float64) under the unadjusted softmax.

    Adjustments come in the usual order: temperature, top-k (ties with the k-th kept), top-p (the fewest most likely
    tokens that hold at least top_p).

    Args:
        logits: float32 of shape (nodes, vocabulary), a row for each distinct prefix.
        u: float64 in [0, 1) of shape (samples,).
        params: how tokens are drawn.
        node: the row of `logits` that belongs to each sample, shape (samples,).

    Returns:
        Tokens and log-probabilities, shape (samples,) each.

    Raises:
        InputError: a logit is NaN or infinite: nothing can be drawn from it.
    """
    token, normalizer = inverse_cdf(logits, u, node)
    if not normalizer.isfinite().all():
        raise InputError(
            "the model gives logits that are NaN or infinite, and no token can be drawn from them; its weights are "
            "broken, or overflow in this precision (try float32, or a smaller learning rate where it is trained)"
        )
    if params.temperature == 0:
        token = logits.argmax(-1)[node]
    elif not params.full_softmax:
        token, _ = inverse_cdf(adjust(logits, params), u, node)
    return token, logits[node, token].double() - normalizer


def inverse_cdf(logits: torch.Tensor, u: torch.Tensor, node: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first token whose cumulative softmax exceeds u, and the log of the softmax's denominator (float64).

    Sums are in float64. A large vocabulary is searched in two steps, the block and then the token in it, which spares
    the cumulative sum over all of it. Shapes as in `pick`.
    """
    vocabulary = logits.shape[-1]
    peak = logits.amax(-1, keepdim=True)
    width = vocabulary if vocabulary <= 4 * BLOCK else BLOCK
    size = CHUNK if vocabulary > 4 * BLOCK else max(1, len(logits))
    sums = [
        _mass(part, top, width).sum(-1, dtype=torch.float64) for part, top in zip(logits.split(size), peak.split(size))
    ]
    ends = torch.cat(sums).cumsum(-1)
    total = ends[:, -1:].contiguous()
    normalizer = (peak.double() + total.log()).squeeze(1)[node]
    if ends.shape[1] == 1:
        inside = _mass(logits, peak, width)[:, 0].cumsum(-1, dtype=torch.float64)[node]
        target = u[:, None] * total[node]
        return _first_beyond(inside, target).squeeze(1), normalizer
    ends, total = ends[node], total[node]
    target = u[:, None] * total  # may round up to the total: then the last block and token with mass take it
    block = _first_beyond(ends, target)
    before = torch.nn.functional.pad(ends, (1, 0)).gather(1, block)
    columns = block * width + torch.arange(width, device=block.device)
    part = logits[node[:, None], columns.clamp(max=vocabulary - 1)]
    mass = (part - peak[node]).exp_().masked_fill_(columns >= vocabulary, 0)
    return (block * width + _first_beyond(mass.cumsum(-1, dtype=torch.float64), target - before)).squeeze(1), normalizer


def _mass(logits: torch.Tensor, peak: torch.Tensor, width: int) -> torch.Tensor:
    """Return exp(logit - peak) in blocks of `width` tokens, shape (nodes, blocks, width), padded with 0."""
    mass = (logits - peak).exp_()
    if mass.shape[1] % width:
        mass = torch.nn.functional.pad(mass, (0, -mass.shape[1] % width))
    return mass.view(len(mass), -1, width)


def _first_beyond(cumulative: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the first position whose cumulative mass exceeds the target; at most the last one that has any mass."""
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(cumulative, target, right=True), last)


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
