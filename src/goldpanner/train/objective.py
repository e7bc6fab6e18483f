"""The gradient of a GRPO-family objective on token rows: `grpo`'s equations applied to a model, in micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goldpanner.train import grpo
from goldpanner.train.ppo import Critic
from goldpanner.train.rows import Row, by_length, collate, response_logits, response_outputs, token_logprobs


@dataclass(frozen=True)
class Objective:
    """loss = reduce(policy_loss + kl * [rho] k3 + value_weight * value_loss) - entropy * (mean token entropy)."""

    reduction: grpo.Reduction
    max_tokens: int
    """Token limit of a completion (the constant of Dr. GRPO)."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl: float = 0.0
    unbiased_kl: bool = False
    """Weight k3 by the ratio, so that its gradient is the KL's."""
    entropy: float = 0.0
    temperature: float = 1.0
    cells: int = 2048
    """Padded tokens per forward pass."""
    autocast: bool = False
    """Whether the model computes in bfloat16."""
    critic: bool = False
    """Whether a value head is trained along (PPO)."""
    value_weight: float = 0.5
    value_clip: float = 0.2

    @property
    def needs_every_row(self) -> bool:
        """Whether rows of zero advantage carry a gradient too: with a KL term, an entropy term or a critic they do."""
        return self.kl > 0 or self.entropy > 0 or self.critic


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass over the rows of an update found."""

    loss: float
    kl: float | None
    """Mean k3 per token, None without a reference."""
    clipped: float
    """Share of the tokens with an advantage whose ratio was clipped."""
    value_loss: float | None = None
    """Mean value loss per token, None without a critic."""


def add_gradient(
    model: Any,
    rows: Sequence[Row],
    advantage_B: Tensor,
    objective: Objective,
    *,
    old_logp: Sequence[Tensor] | None = None,
    reference: Any = None,
    every_row: bool = False,
    critic: Critic | None = None,
) -> Pass:
    """Add the gradient of the objective over B rows to the model's; return what was seen on the way.

    Only `distinct` rows are computed, unless `every_row` asks for all; the result is the same. `old_logp` holds each
    row's token log-probabilities under the policy that drew it; None means the present one (on-policy). With a
    `critic` the tokens' advantages are its own, and `advantage_B` is not looked at.
    """
    totals = grpo.Totals(len(rows), sum(len(row.response) for row in rows), objective.max_tokens)
    advantages = advantage_B.tolist() if critic is None else critic.reward
    weights = dict.fromkeys(range(len(rows)), 1) if every_row else distinct(rows, advantages, objective)
    chosen = list(weights)
    clip = {"clip_low": objective.clip_low, "clip_high": objective.clip_high}
    how = (objective.temperature, objective.autocast)
    loss_sum = kl_sum = clipped = pushed = value_sum = 0.0
    for chunk in by_length([rows[i] for i in chosen], objective.cells):
        index = [chosen[i] for i in chunk]
        batch = collate([rows[i] for i in index], model.device)
        if critic is None:
            logits, advantage = response_logits(model, batch, *how), advantage_B[index]
        else:
            logits, states_ND = response_outputs(model, batch, *how)
            advantage = batch.scatter(torch.cat([critic.advantage[i] for i in index]))
        logp_BT = token_logprobs(logits, batch)
        advantage, weight = advantage.to(logp_BT), logp_BT.new_tensor([weights[i] for i in index])[:, None]
        old_BT = logp_BT.detach() if old_logp is None else batch.scatter(torch.cat([old_logp[i] for i in index]))
        loss_BT = grpo.policy_loss(logp_BT, old_BT, advantage, **clip)
        if reference is not None:
            with torch.no_grad():
                reference_BT = token_logprobs(response_logits(reference, batch, *how), batch)
            kl_BT = grpo.kl_k3(logp_BT, reference_BT)
            kl_sum += float((weight * kl_BT.detach()).sum())
            if objective.unbiased_kl:
                kl_BT = kl_BT * grpo.ratio(logp_BT, old_BT)
            loss_BT = loss_BT + objective.kl * kl_BT
        if critic is not None:
            value_BT = critic.loss(states_ND, batch, index, objective.value_clip)
            value_sum += float((weight * value_BT.detach()).sum())
            loss_BT = loss_BT + objective.value_weight * value_BT
        loss = grpo.reduce_loss(weight * loss_BT, batch.mask_BL, objective.reduction, totals)
        if objective.entropy > 0:
            entropy_BT = batch.scatter(grpo.entropy(logits))
            loss = loss - objective.entropy * (weight * entropy_BT).sum() / totals.tokens
        loss.backward()
        loss_sum += float(loss.detach())
        pushed_BT = weight * (batch.mask_BL & grpo.per_token(advantage != 0, logp_BT))
        pushed += float(pushed_BT.sum())
        clipped += float((pushed_BT * grpo.clipped(logp_BT.detach(), old_BT, advantage, **clip)).sum())
    tokens = max(totals.tokens, 1)
    return Pass(
        loss_sum,
        None if reference is None else kl_sum / tokens,
        clipped / max(pushed, 1),
        None if critic is None else value_sum / tokens,
    )


def distinct(rows: Sequence[Row], advantages: Sequence[float | None], objective: Objective) -> dict[int, int]:
    """Return which rows must be computed, and how often each counts.

    Rows of advantage 0 (all of a group that is not mixed; unjudged members) have no gradient unless there is a KL term,
    an entropy term or a critic, and are left out; denominators still count them. Equal rows, of which a confident
    policy draws many, are computed once. With a critic their rewards stand for the advantages: None where unjudged.
    """
    first: dict[Any, int] = {}
    count: dict[int, int] = {}
    for i, (row, advantage) in enumerate(zip(rows, advantages)):
        if advantage != 0 or objective.needs_every_row:
            i = first.setdefault((tuple(row.prompt), tuple(row.response), advantage), i)
            count[i] = count.get(i, 0) + 1
    return count


def score(model: Any, rows: Sequence[Row], objective: Objective) -> list[Tensor]:
    """Return each row's token log-probabilities under `model` at the objective's temperature, without gradient."""
    out: list[Tensor] = [torch.empty(0)] * len(rows)
    with torch.no_grad():
        for chunk in by_length(rows, objective.cells):
            batch = collate([rows[i] for i in chunk], model.device)
            logits_NV = response_logits(model, batch, objective.temperature, objective.autocast)
            logp_BT = token_logprobs(logits_NV, batch)
            for i, values, mask in zip(chunk, logp_BT, batch.mask_BL):
                out[i] = values[mask]
    return out
