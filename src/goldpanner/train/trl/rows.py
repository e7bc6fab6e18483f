"""What TRL hands to a reward function as our nouns: rows as problems, texts and token ids as completions."""

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from goldpanner.errors import InputError
from goldpanner.types import Completion, FinishReason, Problem, Verdict
from goldpanner.verify.reward import Reward

ANSWERS = ("answer", "solution", "ground_truth")
"""Columns that are looked for as a problem's answer, where none is named."""


@dataclass
class Rows:
    """How rows of a data set become problems, the same ones in training and in the probe."""

    task: str
    """Task id of problems that are made from rows."""
    answer: str | None
    """Column of the answer; None: the first of `ANSWERS` that there is."""
    problems: dict[str, Problem] = field(default_factory=dict)
    """By id, for rows with a column `goldpanner_id`."""
    columns: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Of the probe's rows, by problem id: what a reward function may ask for."""
    chat: bool = False
    """Whether prompts are messages."""

    def problem(self, i: int, prompt: Any, columns: Mapping[str, object]) -> Problem:
        """Return the problem of row i: the one of its `goldpanner_id`, else one made from prompt and answer."""
        ids = columns.get("goldpanner_id")
        if isinstance(ids, list) and ids[i] in self.problems:
            return self.problems[ids[i]]
        self.chat = self.chat or not isinstance(prompt, str)
        return Problem(self.task, _text(prompt), _answer(self.answer, {k: v[i] for k, v in _lists(columns)}))

    def probe_problem(self, row: Mapping[str, object]) -> Problem:
        """Return a probe row as a problem, the same one that training on that row would ask."""
        if "prompt" not in row:
            raise InputError(f"recorder: a probe row has no prompt; its columns are {', '.join(map(str, row))}")
        prompt: Any = row["prompt"]
        if not isinstance(prompt, str):
            self.chat = True
            if len(prompt) != 1 or prompt[0].get("role") != "user":
                raise InputError(
                    f"recorder: a probe prompt has {len(prompt)} messages; give one message of the user, or problems"
                )
        columns = {name: value for name, value in row.items() if name not in ("prompt", "completion")}
        problem = Problem(self.task, _text(prompt), _answer(self.answer, columns))
        self.columns[problem.id] = columns
        return problem


def completion(content: Any, ids: Any, ends: Set[int], limit: int, stops: tuple[str, ...]) -> Completion:
    """Return a completion of TRL's, up to a stop, with its token ids and why it ended.

    Args:
        content: text or messages.
        ids: token ids, if TRL passes them; without them it is not known why it ended.
        ends: ids that end a completion.
        limit: tokens of a completion at most: one of so many was cut unless its last token is an end.
        stops: texts that end a completion.
    """
    text, finish = _text(content), "unknown"
    if ids is not None:
        ids = tuple(int(token) for token in ids)
        finish = "length" if len(ids) >= limit and ids[-1] not in ends else "stop"
    for stop in stops:
        if stop in text:
            text, finish = text.split(stop, 1)[0], "stop"
    reason: FinishReason = finish  # type: ignore[assignment]
    return Completion(text, ids, finish=reason)


@dataclass(frozen=True)
class AsTrained:
    """A reward function as the verifier of the probe, asked as TRL asks it: it is given the columns of the problem's
    row, and a completion that was cut like any other (a verifier would say WRONG).
    """

    reward: Reward
    rows: Mapping[str, Mapping[str, object]]

    @property
    def id(self) -> str:
        """That of the function as a verifier."""
        return self.reward.id

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; never raises."""
        problem = replace(problem, meta=self.rows.get(problem.id, problem.meta))
        return self.reward(problem, replace(completion, finish="stop"))


def _lists(columns: Mapping[str, object]) -> Iterator[tuple[str, list[Any]]]:
    return ((name, value) for name, value in columns.items() if isinstance(value, list))


def _answer(column: str | None, row: Mapping[str, object]) -> str:
    """Return a row's answer as text, empty where it has none. Raises InputError where the named column is missing."""
    if column is not None and column not in row:
        raise InputError(f"recorder: no column is called {column!r}; there are {', '.join(map(str, row)) or 'none'}")
    answer = next((row[name] for name in (ANSWERS if column is None else (column,)) if name in row), "")
    return answer if isinstance(answer, str) else json.dumps(answer, default=str)


def _text(content: Any) -> str:
    """Return a prompt or completion as text: of one message its content, of several all of them as JSON."""
    if isinstance(content, str):
        return content
    if len(content) == 1 and isinstance(content[0].get("content"), str):
        return str(content[0]["content"])
    return json.dumps(content, ensure_ascii=False, default=str)
