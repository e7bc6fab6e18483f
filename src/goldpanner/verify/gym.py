"""Problems of reasoning-gym, judged by its own scorers, in a process that can be killed."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify.base import counted, unjudged

EXTRA = ("problems of reasoning-gym", "reasoning-gym")
_DECLARED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)
LONGEST = 20_000
"""Characters of an answer that is put to a scorer."""


@dataclass(frozen=True)
class ReasoningGym:
    """CORRECT if reasoning-gym's `score_answer` gives the answer `threshold` or more (scores lie in 0 ... 1).

    Some of its scorers pay partial credit; by default only full marks are right. The answer is what stands in the last
    `<answer>` of the completion, else all of it. A scorer that raises, takes longer than `seconds`, or gives no number
    has not judged. The entry is made anew from the problem's seed and index: where this version of reasoning-gym makes
    another question of them, the completion is UNJUDGED, too.

    Raises MissingExtraError without the `reasoning-gym` extra.
    """

    threshold: float = 1.0
    seconds: float = 10.0
    workers: int = 1
    version: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or not self.seconds > 0 or self.workers < 1:
            raise InputError(
                f"reasoning-gym: threshold is {self.threshold!r}, seconds {self.seconds!r}, workers {self.workers!r}; "
                "give a threshold in (0, 1] and numbers above 0"
            )
        if find_spec("reasoning_gym") is None:
            raise MissingExtraError(*EXTRA)
        try:
            object.__setattr__(self, "version", metadata.version("reasoning-gym"))
        except metadata.PackageNotFoundError:
            object.__setattr__(self, "version", "unknown")

    @cached_property
    def id(self) -> str:
        """`reasoning-gym@1+0.1.25`, the library's version at its end, with a threshold that is not 1."""
        option = "" if self.threshold == 1 else f":{self.threshold:g}"
        return f"reasoning-gym{option}@1+{self.version}"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises, and ends within the time limit."""
        return self.judge_many([(problem, completion)])[0]

    def judge_many(self, pairs: Sequence[tuple[Problem, Completion]]) -> list[Verdict]:
        """Return the verdict on each pair; equal answers to one problem are scored once."""
        from goldpanner.verify import pool

        questions = [self._question(problem, completion) for problem, completion in pairs]
        tasks = list(dict.fromkeys(each for each in questions if not isinstance(each, Verdict)))
        replies: dict[tuple[str, str], pool.Reply] = {}
        if tasks:
            try:
                workers = pool.shared(self.workers, "gym_worker", "reasoning-gym")
                replies = dict(zip(tasks, workers.run(tasks, self.seconds)))
            except OSError as error:
                lost = pool.Reply(None, f"reasoning-gym's worker cannot be reached: {error}")
                replies = dict.fromkeys(tasks, lost)
        outcomes = {True: Outcome.CORRECT, False: Outcome.WRONG, None: Outcome.UNJUDGED}
        return [
            each
            if isinstance(each, Verdict)
            else Verdict(outcomes[replies[each].equal], self.id, each[1], replies[each].reason)
            for each in questions
        ]

    def _question(self, problem: Problem, completion: Completion) -> tuple[str, str] | Verdict:
        """Return what the worker is asked, or the verdict that takes no scorer."""
        text = counted(self.id, completion)
        if isinstance(text, Verdict):
            return text
        meta = problem.meta
        if not isinstance(meta.get("dataset"), str) or not all(
            type(meta.get(k)) is int for k in ("seed", "index", "size")
        ):
            return unjudged(self.id, "the problem is none of reasoning-gym's")
        declared = _DECLARED.findall(text)
        answer = (declared[-1] if declared else text).strip()
        if len(answer) > LONGEST:
            return unjudged(self.id, f"the answer is longer than {LONGEST:,} characters", Cause.MODEL, answer[:200])
        made = [meta[key] for key in ("dataset", "seed", "size", "index")]
        return json.dumps([*made, problem.prompt, problem.answer, self.threshold]), answer
