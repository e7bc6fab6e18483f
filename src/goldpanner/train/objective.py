"""The gradient of a variant's objective on token rows: `grpo`'s losses applied to a model, in micro-batches.

loss = reduce(token loss + kl [rho] k3 + value_weight value_loss) - entropy (mean token entropy)

with the variant's token loss and reduction, and the weights of the `RLVRConfig`. [rho]: only with `unbiased_kl`.
Axes: B sequence, T response token, N token (flat), V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goldpanner.train import grpo
from goldpanner.train.config import RLVRConfig
from goldpanner.train.ppo import Critic
from goldpanner.train.rows import TokenRow, by_length, collate, response_logits, response_outputs, token_logprobs


def kl_k3(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """k3 = pi_ref / pi - log(pi_ref / pi) - 1 >= 0: unbiased for KL(pi || pi_ref) when tokens are drawn from pi
    (Schulman 2020, "Approximating KL divergence"; arXiv:2402.03300, eq. 4).

    As a loss its gradient is not that of the KL; multiplied by `grpo.ratio` it is (DeepSeek-V3.2, arXiv:2512.02556).
    Log-probabilities in nats, shapes (B, T), (B, T) -> (B, T). Raises InputError where the shapes differ.
    """
    grpo.check_shape("reference log-probabilities", reference_logp_BT, logp_BT.shape)
    log_ratio = reference_logp_BT - logp_BT
    return log_ratio.exp() - log_ratio - 1


def entropy(logits_NV: Tensor) -> Tensor:
    """H = -sum_v p_v log p_v of each row's softmax, in nats. Shape (N, V) -> (N,)."""
    logp = logits_NV.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


@dataclass(frozen=True)
class Totals:
    """What a reduction divides by, counted over the whole optimiser step, skipped groups and rows included."""

    sequences: int
    """Completions in the step."""
    tokens: int
    """Response tokens in the step."""
    max_tokens: int
    """Token limit of one completion: Dr. GRPO's constant."""


def reduce_loss(loss_BT: Tensor, mask_BT: Tensor, reduction: grpo.Reduction, totals: Totals) -> Tensor:
    """Sum the token losses of some rows of a step to their share of the step's loss.

    - sequence-mean: 1/N sum_i 1/|y_i| sum_t l_it            GRPO (arXiv:2402.03300, eq. 3): every completion weighs 1
    - token-mean:    sum_it l_it / sum_i |y_i|               DAPO (arXiv:2503.14476, eq. 8): every token weighs 1
    - constant:      sum_it l_it / (N L), L = max_tokens     Dr. GRPO (arXiv:2503.20783): no length bias
    - sequence-sum:  1/N sum_i sum_t l_it                    the policy gradient itself: log pi(y) is a sum over tokens

    N, |y| and L come from `totals`, so rows without a gradient may be left out and micro-batches simply add up.

    Args:
        loss_BT: token losses, shape (B, T).
        mask_BT: which cells hold a response token, shape (B, T) bool.
        reduction: one of the four.
        totals: of the whole step.

    Returns:
        The rows' share of the step's loss, shape ().

    Raises:
        InputError: shapes that differ.
    """
    grpo.check_shape("mask", mask_BT, loss_BT.shape)
    # where, not a product: a padded position may hold inf, and inf * 0 is NaN
    loss_B = torch.where(mask_BT, loss_BT, 0.0).sum(1)
    if reduction == "sequence-mean":
        return (loss_B / mask_BT.sum(1).clamp(min=1)).sum() / totals.sequences
    if reduction == "token-mean":
        return loss_B.sum() / max(totals.tokens, 1)
    if reduction == "constant":
        return loss_B.sum() / (totals.sequences * totals.max_tokens)
    return loss_B.sum() / totals.sequences


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass over the rows of an update measured."""

    loss: float
    kl: float | None
    """Mean k3 per token, None without a reference."""
    clipped: float
    """Share of the tokens with an advantage on which the variant's clip was active."""
    value_loss: float | None = None
    """Mean value loss per token, None without a critic."""


def add_gradient(
    model: Any,
    rows: Sequence[TokenRow],
    advantage_B: Tensor,
    config: RLVRConfig,
    *,
    old_logp: Sequence[Tensor] | None = None,
    reference: Any = None,
    every_row: bool = False,
    critic: Critic | None = None,
) -> Pass:
    """Add the gradient of the objective over B rows to the model's.

    Args:
        model: a causal language model; its parameters' `.grad` grows.
        rows: B prompts with their responses: the whole of an optimizer step.
        advantage_B: their advantages, shape (B,); not looked at with a `critic`, which has its own for each token.
        config: the variant, its settings, the weights of the other terms, and tokens_per_batch.
        old_logp: each row's token log-probabilities, nats, shape (T,), under the policy that drew it; None: on-policy.
        reference: the model to which the KL term is measured; None: no KL term.
        every_row: compute all rows, not only the `rows_to_compute`; the result is the same.
        critic: values and advantages of the B rows (PPO).

    Returns:
        The loss, and what was measured on the way.

    Raises:
        InputError: the variant does not suit the group size, or its loss has another shape than (B, T).
    """
    variant = config.resolve_variant()
    totals = Totals(len(rows), sum(len(row.response) for row in rows), config.max_tokens)
    advantages = advantage_B.tolist() if critic is None else critic.reward
    weights = dict.fromkeys(range(len(rows)), 1) if every_row else rows_to_compute(rows, advantages, config)
    computed = list(weights)
    precision = (config.temperature, config.autocast)
    loss_sum = kl_sum = clipped = pushed = value_sum = 0.0
    for chunk in by_length([rows[i] for i in computed], config.tokens_per_batch):
        index = [computed[i] for i in chunk]
        batch = collate([rows[i] for i in index], model.device)
        if critic is None:
            logits, advantage = response_logits(model, batch, *precision), advantage_B[index]
        else:
            logits, states_ND = response_outputs(model, batch, *precision)
            advantage = batch.scatter(torch.cat([critic.advantage[i] for i in index]))
        logp_BT = token_logprobs(logits, batch)
        advantage, weight = advantage.to(logp_BT), logp_BT.new_tensor([weights[i] for i in index])[:, None]
        old_BT = logp_BT.detach() if old_logp is None else batch.scatter(torch.cat([old_logp[i] for i in index]))
        loss_BT, clipped_BT = variant.token_loss(logp_BT, old_BT, advantage, batch.mask_BL)
        if reference is not None:
            with torch.no_grad():
                reference_BT = token_logprobs(response_logits(reference, batch, *precision), batch)
            kl_BT = kl_k3(logp_BT, reference_BT)
            kl_sum += float((weight * kl_BT.detach()).sum())
            if config.unbiased_kl:
                kl_BT = kl_BT * grpo.ratio(logp_BT, old_BT)
            loss_BT = loss_BT + config.kl * kl_BT
        if critic is not None:
            value_BT = critic.loss(states_ND, batch, index, config.value_clip)
            value_sum += float((weight * value_BT.detach()).sum())
            loss_BT = loss_BT + config.value_weight * value_BT
        loss = reduce_loss(weight * loss_BT, batch.mask_BL, variant.reduction, totals)
        if config.entropy > 0:
            entropy_BT = batch.scatter(entropy(logits))
            loss = loss - config.entropy * (weight * entropy_BT).sum() / totals.tokens
        loss.backward()
        loss_sum += float(loss.detach())
        pushed_BT = weight * (batch.mask_BL & grpo.per_token(advantage != 0, logp_BT))
        pushed += float(pushed_BT.sum())
        clipped += float((pushed_BT * clipped_BT).sum())
    tokens = max(totals.tokens, 1)
    return Pass(
        loss_sum,
        None if reference is None else kl_sum / tokens,
        clipped / max(pushed, 1),
        None if critic is None else value_sum / tokens,
    )


def rows_to_compute(rows: Sequence[TokenRow], advantages: Sequence[float | None], config: RLVRConfig) -> dict[int, int]:
    """Return which rows must be computed, and how often each counts.

    Rows of advantage 0 (all of a group that is not mixed; unjudged members) have no gradient unless there is a KL term,
    an entropy term or a critic, and are left out; denominators still count them. Equal rows, of which a confident
    policy draws many, are computed once.

    Args:
        rows: B prompts with their responses.
        advantages: of each row; with a critic its reward instead, None where unjudged.
        config: the settings that say whether rows of advantage 0 have a gradient.
    """
    every_row = config.kl > 0 or config.entropy > 0 or config.resolve_variant().critic
    first: dict[tuple[tuple[int, ...], tuple[int, ...], float | None], int] = {}
    count: dict[int, int] = {}
    for i, (row, advantage) in enumerate(zip(rows, advantages)):
        if advantage != 0 or every_row:
            i = first.setdefault((tuple(row.prompt), tuple(row.response), advantage), i)
            count[i] = count.get(i, 0) + 1
    return count


def row_logprobs(model: Any, rows: Sequence[TokenRow], config: RLVRConfig) -> list[Tensor]:
    """Return each row's token log-probabilities, nats, shape (T,), under `model` at the config's temperature, without
    gradient.
    """
    out: list[Tensor] = [torch.empty(0)] * len(rows)
    with torch.no_grad():
        for chunk in by_length(rows, config.tokens_per_batch):
            batch = collate([rows[i] for i in chunk], model.device)
            logits_NV = response_logits(model, batch, config.temperature, config.autocast)
            logp_BT = token_logprobs(logits_NV, batch)
            for i, values, mask in zip(chunk, logp_BT, batch.mask_BL):
                out[i] = values[mask]
    return out
