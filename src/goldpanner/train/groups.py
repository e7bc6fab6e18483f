"""The groups of one RL step: mixed, all wrong, all correct, or unjudged. Rewards: shape (P, G), NaN where unjudged."""

from dataclasses import dataclass

import torch
from torch import Tensor

from goldpanner.errors import InputError


@dataclass(frozen=True)
class GroupStates:
    """P groups, each in exactly one state; boolean tensors of shape (P,)."""

    mixed: Tensor
    """At least two different judged rewards: the only ones with a group-relative advantage."""
    all_wrong: Tensor
    """All judged rewards equal and below the threshold: nothing to reinforce."""
    all_correct: Tensor
    """All judged rewards equal and at least the threshold: nothing left to learn."""
    unjudged: Tensor
    """No member was judged: nothing is known of the group."""


def group_states(reward_PG: Tensor, threshold: float = 1.0) -> GroupStates:
    """Return the state of each group. For binary rewards and success probability p the expected shares are
    1 - p^G - (1 - p)^G mixed, (1 - p)^G all wrong and p^G all correct.

    Args:
        reward_PG: rewards, shape (P, G); NaN where unjudged.
        threshold: the smallest reward that counts as correct.

    Raises:
        InputError: not a matrix, or empty groups.
    """
    mixed = mixed_groups(reward_PG)
    unjudged = reward_PG.isnan().all(1)
    best = reward_PG.nan_to_num(nan=-torch.inf).amax(1)
    equal = ~mixed & ~unjudged
    return GroupStates(mixed, equal & (best < threshold), equal & (best >= threshold), unjudged)


def mixed_groups(reward_PG: Tensor) -> Tensor:
    """Return which groups hold at least two different judged rewards, shape (P, G) -> (P,) bool.

    Raises InputError where the rewards are no matrix, or the groups are empty.
    """
    check_groups(reward_PG, smallest=1)
    return reward_PG.nan_to_num(nan=-torch.inf).amax(1) > reward_PG.nan_to_num(nan=torch.inf).amin(1)


def check_groups(reward_PG: Tensor, smallest: int = 2) -> None:
    """Raise InputError unless the rewards have shape (P, G) with groups of at least `smallest` members."""
    if reward_PG.ndim != 2:
        raise InputError(f"rewards have shape {tuple(reward_PG.shape)}; give (prompts, group size)")
    if reward_PG.shape[1] < smallest:
        raise InputError(
            f"group size is {reward_PG.shape[1]}: a group of one has no mean to compare with; draw at least {smallest}"
        )
