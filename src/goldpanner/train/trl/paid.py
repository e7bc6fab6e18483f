"""A reward function called as TRL calls it: what is no reward is an error before anything is trained on it."""

import asyncio
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from goldpanner.errors import InputError
from goldpanner.types import Problem
from goldpanner.verify.forms import DECLARED
from goldpanner.verify.reward import RewardFunction, wrong_size


def paid(function: RewardFunction, **arguments: Any) -> list[float | None]:
    """Return the rewards of a reward function, async or not, for a batch.

    Raises InputError where it fails, or does not give a finite number, NaN or None for each completion.
    """
    texts = list(arguments["completions"])  # a function may change the list that it is given
    try:
        result = function(**arguments)
        if inspect.isawaitable(result):

            async def wait() -> Any:
                return await result

            result = asyncio.run(wait())
        rewards: list[float | None] = [] if isinstance(result, str | bytes) else list(result)
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        raise InputError(f"the reward function failed: {type(error).__name__}: {error}; mend it") from error
    if (why := wrong_size(rewards, len(texts))) is not None:
        raise InputError(why)
    for reward, text in zip(rewards, texts):
        if not _is_reward(reward):
            raise InputError(
                f"the reward is {reward!r} for the completion {str(text)[-120:]!r}; return a finite number, or None"
            )
    return rewards


def _is_reward(reward: Any) -> bool:
    if reward is None:
        return True
    try:
        return not isinstance(reward, str) and not math.isinf(float(reward))
    except (TypeError, ValueError, OverflowError):
        return False


def rehearse_batch(
    function: RewardFunction,
    rewards: Sequence[float | None],
    problems: Sequence[Problem],
    prompts: Any,
    completions: Any,
    completion_ids: Any,
    columns: Mapping[str, Any],
) -> None:
    """Put right and wrong answers to a reward function that pays a whole batch alike, in place of its completions.

    Nothing is said where the rows have no answers, or all the same one.

    Args:
        function: the reward function.
        rewards: what it paid for the batch.
        problems: problem of each row.
        prompts: prompts as TRL passes them.
        completions: completions as TRL passes them.
        completion_ids: token ids as TRL passes them.
        columns: further columns of the rows.

    Raises:
        InputError: it pays right and wrong answers alike, too: then no completion can earn more than another.
    """
    answers = [problem.answer for problem in problems]
    others = [next((other for other in answers if other != answer), "") for answer in answers]
    if len(set(rewards)) != 1 or not all(answers) or not all(others):
        return
    chat = not isinstance(completions[0], str)
    for _, form in DECLARED:
        for right, wrong in ((answers, others), (others, answers)):
            texts = [form.format(a=a, b=b, c=b) for a, b in zip(right, wrong)]
            batch = [[{"role": "assistant", "content": text}] for text in texts] if chat else texts
            if {*paid(function, prompts=prompts, completions=batch, completion_ids=completion_ids, **columns)} != {
                *rewards
            }:
                return
    raise InputError(
        f"the reward function pays {rewards[0]} for every completion of the first batch, and for right and wrong "
        f"answers in {len(DECLARED)} usual forms (such as {DECLARED[1][1].format(a=answers[0])!r}): nothing could be "
        "learned; mend it, or say Recorder(rehearsal=False) where this is meant"
    )
