"""Group-relative policy optimisation as pure functions: an equation each, the variants side by side in `VARIANTS`.

Axes: P prompt (group), G group member, B sequence (all groups flattened), T response token. Rewards are NaN where a
verdict is UNJUDGED: such a member is left out of its group's mean and std and gets advantage 0, so it moves nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from goldpanner.errors import InputError

Reduction = Literal["sequence-mean", "token-mean", "constant", "sequence-sum"]
VariantName = Literal["grpo", "dr-grpo", "dapo", "rloo", "maxrl", "pkpo", "reinforce", "ppo"]


def group_advantages(reward_PG: Tensor, eps: float = 1e-4) -> Tensor:
    """GRPO: A_i = (r_i - mean(r)) / (std(r) + eps) within the group (DeepSeekMath, arXiv:2402.03300, section 4.1.2).

    std is the unbiased one (divides by G - 1), and eps = 1e-4, as in TRL's GRPOTrainer with scale_rewards="group".
    Shape (P, G) -> (P, G). A group that is not mixed (all judged rewards equal) gets exactly 0.
    """
    centred = centred_advantages(reward_PG)
    judged = (~reward_PG.isnan()).sum(1, keepdim=True)
    std = (centred.square().sum(1, keepdim=True) / (judged - 1).clamp(min=1)).sqrt()
    return centred / (std + eps)


def centred_advantages(reward_PG: Tensor) -> Tensor:
    """Dr. GRPO: A_i = r_i - mean(r), without the std, which over-weights very easy and very hard prompts
    (Understanding R1-Zero-Like Training, arXiv:2503.20783, section 3.1). Shape (P, G) -> (P, G).
    """
    _check_groups(reward_PG)
    centred = reward_PG - reward_PG.nanmean(1, keepdim=True)
    return torch.where(mixed_groups(reward_PG)[:, None], centred.nan_to_num(nan=0.0), 0.0)


def rloo_advantages(reward_PG: Tensor) -> Tensor:
    """RLOO: A_i = r_i - mean of the other members' rewards = (r_i - mean(r)) G / (G - 1)
    (Kool et al. 2019; Back to Basics, arXiv:2402.14740, section 2.3). Shape (P, G) -> (P, G).
    """
    centred = centred_advantages(reward_PG)
    judged = (~reward_PG.isnan()).sum(1, keepdim=True)
    return centred * judged / (judged - 1).clamp(min=1)


def maxrl_advantages(reward_PG: Tensor) -> Tensor:
    """MaxRL: A_i = (r_i - mean(r)) / mean(r), 0 where the mean is 0 (Maximum Likelihood RL, arXiv:2602.02710,
    algorithm 1): the gradient of log P(correct) = -sum_k (1 - p)^k / k, truncated. Without the centring the sum ends at
    k = G; centring, and giving nothing to a group without a success, takes its last term away: it ends at G - 1.
    Defined for rewards >= 0. Shape (P, G) -> (P, G).
    """
    if (reward_PG < 0).any():
        raise InputError(f"maxrl: a reward is {float(reward_PG.nan_to_num().min())}; MaxRL needs rewards >= 0")
    centred = centred_advantages(reward_PG)
    mean = reward_PG.nan_to_num(nan=0.0).sum(1, keepdim=True) / (~reward_PG.isnan()).sum(1, keepdim=True).clamp(min=1)
    return torch.where(mean > 0, centred / mean.clamp(min=torch.finfo(mean.dtype).tiny), 0.0)


def pkpo_advantages(reward_PG: Tensor, k: int = 2) -> Tensor:
    """PKPO: the gradient of pass@k = 1 - (1 - p)^k from n samples, c of them right (arXiv:2505.15201).

    The paper gives a right sample k/n and a wrong one (k/n) rho(n-1, c, k-1), rho(n, c, k) = 1 - C(n-c, k) / C(n, k)
    (theorem 2). Less the baseline that it recommends, "loo - 1" (eq. 33), (k/n) rho of the n-1 others at k-1, a wrong
    one keeps 0 and a right one (k/n) C(n-c, k-1) / C(n-1, k-1). Here n times that: `reduce_loss` takes the mean.
    k = 1 is REINFORCE. A group with fewer than k judged members gets 0. Rewards must be 0 or 1.
    Shape (P, G) -> (P, G).
    """
    _check_groups(reward_PG)
    if not 1 <= k <= reward_PG.shape[1]:
        raise InputError(f"pkpo: k is {k} and the group size {reward_PG.shape[1]}; give a k from 1 to the group size")
    right, judged = reward_PG == 1, ~reward_PG.isnan()
    if not (right | (reward_PG == 0) | ~judged).all():
        raise InputError("pkpo: a reward is neither 0 nor 1; PKPO is defined here for right and wrong")
    n, c = judged.sum(1, keepdim=True), right.sum(1, keepdim=True)
    j = torch.arange(k - 1).to(reward_PG)  # C(n-c, k-1) / C(n-1, k-1) as a product, an empty one for k = 1
    others = ((n - c - j).clamp(min=0) / (n - 1 - j).clamp(min=1)).prod(1, keepdim=True)
    return torch.where(right & (n >= k), k * others, 0.0)


def plain_rewards(reward_PG: Tensor) -> Tensor:
    """REINFORCE without a baseline: A_i = r_i (Williams 1992). An all-correct group pushes here. (P, G) -> (P, G)."""
    _check_groups(reward_PG, smallest=1)
    return reward_PG.nan_to_num(nan=0.0)


def ratio(logp_BT: Tensor, old_logp_BT: Tensor) -> Tensor:
    """rho_t = pi(y_t) / pi_old(y_t), pi_old the policy that drew the tokens. Shapes (B, T), (B, T) -> (B, T)."""
    _check_shape("old log-probabilities", old_logp_BT, logp_BT.shape)
    return (logp_BT - old_logp_BT.detach()).exp()


def policy_loss(
    logp_BT: Tensor, old_logp_BT: Tensor, advantage: Tensor, *, clip_low: float, clip_high: float
) -> Tensor:
    """-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A) for each token.

    PPO's clipped objective (arXiv:1707.06347, eq. 7) as GRPO uses it (arXiv:2402.03300, eq. 3); clip_high > clip_low
    is DAPO's clip-higher (arXiv:2503.14476, eq. 10). On-policy (rho = 1) its gradient is that of -A log pi.
    One advantage for each sequence, or for each of its tokens. Shapes (B, T), (B, T), (B,) or (B, T) -> (B, T).
    """
    rho, advantage = ratio(logp_BT, old_logp_BT), per_token(advantage, logp_BT)
    return -torch.minimum(rho * advantage, rho.clamp(1 - clip_low, 1 + clip_high) * advantage)


def clipped(logp_BT: Tensor, old_logp_BT: Tensor, advantage: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Return where the clip is active, i.e. where `policy_loss` has no gradient although A is not 0. (B, T) bool."""
    rho, advantage = ratio(logp_BT, old_logp_BT), per_token(advantage, logp_BT)
    return ((rho > 1 + clip_high) & (advantage > 0)) | ((rho < 1 - clip_low) & (advantage < 0))


def per_token(advantage: Tensor, logp_BT: Tensor) -> Tensor:
    """Return advantages that broadcast over tokens: (B,) -> (B, 1); (B, T) as they are."""
    _check_shape("advantages", advantage, logp_BT.shape[: min(advantage.ndim, 2)])
    return advantage[:, None] if advantage.ndim == 1 else advantage


def kl_k3(logp_BT: Tensor, reference_logp_BT: Tensor) -> Tensor:
    """k3 = pi_ref / pi - log(pi_ref / pi) - 1 >= 0: unbiased for KL(pi || pi_ref) when tokens are drawn from pi
    (Schulman 2020, "Approximating KL divergence"; arXiv:2402.03300, eq. 4). Shapes (B, T), (B, T) -> (B, T).

    As a loss its gradient is not that of the KL; multiplied by `ratio` it is (DeepSeek-V3.2, arXiv:2512.02556).
    """
    _check_shape("reference log-probabilities", reference_logp_BT, logp_BT.shape)
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


def reduce_loss(loss_BT: Tensor, mask_BT: Tensor, reduction: Reduction, totals: Totals) -> Tensor:
    """Sum the per-token losses of some rows of a step to their share of the step's scalar loss; () tensor.

    - sequence-mean: 1/N sum_i 1/|y_i| sum_t l_it            GRPO (arXiv:2402.03300, eq. 3): every completion weighs 1
    - token-mean:    sum_it l_it / sum_i |y_i|               DAPO (arXiv:2503.14476, eq. 8): every token weighs 1
    - constant:      sum_it l_it / (N L), L = max_tokens     Dr. GRPO (arXiv:2503.20783): no length bias
    - sequence-sum:  1/N sum_i sum_t l_it                    the policy gradient itself: log pi(y) is a sum over tokens

    N, |y| and L come from `totals`, so rows without a gradient may be left out and micro-batches simply add up.
    """
    _check_shape("mask", mask_BT, loss_BT.shape)
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
class Groups:
    """P groups, each in exactly one state; boolean tensors of shape (P,)."""

    mixed: Tensor
    """At least two different judged rewards: the only ones with a group-relative advantage."""
    all_wrong: Tensor
    """All judged rewards equal and below `threshold`: nothing to reinforce."""
    all_correct: Tensor
    """All judged rewards equal and at least `threshold`: nothing left to learn."""
    unjudged: Tensor
    """No member was judged: nothing is known of the group."""


def group_states(reward_PG: Tensor, threshold: float = 1.0) -> Groups:
    """Classify groups. For binary rewards and success probability p the expected shares are
    1 - p^G - (1 - p)^G mixed, (1 - p)^G all wrong and p^G all correct.
    """
    mixed = mixed_groups(reward_PG)
    unjudged = reward_PG.isnan().all(1)
    best = reward_PG.nan_to_num(nan=-torch.inf).amax(1)
    equal = ~mixed & ~unjudged
    return Groups(mixed, equal & (best < threshold), equal & (best >= threshold), unjudged)


def mixed_groups(reward_PG: Tensor) -> Tensor:
    """Return which groups hold at least two different judged rewards, shape (P, G) -> (P,) bool."""
    _check_groups(reward_PG, smallest=1)
    return reward_PG.nan_to_num(nan=-torch.inf).amax(1) > reward_PG.nan_to_num(nan=torch.inf).amin(1)


@dataclass(frozen=True)
class Variant:
    """What tells one member of the family from another; everything else they share."""

    advantages: Callable[[Tensor], Tensor]
    reduction: Reduction
    clip_low: float = 0.2
    clip_high: float = 0.2
    dynamic_sampling: bool = False
    """Draw further prompts until the step holds `prompts_per_step` mixed groups."""
    critic: bool = False
    """A learnt value of each token is the baseline (`ppo`); the group has none to give."""


VARIANTS: dict[VariantName, Variant] = {
    "grpo": Variant(group_advantages, "sequence-mean"),
    "dr-grpo": Variant(centred_advantages, "constant"),
    "dapo": Variant(group_advantages, "token-mean", clip_high=0.28, dynamic_sampling=True),
    "rloo": Variant(rloo_advantages, "sequence-sum"),
    "maxrl": Variant(maxrl_advantages, "sequence-sum"),
    "pkpo": Variant(pkpo_advantages, "sequence-sum"),
    "reinforce": Variant(plain_rewards, "sequence-sum"),
    "ppo": Variant(plain_rewards, "token-mean", critic=True),
}
"""GRPO arXiv:2402.03300, Dr. GRPO 2503.20783, DAPO 2503.14476, RLOO 2402.14740, MaxRL 2602.02710, PKPO 2505.15201,
REINFORCE (Williams 1992), PPO 1707.06347.
"""


def _check_groups(reward_PG: Tensor, smallest: int = 2) -> None:
    if reward_PG.ndim != 2:
        raise InputError(f"rewards have shape {tuple(reward_PG.shape)}; give (prompts, group size)")
    if reward_PG.shape[1] < smallest:
        raise InputError(
            f"group size is {reward_PG.shape[1]}: a group of one has no mean to compare with; draw at least {smallest}"
        )


def _check_shape(what: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise InputError(f"{what} have shape {tuple(tensor.shape)}, expected {tuple(shape)}")
