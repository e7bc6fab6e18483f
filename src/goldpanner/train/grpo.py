"""Group-relative policy optimisation as pure functions: an equation each, the variants side by side in `VARIANTS`.

Axes: P prompt (group), G group member, B sequence (all groups flattened), T response token. Rewards are NaN where a
verdict is UNJUDGED: such a member is left out of its group's mean and std and gets advantage 0, so it moves nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from goldpanner.errors import InputError
from goldpanner.train.groups import check_groups, mixed_groups

Reduction = Literal["sequence-mean", "token-mean", "constant", "sequence-sum"]
"""How the token losses of a step become one number; see `reduce_loss`."""

# --- advantages: rewards of P groups, shape (P, G), NaN where unjudged -> (P, G), 0 where unjudged


def group_advantages(reward_PG: Tensor, eps: float = 1e-4) -> Tensor:
    """GRPO: A_i = (r_i - mean(r)) / (std(r) + eps) within the group (DeepSeekMath, arXiv:2402.03300, section 4.1.2).

    std is the unbiased one (divides by G - 1), and eps = 1e-4, as in TRL's GRPOTrainer with scale_rewards="group".

        >>> [f"{a:.2f}" for a in group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))[0]]
        ['1.50', '-0.50', '-0.50', '-0.50']

    Args:
        reward_PG: rewards, shape (P, G); NaN where unjudged.
        eps: added to the standard deviation, in units of the reward.

    Returns:
        Advantages, shape (P, G); exactly 0 in a group that is not mixed (all judged rewards equal).

    Raises:
        InputError: not a matrix, or groups of one.
    """
    centred = centred_advantages(reward_PG)
    judged = (~reward_PG.isnan()).sum(1, keepdim=True)
    std = (centred.square().sum(1, keepdim=True) / (judged - 1).clamp(min=1)).sqrt()
    return centred / (std + eps)


def centred_advantages(reward_PG: Tensor) -> Tensor:
    """Dr. GRPO: A_i = r_i - mean(r), without the std, which over-weights very easy and very hard prompts
    (Understanding R1-Zero-Like Training, arXiv:2503.20783, section 3.1).

        >>> centred_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]])).tolist()
        [[0.75, -0.25, -0.25, -0.25]]

    Args:
        reward_PG: rewards, shape (P, G); NaN where unjudged.

    Returns:
        Advantages in units of the reward, shape (P, G).

    Raises:
        InputError: not a matrix, or groups of one.
    """
    check_groups(reward_PG)
    centred = reward_PG - reward_PG.nanmean(1, keepdim=True)
    return torch.where(mixed_groups(reward_PG)[:, None], centred.nan_to_num(nan=0.0), 0.0)


def rloo_advantages(reward_PG: Tensor) -> Tensor:
    """RLOO: A_i = r_i - mean of the other members' rewards = (r_i - mean(r)) G / (G - 1)
    (Kool et al. 2019; Back to Basics, arXiv:2402.14740, section 2.3).

        >>> rloo_advantages(torch.tensor([[1.0, 0.0]])).tolist()
        [[1.0, -1.0]]

    Args:
        reward_PG: rewards, shape (P, G); NaN where unjudged.

    Returns:
        Advantages in units of the reward, shape (P, G).

    Raises:
        InputError: not a matrix, or groups of one.
    """
    centred = centred_advantages(reward_PG)
    judged = (~reward_PG.isnan()).sum(1, keepdim=True)
    return centred * judged / (judged - 1).clamp(min=1)


def maxrl_advantages(reward_PG: Tensor) -> Tensor:
    """MaxRL: A_i = (r_i - mean(r)) / mean(r), 0 where the mean is 0 (Maximum Likelihood RL, arXiv:2602.02710,
    algorithm 1): the gradient of log P(correct) = -sum_k (1 - p)^k / k, truncated. Without the centring the sum ends at
    k = G; centring, and giving nothing to a group without a success, takes its last term away: it ends at G - 1.

    Args:
        reward_PG: rewards >= 0, shape (P, G); NaN where unjudged.

    Returns:
        Advantages, shape (P, G).

    Raises:
        InputError: not a matrix, groups of one, or a negative reward.
    """
    if (reward_PG < 0).any():
        raise InputError(f"maxrl: a reward is {float(reward_PG.nan_to_num().min())}; MaxRL needs rewards >= 0")
    centred = centred_advantages(reward_PG)
    mean = reward_PG.nan_to_num(nan=0.0).sum(1, keepdim=True) / (~reward_PG.isnan()).sum(1, keepdim=True).clamp(min=1)
    return torch.where(mean > 0, centred / mean.clamp(min=torch.finfo(mean.dtype).tiny), 0.0)


def pkpo_advantages(reward_PG: Tensor, k: int = 2) -> Tensor:
    """PKPO: the gradient of pass@k = 1 - (1 - p)^k from n samples, c of them correct (arXiv:2505.15201).

    The paper gives a correct sample k/n and a wrong one (k/n) rho(n-1, c, k-1), rho(n, c, k) = 1 - C(n-c, k) / C(n, k)
    (theorem 2). Less the baseline that it recommends, "loo - 1" (eq. 33), (k/n) rho of the n-1 others at k-1, a wrong
    one keeps 0 and a correct one (k/n) C(n-c, k-1) / C(n-1, k-1). Here n times that: `reduce_loss` takes the mean.
    k = 1 is REINFORCE.

    Args:
        reward_PG: rewards, each 0 or 1, shape (P, G); NaN where unjudged.
        k: the k whose pass@k is trained for.

    Returns:
        Advantages, shape (P, G); 0 in a group with fewer than k judged members.

    Raises:
        InputError: not a matrix, groups of one, a k outside 1 ... G, or a reward that is neither 0 nor 1.
    """
    check_groups(reward_PG)
    if not 1 <= k <= reward_PG.shape[1]:
        raise InputError(f"pkpo: k is {k} and the group size {reward_PG.shape[1]}; give a k from 1 to the group size")
    correct, judged = reward_PG == 1, ~reward_PG.isnan()
    if not (correct | (reward_PG == 0) | ~judged).all():
        raise InputError("pkpo: a reward is neither 0 nor 1; PKPO is defined here for correct and wrong")
    n, c = judged.sum(1, keepdim=True), correct.sum(1, keepdim=True)
    j = torch.arange(k - 1).to(reward_PG)  # C(n-c, k-1) / C(n-1, k-1) as a product, an empty one for k = 1
    others = ((n - c - j).clamp(min=0) / (n - 1 - j).clamp(min=1)).prod(1, keepdim=True)
    return torch.where(correct & (n >= k), k * others, 0.0)


def plain_rewards(reward_PG: Tensor) -> Tensor:
    """REINFORCE without a baseline: A_i = r_i (Williams 1992). An all-correct group moves the policy, too.

    Args:
        reward_PG: rewards, shape (P, G), groups of one included; NaN where unjudged.

    Returns:
        Advantages in units of the reward, shape (P, G).

    Raises:
        InputError: not a matrix, or empty groups.
    """
    check_groups(reward_PG, smallest=1)
    return reward_PG.nan_to_num(nan=0.0)


# --- token losses: log-probabilities of B sequences of T tokens -> a loss for each token


class TokenLoss(NamedTuple):
    """What a variant's loss gives for B sequences of T tokens; padded cells may hold anything."""

    loss_BT: Tensor
    """The loss of each token, shape (B, T), with gradient."""
    clipped_BT: Tensor
    """Where the clip is active on a token with an advantage, shape (B, T) bool."""


LossFunction = Callable[[Tensor, Tensor, Tensor, Tensor, float, float], TokenLoss]
"""(logp_BT, old_logp_BT, advantage, mask_BT, clip_low, clip_high) -> TokenLoss; the arguments are `policy_loss`'s."""


def policy_loss(
    logp_BT: Tensor, old_logp_BT: Tensor, advantage: Tensor, mask_BT: Tensor, clip_low: float, clip_high: float
) -> TokenLoss:
    """-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A) for each token, rho its `ratio`.

    PPO's clipped objective (arXiv:1707.06347, eq. 7) as GRPO uses it (arXiv:2402.03300, eq. 3); clip_high > clip_low
    is DAPO's clip-higher (arXiv:2503.14476, eq. 10). On-policy (rho = 1) its gradient is that of -A log pi.

    Args:
        logp_BT: log pi(y_t), nats, under the model that is trained, shape (B, T), with gradient; 0 in padded cells.
        old_logp_BT: the same under the policy that drew the tokens, shape (B, T); on-policy it equals `logp_BT`.
        advantage: of each sequence, shape (B,), or of each token, (B, T).
        mask_BT: which cells hold a response token, shape (B, T) bool.
        clip_low: how far the ratio may fall below 1.
        clip_high: how far the ratio may rise above 1.

    Returns:
        Losses, and where the clip leaves a token without gradient although A is not 0.

    Raises:
        InputError: shapes that do not agree.
    """
    return _clipped_objective(ratio(logp_BT, old_logp_BT), per_token(advantage, logp_BT), clip_low, clip_high)


def gspo_loss(
    logp_BT: Tensor, old_logp_BT: Tensor, advantage: Tensor, mask_BT: Tensor, clip_low: float, clip_high: float
) -> TokenLoss:
    """-min(s A, clip(s, 1 - clip_low, 1 + clip_high) A) at each token of a sequence, s its `sequence_ratio`.

    GSPO (arXiv:2507.18071, eq. 5), with the reduction "sequence-mean". A sequence is clipped as a whole; on-policy the
    gradient is GRPO's. Its clips are small (3e-4 and 4e-4, section 5.1): s is the mean over many tokens.

    Args:
        logp_BT: log-probabilities of the tokens, in nats, shape (B, T).
        old_logp_BT: those when they were sampled.
        advantage: A, shape (B, 1) or (B, T).
        mask_BT: 1 at tokens of a completion, 0 elsewhere.
        clip_low: largest fall of s that is followed.
        clip_high: largest rise of s that is followed.

    Returns, Raises: as `policy_loss`.
    """
    s_BT = sequence_ratio(logp_BT, old_logp_BT, mask_BT)
    return _clipped_objective(s_BT, per_token(advantage, logp_BT), clip_low, clip_high)


def cispo_loss(
    logp_BT: Tensor, old_logp_BT: Tensor, advantage: Tensor, mask_BT: Tensor, clip_low: float, clip_high: float
) -> TokenLoss:
    """-sg(clip(rho, 1 - clip_low, 1 + clip_high)) A log pi(y_t), sg: taken as a constant.

    CISPO (MiniMax-M1, arXiv:2506.13585, eqs. 4 and 5): the weight is clipped and not the update, so that every token
    with an advantage keeps a gradient. clip_low = 1 sets no lower bound, as in the paper; a largest weight of 5
    (clip_high = 4) is what TRL recommends after ScaleRL (arXiv:2510.13786).

    Args:
        logp_BT: log-probabilities of the tokens, in nats, shape (B, T).
        old_logp_BT: those when they were sampled.
        advantage: A, shape (B, 1) or (B, T).
        mask_BT: 1 at tokens of a completion, 0 elsewhere.
        clip_low: the weight is at least 1 - clip_low.
        clip_high: the weight is at most 1 + clip_high.

    Returns:
        Losses, and where a token with an advantage has a clipped weight.

    Raises: as `policy_loss`.
    """
    rho_BT, advantage = ratio(logp_BT, old_logp_BT).detach(), per_token(advantage, logp_BT)
    outside_BT = (rho_BT < 1 - clip_low) | (rho_BT > 1 + clip_high)
    return TokenLoss(-rho_BT.clamp(1 - clip_low, 1 + clip_high) * advantage * logp_BT, outside_BT & (advantage != 0))


def _clipped_objective(rho_BT: Tensor, advantage: Tensor, clip_low: float, clip_high: float) -> TokenLoss:
    loss_BT = -torch.minimum(rho_BT * advantage, rho_BT.clamp(1 - clip_low, 1 + clip_high) * advantage)
    high_BT, low_BT = (rho_BT > 1 + clip_high) & (advantage > 0), (rho_BT < 1 - clip_low) & (advantage < 0)
    return TokenLoss(loss_BT, high_BT | low_BT)


def ratio(logp_BT: Tensor, old_logp_BT: Tensor) -> Tensor:
    """rho_t = pi(y_t) / pi_old(y_t), pi_old the policy that drew the tokens. Shapes (B, T), (B, T) -> (B, T).

    Raises InputError where the shapes differ.
    """
    check_shape("old log-probabilities", old_logp_BT, logp_BT.shape)
    return (logp_BT - old_logp_BT.detach()).exp()


def sequence_ratio(logp_BT: Tensor, old_logp_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """s = (pi(y) / pi_old(y))^(1 / |y|), the geometric mean of a sequence's token ratios, at each of its tokens
    (GSPO, arXiv:2507.18071, eq. 7). Shapes (B, T), (B, T), (B, T) bool -> (B, T).

    Raises InputError where the shapes differ.
    """
    check_shape("old log-probabilities", old_logp_BT, logp_BT.shape)
    log_ratio_BT = torch.where(mask_BT, logp_BT - old_logp_BT.detach(), 0.0)
    return (log_ratio_BT.sum(1, keepdim=True) / mask_BT.sum(1, keepdim=True).clamp(min=1)).exp().expand_as(logp_BT)


def per_token(advantage: Tensor, logp_BT: Tensor) -> Tensor:
    """Return advantages that broadcast over tokens: (B,) -> (B, 1); (B, T) as they are.

    Raises InputError for another shape.
    """
    check_shape("advantages", advantage, logp_BT.shape[: min(advantage.ndim, 2)])
    return advantage[:, None] if advantage.ndim == 1 else advantage


def check_shape(what: str, tensor: Tensor, shape: torch.Size) -> None:
    """Raise InputError unless `tensor`, named by `what`, has this shape."""
    if tensor.shape != shape:
        raise InputError(f"{what} have shape {tuple(tensor.shape)}, expected {tuple(shape)}")


# --- the variants


class Settings(Protocol):
    """What `Variant.trl` reads of a run's settings (an `RLVRConfig`)."""

    @property
    def kl(self) -> float:
        """Weight of the KL term."""

    @property
    def unbiased_kl(self) -> bool:
        """Whether the KL term is weighted by the token's ratio."""

    def resolve_variant(self) -> "Variant":
        """Return the variant with the run's clip and reduction in it."""


TRLFields = dict[str, str | float]
"""Fields of TRL's GRPOConfig by name."""


@dataclass(frozen=True)
class Variant:
    """One member of the family: all in which it differs from the others.

    `VARIANTS["mine"] = Variant(...)` adds one; `rlvr` then trains with exactly what stands here. A run's settings
    (`RLVRConfig`) may set another clip and reduction.
    """

    advantages: Callable[..., Tensor]
    """Rewards (P, G), NaN where unjudged -> advantages (P, G), 0 where unjudged; `settings` come as keywords."""
    reduction: Reduction
    """How the token losses become the loss of a step."""
    loss: LossFunction = policy_loss
    """The loss of each token and where it is clipped. It must be 0, and without gradient, where the advantage is 0:
    rows of such tokens are not computed."""
    clip_low: float = 0.2
    """How far a ratio may fall below 1."""
    clip_high: float = 0.2
    """How far a ratio may rise above 1."""
    dynamic_sampling: bool = False
    """Draw further prompts until the step holds `prompts_per_step` mixed groups."""
    critic: bool = False
    """A learnt value of each token is the baseline (`ppo`); the group has none to give."""
    settings: tuple[str, ...] = ()
    """Names of the settings that `advantages` takes."""
    trl: Callable[[Settings], TRLFields | None] | None = None
    """The fields of GRPOConfig with which TRL trains the same algorithm. None, or a function that returns None for
    these settings: it does not, and `--engine trl` refuses."""

    def token_loss(self, logp_BT: Tensor, old_logp_BT: Tensor, advantage: Tensor, mask_BT: Tensor) -> TokenLoss:
        """Return `loss` with the variant's clip; arguments as in `policy_loss`."""
        return self.loss(logp_BT, old_logp_BT, advantage, mask_BT, self.clip_low, self.clip_high)

    def check(self, group_size: int) -> None:
        """Raise InputError where groups of this size have no advantages, or the loss is not what `loss` promises."""
        self.advantages(torch.zeros(1, group_size))
        logp_BT = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]], requires_grad=True)
        mask_BT = torch.tensor([[True, True], [True, False]])
        loss_BT, clipped_BT = self.token_loss(logp_BT, logp_BT.detach() - 0.1, torch.zeros(2), mask_BT)
        check_shape("token losses", loss_BT, logp_BT.shape)
        check_shape("clip statistics", clipped_BT, logp_BT.shape)
        slope_BT = torch.autograd.grad(torch.where(mask_BT, loss_BT, 0.0).sum() + 0 * logp_BT.sum(), logp_BT)[0]
        if slope_BT.any() or loss_BT[mask_BT].any():
            raise InputError(
                "the variant's loss is not 0, or has a gradient, where the advantage is 0; such rows are not "
                "computed, so give a loss that is proportional to the advantage"
            )


def clip_in_trl(scale_rewards: str, level: str = "token") -> Callable[[Settings], TRLFields | None]:
    """Return `Variant.trl` for PPO's clip.

    Args:
        scale_rewards: TRL's name of the advantages: `group` for `group_advantages`, `none` for `centred_advantages`.
        level: what has a ratio: `token` (`policy_loss`) or `sequence` (`gspo_loss`).

    Returns:
        The function. It returns None for a reduction that TRL lacks, and where TRL weights the KL term by the
        sequence's ratio instead of the token's.
    """
    loss_type: dict[Reduction, str] = {"sequence-mean": "grpo", "token-mean": "dapo", "constant": "dr_grpo"}

    def fields(config: Settings) -> TRLFields | None:
        variant = config.resolve_variant()
        if variant.reduction not in loss_type or (level == "sequence" and config.kl and config.unbiased_kl):
            return None
        return {
            "loss_type": loss_type[variant.reduction], "importance_sampling_level": level,
            "scale_rewards": scale_rewards, "epsilon": variant.clip_low, "epsilon_high": variant.clip_high,
        }  # fmt: skip

    return fields


def cispo_in_trl(config: Settings) -> TRLFields | None:
    """Return the fields for `cispo_loss`: TRL's `epsilon_high` is the largest weight itself, and it has no lower bound.

    None for another reduction than "token-mean", or a clip_low below 1.
    """
    variant = config.resolve_variant()
    if variant.reduction != "token-mean" or variant.clip_low < 1:
        return None
    return {
        "loss_type": "cispo", "importance_sampling_level": "token", "scale_rewards": "group",
        "epsilon_high": 1 + variant.clip_high,
    }  # fmt: skip


VARIANTS: dict[str, Variant] = {
    "grpo": Variant(group_advantages, "sequence-mean", trl=clip_in_trl("group")),
    "dr-grpo": Variant(centred_advantages, "constant", trl=clip_in_trl("none")),
    "dapo": Variant(group_advantages, "token-mean", clip_high=0.28, dynamic_sampling=True),
    "gspo": Variant(group_advantages, "sequence-mean", gspo_loss, 3e-4, 4e-4, trl=clip_in_trl("group", "sequence")),
    "cispo": Variant(group_advantages, "token-mean", cispo_loss, 1.0, 4.0, trl=cispo_in_trl),
    "rloo": Variant(rloo_advantages, "sequence-sum"),
    "maxrl": Variant(maxrl_advantages, "sequence-sum"),
    "pkpo": Variant(pkpo_advantages, "sequence-sum", settings=("k",)),
    "reinforce": Variant(plain_rewards, "sequence-sum"),
    "ppo": Variant(plain_rewards, "token-mean", critic=True),
}
"""GRPO arXiv:2402.03300, Dr. GRPO 2503.20783, DAPO 2503.14476, GSPO 2507.18071, CISPO 2506.13585, RLOO 2402.14740,
MaxRL 2602.02710, PKPO 2505.15201, REINFORCE (Williams 1992), PPO 1707.06347. Each has a row in docs/objectives.md.
"""


def find_variant(name: str) -> Variant:
    """Return the variant of a name. Raises InputError where there is none."""
    if name not in VARIANTS:
        raise InputError(f"no variant is called {name!r}; there are {', '.join(VARIANTS)}")
    return VARIANTS[name]
