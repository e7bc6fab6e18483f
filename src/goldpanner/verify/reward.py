"""A reward function with TRL's signature as a verifier: `f(prompts, completions, **columns) -> list[float | None]`."""

import asyncio
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module, util
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError
from goldpanner.types import Completion, Outcome, Problem, Verdict, content_hash
from goldpanner.verify.answer_part import TAGS
from goldpanner.verify.base import counted, unjudged

RewardFunction = Callable[..., Any]
NOT_APPLICABLE = "the reward is None: not applicable"
"""Reason of the verdict where a function gives None, TRL's word for a reward that does not apply."""


def wrong_size(rewards: object, n: int) -> str | None:
    """Return why what a function gave for n completions is not a list of one reward for each, None if it is."""
    if isinstance(rewards, list | tuple) and len(rewards) == n:
        return None
    size = len(rewards) if isinstance(rewards, list | tuple) else type(rewards).__name__
    return f"the reward function returned {size} for {n} completions; TRL wants a list of as many numbers"


@dataclass(frozen=True)
class Reward:
    """CORRECT if the function's reward is 1, or at least `threshold` where one is given; WRONG below.

    The function is called as TRL calls it, by keyword: `prompts`, `completions`, `completion_ids`, and a list per
    column: `answer`, every key of the problems' meta (None where a problem lacks it), and those that `columns` names
    anew (`{"solution": "answer"}`). Of these it gets what its signature asks for. `conversational` hands prompts and
    completions over as lists of messages. It may be `async`. Of a completion it gets the part that counts, without its
    thought; with `whole` all of it, as TRL gives it, for a function that looks at the form of the thought.

    UNJUDGED: a reward of None, NaN or infinity, one that is neither 0 nor 1 where no threshold is given, a function
    that raises or returns something else than one number for each completion. It runs in this process: nothing stops
    one that hangs. A batch that raises is judged one by one, so that only its cause stays unjudged; one that gives
    another number of rewards than completions is not: nobody knows whose they are.

    Raises InputError if `function` cannot be called.
    """

    function: RewardFunction
    threshold: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    conversational: bool = False
    whole: bool = False
    name: str = ""
    """What the id is built from; the function's own name by default."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(f"reward: {self.function!r} is no function; give f(prompts, completions, **columns)")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"reward: the threshold is {self.threshold!r}; give a finite number")

    @cached_property
    def id(self) -> str:
        """`reward:NAME>=0.5@1f2e3d4c`: the version is a hash of the function's source and of how it is called."""
        name = self.name or getattr(self.function, "__name__", type(self.function).__name__)
        try:
            source = inspect.getsource(self.function)
        except (OSError, TypeError):
            source = name
        version = content_hash([source, dict(self.columns), self.conversational, self.whole], 8)
        return f"reward:{name}{'' if self.threshold is None else f'>={self.threshold:g}'}@{version}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; never raises."""
        return self.judge_many([(problem, completion)])[0]

    def judge_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """Return the verdict on each pair, in one call of the function."""
        parts = [counted(self.id, completion, () if self.whole else TAGS) for _, completion in pairs]
        pending = [
            (problem, replace(c, text=part)) for (problem, c), part in zip(pairs, parts) if isinstance(part, str)
        ]
        verdicts = iter(self._rewarded(pending))
        return [part if isinstance(part, Verdict) else next(verdicts) for part in parts]

    def _rewarded(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        if not pairs:
            return []
        try:
            rewards = self._call(pairs)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # one that calls sys.exit ends nothing here
            if len(pairs) > 1:
                return [verdict for pair in pairs for verdict in self._rewarded([pair])]
            return [self._unjudged(f"the reward function failed: {type(error).__name__}: {error}"[:300])]
        if (why := wrong_size(rewards, len(pairs))) is not None:
            return [self._unjudged(why)] * len(pairs)
        return [self.verdict(reward) for reward in rewards]

    def _call(self, pairs: Sequence[tuple[Problem, Completion]]) -> Any:
        arguments = self._arguments(pairs)
        signature = inspect.signature(self.function)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values()):
            arguments = {name: value for name, value in arguments.items() if name in signature.parameters}
        result = self.function(**arguments)
        if not inspect.isawaitable(result):
            return result

        async def wait() -> Any:
            return await result

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(wait())
        with ThreadPoolExecutor(1) as pool:  # a loop runs in this thread already (a notebook's, say)
            return pool.submit(asyncio.run, wait()).result()

    def _arguments(self, pairs: Sequence[tuple[Problem, Completion]]) -> dict[str, object]:
        rows = [{**dict(problem.meta), "answer": problem.answer} for problem, _ in pairs]
        columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)}
        for name, old in self.columns.items():
            columns[name] = [row.get(old) for row in rows]
        prompts: list[Any] = [problem.prompt for problem, _ in pairs]
        completions: list[Any] = [completion.text for _, completion in pairs]
        if self.conversational:
            prompts = [[{"role": "user", "content": text}] for text in prompts]
            completions = [[{"role": "assistant", "content": text}] for text in completions]
        ids = [None if completion.tokens is None else list(completion.tokens) for _, completion in pairs]
        extra = {"trainer_state": None, "log_extra": _ignore, "log_metric": _ignore}
        return {**columns, "prompts": prompts, "completions": completions, "completion_ids": ids, **extra}

    def verdict(self, reward: Any) -> Verdict:
        """Return what a number that the function gave says."""
        if reward is None:
            return self._unjudged(NOT_APPLICABLE)
        try:
            value = float(reward)
        except (TypeError, ValueError, OverflowError):
            return self._unjudged(f"the reward is {repr(reward)[:200]}, no number")
        if not math.isfinite(value):
            return self._unjudged("the reward is NaN" if math.isnan(value) else f"the reward is {value}")
        if self.threshold is None and value not in (0.0, 1.0):
            return self._unjudged(
                f"the reward is {value:g}, neither 0 nor 1; name a threshold from which it is correct"
            )
        if value >= (1.0 if self.threshold is None else self.threshold):
            return Verdict(Outcome.CORRECT, self.id)
        return Verdict(Outcome.WRONG, self.id, reason=f"reward {value:g}")

    def _unjudged(self, reason: str) -> Verdict:
        return unjudged(self.id, reason)


def _ignore(*_: Any, **__: Any) -> None:
    """Stand in for TRL's logging functions."""


def load_reward(path: str, threshold: float | None = None, **options: Any) -> Reward:
    """Return the verifier for `package.module:function` or `file.py:function`; `options` are those of `Reward`.

    Raises InputError if there is no such module, file or function.
    """
    place, colon, name = path.rpartition(":")
    if not colon or not place:
        raise InputError(f"reward {path!r}: write package.module:function or file.py:function")
    try:
        module = _module(Path(place)) if place.endswith(".py") else import_module(place)
    except (Exception, SystemExit) as error:  # whatever the user's file raises while it is read
        raise InputError(f"reward {path!r}: {place} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise InputError(
            f"reward {path!r}: {place} has no function {name!r}; there are {', '.join(functions) or 'none'}"
        )
    return Reward(function, threshold, **options)


def _module(file: Path) -> Any:
    spec = util.spec_from_file_location(f"goldpanner_reward_{content_hash(str(file.resolve()), 8)}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"there is no such file: {file}")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
