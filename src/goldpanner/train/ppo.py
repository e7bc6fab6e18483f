"""PPO's own equations as pure functions (the clipped policy loss is `grpo.policy_loss`), and the value head.

A token is an action, the text before it the state, and the verdict the reward, given at the last token.
Axes: B sequence, T response token (padded on the right; `mask_BT` says which cells hold a token).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goldpanner.train.config import RLVRConfig
from goldpanner.train.rows import Batch, TokenRow, by_length, collate, response_outputs, token_logprobs


def gae(reward_BT: Tensor, value_BT: Tensor, mask_BT: Tensor, *, discount: float, gae_lambda: float) -> Tensor:
    """A_t = sum_l (discount * lambda)^l delta_{t+l}, delta_t = r_t + discount V(s_{t+1}) - V(s_t), V = 0 after the end
    (generalised advantage estimation, arXiv:1506.02438, eq. 16), by the recursion A_t = delta_t + discount lambda
    A_{t+1} (arXiv:1707.06347, eq. 11). Padded cells get 0.

    With lambda = 1 and discount 1 it is (reward of the sequence) - V(s_t).

    Args:
        reward_BT: the reward that each token is given, shape (B, T).
        value_BT: V(s_t), the value of the text before each token, in units of the reward, shape (B, T).
        mask_BT: which cells hold a token, shape (B, T) bool.
        discount: of a reward one token later, in (0, 1].
        gae_lambda: 0: one step and then the value; 1: the whole rest of the sequence.

    Returns:
        Advantages in units of the reward, shape (B, T).
    """
    reward_BT, value_BT = (torch.where(mask_BT, x, 0.0) for x in (reward_BT, value_BT))
    advantage_BT = torch.zeros_like(value_BT)
    later_B = next_value_B = value_BT.new_zeros(len(value_BT))
    for t in reversed(range(value_BT.shape[1])):
        delta_B = reward_BT[:, t] + discount * next_value_B - value_BT[:, t]
        later_B = delta_B + discount * gae_lambda * later_B
        advantage_BT[:, t] = later_B
        next_value_B = value_BT[:, t]
    return advantage_BT


def at_last_token(reward_B: Tensor, mask_BT: Tensor) -> Tensor:
    """Return the sequences' rewards at their last tokens, 0 elsewhere. Shapes (B,), (B, T) bool -> (B, T)."""
    last_BT = mask_BT & (mask_BT.cumsum(1) == mask_BT.sum(1, keepdim=True))
    return torch.where(last_BT, reward_B[:, None], 0.0)


def value_loss(value_BT: Tensor, old_value_BT: Tensor, return_BT: Tensor, *, clip: float) -> Tensor:
    """max((V - R)^2, (V_old + clamp(V - V_old, -clip, clip) - R)^2) / 2 for each token.

    The squared error of arXiv:1707.06347, eq. 9, with the clip of its authors' code (described in arXiv:2005.12729,
    section 3): V moves no further than `clip` from what it was when the rollouts were judged. R = A + V_old, with A
    from `gae`, is the TD(lambda) return.

    Args:
        value_BT: V, with gradient, in units of the reward, shape (B, T).
        old_value_BT: V_old, the value before the update, shape (B, T).
        return_BT: R, shape (B, T).
        clip: how far V may move from V_old, in units of the reward.

    Returns:
        The loss of each token, in units of the reward squared, shape (B, T).
    """
    near_BT = old_value_BT + (value_BT - old_value_BT).clamp(-clip, clip)
    return torch.maximum((value_BT - return_BT).square(), (near_BT - return_BT).square()) / 2


def whiten(advantage_BT: Tensor, mask_BT: Tensor, eps: float = 1e-8) -> Tensor:
    """(A - mean) / (std + eps) over all tokens of the batch, as in the code of PPO's authors; padded cells get 0.

    A batch in which all tokens have one advantage gets 0. Shapes (B, T), (B, T) bool -> (B, T).
    """
    tokens_N = advantage_BT[mask_BT]
    if not len(tokens_N):
        return torch.zeros_like(advantage_BT)
    return torch.where(mask_BT, (advantage_BT - tokens_N.mean()) / (tokens_N.std(correction=0) + eps), 0.0)


def value_head(model: Any) -> torch.nn.Linear:
    """Return a fresh head, V(s) = w h + b on the last hidden state h of any causal language model.

    w = 0 and b = 0, so the first baseline is 0.
    """
    head = torch.nn.utils.skip_init(torch.nn.Linear, model.config.get_text_config().hidden_size, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head.to(device=model.device, dtype=model.dtype)


@dataclass(frozen=True)
class Critic:
    """A value head, and its measurements of B rows before the update; each list holds a tensor (T,) for a row."""

    head: torch.nn.Linear
    reward: Sequence[float | None]
    """None where unjudged: such a row moves neither the policy nor the value."""
    old_value: Sequence[Tensor]
    """V_old of each token."""
    advantage: Sequence[Tensor]
    """Of each token, whitened if so set; 0 where unjudged."""
    returns: Sequence[Tensor]
    """R = A + V_old of each token."""

    def choose(self, index: Sequence[int]) -> "Critic":
        """Return some of the rows."""
        value, advantage, returns = (
            [part[i] for i in index] for part in (self.old_value, self.advantage, self.returns)
        )
        return Critic(self.head, [self.reward[i] for i in index], value, advantage, returns)

    def loss(self, states_ND: Tensor, batch: Batch, index: Sequence[int], clip: float) -> Tensor:
        """Return the value loss of the tokens of rows `index`, 0 where unjudged, shape (B, T).

        `states_ND` are the batch's last hidden states, one for each of its N tokens; `clip` as in `value_loss`.
        """
        value_BT = batch.scatter(self.head(states_ND).squeeze(-1))
        old_BT, return_BT = (batch.scatter(torch.cat([x[i] for i in index])) for x in (self.old_value, self.returns))
        judged_B = value_BT.new_tensor([self.reward[i] is not None for i in index])
        return judged_B[:, None] * value_loss(value_BT, old_BT, return_BT, clip=clip)


def assess(
    model: Any, head: torch.nn.Linear, rows: Sequence[TokenRow], reward: Sequence[float | None], config: RLVRConfig
) -> tuple[list[Tensor], Critic]:
    """Measure B rows before an update, without gradient.

    Args:
        model: the policy.
        head: the value head on its last hidden states.
        rows: B prompts with their responses.
        reward: of each row, None where unjudged.
        config: discount, gae_lambda, whiten, temperature, tokens_per_batch, autocast.

    Returns:
        Each row's token log-probabilities, nats, shape (T,); and the critic's values, advantages and returns of them.
    """
    logp: list[Tensor] = [torch.empty(0)] * len(rows)
    value = list(logp)
    with torch.no_grad():
        for chunk in by_length(rows, config.tokens_per_batch):
            batch = collate([rows[i] for i in chunk], model.device)
            logits, states_ND = response_outputs(model, batch, config.temperature, config.autocast)
            logp_BT, value_BT = token_logprobs(logits, batch), batch.scatter(head(states_ND).squeeze(-1))
            for i, logp_T, value_T, mask_T in zip(chunk, logp_BT, value_BT, batch.mask_BL):
                logp[i], value[i] = logp_T[mask_T], value_T[mask_T]
    value_BT = torch.nn.utils.rnn.pad_sequence(value, batch_first=True)
    lengths_B = torch.tensor([len(v) for v in value], device=value_BT.device)
    mask_BT = torch.arange(value_BT.shape[1], device=value_BT.device) < lengths_B[:, None]
    reward_BT = at_last_token(value_BT.new_tensor([0.0 if r is None else r for r in reward]), mask_BT)
    advantage_BT = gae(reward_BT, value_BT, mask_BT, discount=config.discount, gae_lambda=config.gae_lambda)
    return_BT = advantage_BT + value_BT
    mask_BT &= value_BT.new_tensor([r is not None for r in reward], dtype=torch.bool)[:, None]
    pushing_BT = whiten(advantage_BT, mask_BT) if config.whiten else torch.where(mask_BT, advantage_BT, 0.0)
    sizes = lengths_B.tolist()
    advantage, returns = ([x[:size] for x, size in zip(of_BT, sizes)] for of_BT in (pushing_BT, return_BT))
    return logp, Critic(head, reward, value, advantage, returns)
