"""What gives the reward: a verifier or a control in its place, its rehearsal, and a budget of unjudged samples."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, cast

import numpy as np

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.train.config import RFTConfig, RLVRConfig
from goldpanner.types import Cause, Problem, Sample, Verdict
from goldpanner.verify import Verifier

WINDOW = 256
"""Completions over which the unjudged ones are counted."""


class Prompts(Protocol):
    """What RL needs of a task."""

    @property
    def verifiers(self) -> Callable[[], Sequence[Verifier]]:
        """Makes the verifiers, the usual reward first."""
        ...

    @property
    def controls(self) -> Callable[[], Sequence[Verifier]]:
        """Makes the verifiers that judge only where one is named as the reward."""
        ...

    @property
    def worked(self) -> Callable[[Problem], str] | None:
        """Gives a right completion of a problem, where completions are judged as a whole."""
        ...

    def draw(self, n: int, rng: np.random.Generator, split: Literal["train", "test"] = "test") -> list[Problem]:
        """Return n distinct problems."""
        ...


def random_reward(config: RLVRConfig) -> Callable[[Sample], float] | None:
    """Return the random reward, a function of (seed, step, group, member) alone; None where the verdict is the reward.

    It is 1 with probability `random_reward`, else 0, whatever the completion says and whether it was judged or not.
    """
    share = config.random_reward
    if share is None:
        return None

    def reward(sample: Sample) -> float:
        keys = (config.seed, sample.step or 0, sample.group or 0, sample.index)
        return float(rng.stream("grpo/random-reward", *keys).random() < share)

    return reward


Payment = Callable[[Sample, Sequence[Verdict]], float | None]
"""What a rollout is paid, from the sample and the verdicts of all verifiers in their order, the sample's own first."""


def payment(config: RLVRConfig) -> Payment | None:
    """Return what pays where it is not the first verdict alone: the random reward, several rewards, a length penalty.

    Several rewards are summed with their weights, as TRL sums its `reward_funcs` with `reward_weights`: what one of the
    further verifiers leaves unjudged adds nothing. A sample that the first one leaves without a reward has none.
    """
    lottery = random_reward(config)
    if lottery is not None:
        return lambda sample, verdicts: lottery(sample)
    weights = list(config.reward_weights.values()) or [1.0]
    if weights == [1.0] and not config.overlong_tokens:
        return None

    def pay(sample: Sample, verdicts: Sequence[Verdict]) -> float | None:
        rewards = [verdict.reward for verdict in verdicts[: len(weights)]]
        if rewards[0] is None:
            return None
        total = sum(weight * reward for weight, reward in zip(weights, rewards, strict=True) if reward is not None)
        if config.overlong_tokens:
            length = len(sample.completion.tokens or ())
            total += config.overlong_penalty * overlong(length, config.max_tokens, config.overlong_tokens)
        return total

    return pay


def overlong(length: int, longest: int, tokens: int) -> float:
    """Return DAPO's soft overlong punishment: 0 up to longest - tokens, then (longest - tokens - length) / tokens, at
    the least -1 (arXiv:2503.14476, eq. 13; TRL's `get_soft_overlong_punishment`).

    Args:
        length: tokens of a completion.
        longest: tokens of a completion at most.
        tokens: of these the last over which the punishment grows, at least 1.
    """
    return max(-1.0, min(0.0, (longest - tokens - length) / tokens))


def reward_verifiers(tasks: Mapping[str, Prompts], config: RLVRConfig | RFTConfig) -> list[Verifier]:
    """Return the verifiers of the trained tasks, the one that gives the reward in front (`select_reward`).

    Raises InputError where two tasks are judged by different verifiers.
    """
    first, *others = (tasks[name] for name in config.tasks)
    verifiers = first.verifiers()
    for other in others:
        if [v.id for v in other.verifiers()] != [v.id for v in verifiers]:
            raise InputError(f"tasks {', '.join(config.tasks)} are judged by different verifiers; train on one of them")
    names = list(getattr(config, "reward_weights", {}))
    fronts: set[str] = set()
    for name in reversed(names):
        verifiers = select_reward(verifiers, name, first.controls())
        fronts.add(verifiers[0].id)
    if len(fronts) < len(names):
        raise InputError(f"reward_weights names one verifier twice: {', '.join(names)}; name each once")
    return select_reward(verifiers, config.reward, first.controls())


def select_reward(
    verifiers: Sequence[Verifier], reward: str | None, controls: Sequence[Verifier] = ()
) -> list[Verifier]:
    """Return the verifiers with the one that gives the reward in front: None means in their own order.

    `reward` is the last part of a verifier's name: `process` for `world-process@1`. Of `controls` only the one that is
    named judges at all. Raises InputError for none or two.
    """
    if reward is None:
        return list(verifiers)
    names = [verifier.id.split("@")[0] for verifier in (*verifiers, *controls)]
    matches = [i for i, name in enumerate(names) if name == reward or name.endswith(f"-{reward}")]
    if len(matches) != 1:
        raise InputError(
            f"reward is {reward!r}, which fits {len(matches)} of the verifiers {', '.join(names)}; name one"
        )
    return [(*verifiers, *controls)[matches[0]], *(v for i, v in enumerate(verifiers) if i != matches[0])]


def cause_shares(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Return the shares of completions that were withheld, and that the model left unanswered."""
    causes = [verdict.cause for verdict in verdicts]
    return {
        "withheld": causes.count(Cause.WITHHELD) / len(causes),
        "unanswered": causes.count(Cause.MODEL) / len(causes),
    }


def reward_note(record: Mapping[str, object]) -> str:
    """Return what to watch in a step's record, in words; the shares of what is not judged where there are any."""
    shares = {name: record.get(name) for name in ("unjudged", "withheld", "unanswered")}
    causes = "".join(f"  {name} {share:.1%}" for name, share in shares.items() if share)
    kinds = [kind for kind in ("mixed", "all_wrong", "all_correct") if kind in record]
    groups = (f"{kind.replace('_', ' ')} {record[kind]:.0%}" for kind in kinds)
    return f"reward {record['reward']:.2f}  {', '.join(groups)}{causes}"


ONE_SIDED_STEPS = 5
"""Steps in a row without a mixed group after which a person is told."""


class OneSidedWatch:
    """Tells once when no group has been mixed for some steps: advantages are then 0, and nothing is learned."""

    def __init__(self) -> None:
        self._steps = 0

    def message(self, run: str, record: Mapping[str, object]) -> str:
        """Return what to tell after a step's record; empty: nothing."""
        self._steps = self._steps + 1 if record.get("mixed") == 0 else 0
        if self._steps != ONE_SIDED_STEPS:
            return ""
        wrong, correct = (cast("float", record[kind]) for kind in ("all_wrong", "all_correct"))
        advice = "fine-tune first, or take easier problems" if wrong >= correct else "take harder problems"
        return (
            f"{run}, step {record['step']}: no group was mixed in the last {ONE_SIDED_STEPS} steps (all wrong "
            f"{wrong:.0%}, all correct {correct:.0%}), so nothing is learned; {advice} (goldpanner plan says which)"
        )


class BudgetSpentError(InputError):
    """Too many completions are unjudged through no doing of the model's."""


class UnjudgedBudget:
    """Stops a run where too many completions are unjudged through no doing of the model's.

    It counts over the last `WINDOW` completions, and does not wait until there are so many: it stops at the first that
    makes more than `share` of a whole window.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._window: deque[Sample | None] = deque(maxlen=WINDOW)

    def add(self, samples: Iterable[Sample]) -> None:
        """Count a batch. Raises BudgetSpentError beyond the budget, with the commonest reason and a completion."""
        for sample in samples:
            unpaid = sample.reward is None and sample.verdict.cause is Cause.OURS
            self._window.append(sample if unpaid else None)
        silence = [sample for sample in self._window if sample is not None]
        if len(silence) <= self.share * WINDOW:
            return
        (reason, times), *_ = Counter(sample.verdict.reason for sample in silence).most_common(1)
        text = next(sample.completion.text for sample in silence if sample.verdict.reason == reason)
        raise BudgetSpentError(
            f"{len(silence)} of the last {len(self._window)} completions are unjudged, and not by the model's doing "
            f"(unjudged_budget: {self.share:.0%} of {WINDOW}); {times} times because: {reason}; e.g. the completion "
            f"{text[-120:]!r}. What was trained before is kept as a checkpoint: mend the verifier and run the same "
            "command again, or raise unjudged_budget"
        )
