"""The gradient of a GRPO-family objective on token rows: `grpo`'s equations applied to a model, in micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goldpanner.train import grpo
from goldpanner.train.rows import Row, by_length, collate, response_logits, token_logprobs


@dataclass(frozen=True)
class Objective:
    """loss = reduce(policy_loss + kl * [rho] k3) - entropy * (mean token entropy)."""

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

    @property
    def needs_every_row(self) -> bool:
        """Whether rows of zero advantage carry a gradient too: with a KL or an entropy term they do."""
        return self.kl > 0 or self.entropy > 0


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass over the rows of an update found."""

    loss: float
    kl: float | None
    """Mean k3 per token, None without a reference."""
    clipped: float
    """Share of the tokens with an advantage whose ratio was clipped."""


def add_gradient(
    model: Any,
    rows: Sequence[Row],
    advantage_B: Tensor,
    objective: Objective,
    *,
    old_logp: Sequence[Tensor] | None = None,
    reference: Any = None,
    every_row: bool = False,
) -> Pass:
    """Add the gradient of the objective over B rows to the model's; return what was seen on the way.

    Only `distinct` rows are computed, unless `every_row` asks for all; the result is the same. `old_logp` holds each
    row's token log-probabilities under the policy that drew it; None means the present one (on-policy).
    """
    totals = grpo.Totals(len(rows), sum(len(row.response) for row in rows), objective.max_tokens)
    advantages = advantage_B.tolist()
    weights = dict.fromkeys(range(len(rows)), 1) if every_row else distinct(rows, advantages, objective)
    chosen = list(weights)
    clip = {"clip_low": objective.clip_low, "clip_high": objective.clip_high}
    loss_sum = kl_sum = clipped = pushed = 0.0
    for chunk in by_length([rows[i] for i in chosen], objective.cells):
        index = [chosen[i] for i in chunk]
        batch = collate([rows[i] for i in index], model.device)
        logits = response_logits(model, batch, objective.temperature)
        logp_BT = token_logprobs(logits, batch)
        advantage, weight = advantage_B[index].to(logp_BT), logp_BT.new_tensor([weights[i] for i in index])[:, None]
        old_BT = logp_BT.detach() if old_logp is None else batch.scatter(torch.cat([old_logp[i] for i in index]))
        loss_BT = grpo.policy_loss(logp_BT, old_BT, advantage, **clip)
        if reference is not None:
            with torch.no_grad():
                reference_BT = token_logprobs(response_logits(reference, batch, objective.temperature), batch)
            kl_BT = grpo.kl_k3(logp_BT, reference_BT)
            kl_sum += float((weight * kl_BT.detach()).sum())
            if objective.unbiased_kl:
                kl_BT = kl_BT * grpo.ratio(logp_BT, old_BT)
            loss_BT = loss_BT + objective.kl * kl_BT
        loss = grpo.reduce_loss(weight * loss_BT, batch.mask_BL, objective.reduction, totals)
        if objective.entropy > 0:
            entropy_BT = batch.scatter(grpo.entropy(logits))
            loss = loss - objective.entropy * (weight * entropy_BT).sum() / totals.tokens
        loss.backward()
        loss_sum += float(loss.detach())
        pushed_BT = weight * (batch.mask_BL & (advantage != 0)[:, None])
        pushed += float(pushed_BT.sum())
        clipped += float((pushed_BT * grpo.clipped(logp_BT.detach(), old_BT, advantage, **clip)).sum())
    return Pass(loss_sum, kl_sum / max(totals.tokens, 1) if reference is not None else None, clipped / max(pushed, 1))


def distinct(rows: Sequence[Row], advantages: Sequence[float], objective: Objective) -> dict[int, int]:
    """Return which rows must be computed, and how often each counts.

    Rows of advantage 0 (all of a dead group; unjudged members) have no gradient unless there is a KL or an entropy
    term, and are left out; denominators still count them. Equal rows, of which a confident policy draws many, are
    computed once.
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
            logp_BT = token_logprobs(response_logits(model, batch, objective.temperature), batch)
            for i, values, mask in zip(chunk, logp_BT, batch.mask_BL):
                out[i] = values[mask]
    return out
