"""Addition of whole numbers with a carry dial: the second domain, so that nothing is wired to the first.

    Q 4 7 + 3 5

asks for 47 + 35. Its worked answer goes column by column from the right, each with both digits and the carry that came
in, and ends with the total:

    ones 7 5 0 is 1 2 tens 4 3 1 is 0 8 total 8 2

A fact is the sum of two digits and a carry: 200 of them, each with its own reliability.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from goldpanner.errors import InputError
from goldpanner.rng import stream
from goldpanner.tasks.domain import tasks_of
from goldpanner.tasks.splits import Split, distinct_queries, in_test, shares_of
from goldpanner.tasks.task import Document, Family, Task
from goldpanner.tasks.webtext import FILLER, QUESTION, TEXTBOOK, WebText, assign_reliabilities, compose, draw_plan
from goldpanner.types import IntArray, Problem
from goldpanner.verify import ChainAnswer, ChainFormat, ChainProcess, Verifier

COLUMNS = ("ones", "tens", "hundreds", "thousands")
PLUS, IS, TOTAL = "+", "is", "total"


class ColumnAdditionConfig(WebText):
    """Every knob of column addition. A chain's first step, after which the lazy stop, is its ones column."""

    kind: Literal["column-addition"] = "column-addition"
    max_depth: int = Field(
        default=3, ge=1, le=len(COLUMNS), description="Most digits of a number, in the corpus and as a task."
    )


class ColumnAddition:
    """Addition: its facts, its text and its problems. Implements `Domain`.

    `wrong` holds the mistaken sum of (digit, digit, carry), `reliability` the probability that a text states the right
    one. Both have shape (10, 10, 2). A mistaken sum has a wrong last digit and the right carry.
    """

    name = "column-addition"

    def __init__(self, config: ColumnAdditionConfig | None = None) -> None:
        self.config = config = config or ColumnAdditionConfig()
        first, second, carry = np.indices((10, 10, 2))
        self.truth = first + second + carry
        shift = stream("column-addition/wrong", config.seed).integers(1, 10, self.truth.shape)
        self.wrong = self.truth // 10 * 10 + (self.truth + shift) % 10
        mix, rng = config.reliability_mix(), stream("column-addition/reliability", config.seed)
        self.reliability = assign_reliabilities(mix, self.truth.size, rng).reshape(self.truth.shape)
        self._dials: dict[str, tuple[int, int | None]] = {}
        for digits in range(1, config.max_depth + 1):
            self._dials[f"{self.name}/{digits}d"] = (digits, None)
            for carries in range(digits + 1):
                self._dials[f"{self.name}/{digits}d-carry{carries}"] = (digits, carries)
        self.tasks: Mapping[str, Task] = tasks_of(self, self._dials)

    def vocabulary(self) -> tuple[str, ...]:
        """Return every token: lead tokens, filler, signs and column names, digits."""
        return (QUESTION, TEXTBOOK, FILLER, PLUS, IS, TOTAL, *COLUMNS[: self.config.max_depth], *"0123456789")

    def documents(self, n: int, rng: np.random.Generator) -> list[Document]:
        """Return `n` documents drawn with `rng`; the digits of a number are its depth."""
        plan = draw_plan(self.config, self.config.max_depth, n, rng)
        operands = self._draw_operands(plan.depth, rng)
        for _ in range(200):
            queries = [_query(a, b) for a, b in operands.tolist()]
            again = [i for i, query in enumerate(queries) if in_test(query, self.config.test_share)]
            if not again:
                break
            operands[again] = self._draw_operands(plan.depth[again], rng)
        else:
            raise InputError("column-addition: the test split holds nearly every question; lower test_share")
        sums = self._sums(operands, rng)
        rows = zip(operands.tolist(), sums.tolist(), plan.depth.tolist(), plan.diligent.tolist())
        chains = [_chain(a, b, stated[:digits], diligent) for (a, b), stated, digits, diligent in rows]
        guesses = [_spell(guess) for guess in self._draw_operands(plan.depth, rng).sum(axis=1).tolist()]
        leads = np.where(plan.textbook, TEXTBOOK, QUESTION).tolist()
        responses = compose(plan, chains, guesses)
        return [Document(f"{lead} {query}", text) for lead, query, text in zip(leads, queries, responses)]

    def demonstrations(self, tasks: Sequence[str], n: int, rng: np.random.Generator) -> list[Document]:
        """Return whole chains in answer to web-style questions; `config.demonstrations` says what they state.

        Args:
            tasks: ids of the tasks that the questions belong to.
            n: number of demonstrations.
            rng: generator.
        """
        if not tasks:
            raise InputError(
                "column-addition: no task to demonstrate was named; name at least one, e.g. 'column-addition/2d'"
            )
        shown: list[Document] = []
        for task, count in zip(tasks, shares_of(n, len(tasks))):
            for query in self._queries(task, count, rng, "train") if count else ():
                a, b = _parse(query)
                believe = rng if self.config.demonstrations == "web" else None
                shown.append(Document(f"{QUESTION} {query}", self._worked(a, b, believe)))
        return [shown[i] for i in rng.permutation(len(shown))]

    def problems(self, task: str, n: int, rng: np.random.Generator, split: Split = "test") -> list[Problem]:
        """Return distinct problems of a task.

        `meta` holds `chain` (the worked answer), `depth` (digits), `carries`, `reliability` (per column: the
        probability that a text which gets there states it right) and `weakest` (the least of them).

        Args:
            task: id of the task.
            n: number of problems.
            rng: generator.
            split: `test` or `train`.

        Raises:
            InputError: an unknown task, or more problems than there are (about a fifth of 100 for one digit).
        """
        if task not in self.tasks:
            raise InputError(f"column-addition: no task is called {task!r}; there are {', '.join(self.tasks)}")
        return [self._problem(task, query) for query in self._queries(task, n, rng, split)]

    def worked_answer(self, problem: Problem) -> str:
        """Return the canonical chain of `problem`, from the prompt alone.

        Raises InputError if it is no question of this domain.
        """
        lead, _, query = problem.prompt.partition(" ")
        if lead not in (QUESTION, TEXTBOOK):
            raise InputError(
                f"column-addition: {problem.prompt!r} is no question; one begins with {QUESTION!r} or {TEXTBOOK!r}"
            )
        return self._worked(*_parse(query))

    def verifiers(self) -> tuple[Verifier, ...]:
        """Return the reward (the total is right), then process (every column is)."""
        return (ChainAnswer("column-addition-answer@1"), ChainProcess("column-addition-process@1"))

    def controls(self) -> tuple[Verifier, ...]:
        """Return format: whether a completion looks like a worked answer, whatever it says."""
        return (ChainFormat("column-addition-format@1"),)

    def _problem(self, task: str, query: str) -> Problem:
        a, b = _parse(query)
        digits = len(str(a))
        carry = 0
        reliability: list[float] = []
        carries = 0
        for column in range(digits):
            fact = (a // 10**column % 10, b // 10**column % 10, carry)
            reliability.append(float(self.reliability[fact]))
            carry = int(self.truth[fact]) // 10
            carries += carry
        meta: dict[str, object] = {
            "chain": self._worked(a, b),
            "depth": digits,
            "carries": carries,
            "reliability": reliability,
            "weakest": min(reliability),
        }
        return Problem(task, f"{QUESTION} {query}", _spell(a + b), meta)

    def _queries(self, task: str, n: int, rng: np.random.Generator, split: Split) -> list[str]:
        digits, carries = self._dials[task]

        def draw(count: int) -> list[str]:
            operands = self._draw_operands(np.full(count, digits), rng)
            if carries is not None:
                operands = operands[(self._sums(operands) >= 10)[:, :digits].sum(axis=1) == carries]
            return [_query(a, b) for a, b in operands.tolist()]

        return distinct_queries(draw, n, split, self.config.test_share, task)

    def _draw_operands(self, digits: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw two numbers of as many digits (one digit: 0 to 9) for each row, shape (n, 2)."""
        low = np.where(digits == 1, 0, 10 ** (digits - 1))[:, None]
        return rng.integers(low, 10 ** digits[:, None], (len(digits), 2))

    def _sums(self, operands: IntArray, believe: np.random.Generator | None = None) -> IntArray:
        """Return the stated sum of each column, shape (n, max_depth), from the right: true, or as web text believes."""
        carry = np.zeros(len(operands), np.int64)
        sums = np.empty((len(operands), self.config.max_depth), np.int64)
        for column in range(self.config.max_depth):
            first, second = (operands // 10**column % 10).T
            total = self.truth[first, second, carry]
            if believe is not None:
                right = believe.random(len(total)) < self.reliability[first, second, carry]
                total = np.where(right, total, self.wrong[first, second, carry])
            sums[:, column] = total
            carry = total // 10
        return sums

    def _worked(self, a: int, b: int, believe: np.random.Generator | None = None) -> str:
        digits = len(str(a))
        if digits > self.config.max_depth:
            raise InputError(
                f"column-addition: {a} + {b} has {digits} digits; this corpus has at most {self.config.max_depth}"
            )
        return _chain(a, b, self._sums(np.array([[a, b]]), believe)[0, :digits].tolist(), diligent=True)


def _chain(a: int, b: int, sums: list[int], diligent: bool) -> str:
    """Write the columns with their sums, then the total; a lazy writer of several columns stops after the first."""
    parts: list[str] = []
    total = carry = 0
    for column, value in enumerate(sums):
        parts.append(
            f"{COLUMNS[column]} {a // 10**column % 10} {b // 10**column % 10} {carry} {IS} {value // 10} {value % 10}"
        )
        if not diligent and len(sums) > 1:
            return parts[0]
        total += value % 10 * 10**column
        carry = value // 10
    return " ".join([*parts, TOTAL, _spell(total + carry * 10 ** len(sums))])


def _spell(number: int) -> str:
    return " ".join(str(number))


def _query(a: int, b: int) -> str:
    return f"{_spell(a)} {PLUS} {_spell(b)}"


def _parse(query: str) -> tuple[int, int]:
    first, plus, second = query.partition(f" {PLUS} ")
    a, b = first.replace(" ", ""), second.replace(" ", "")
    if not plus or not (a.isdecimal() and b.isdecimal()) or len(a) != len(b) or query != _query(int(a), int(b)):
        raise InputError(f"column-addition: {query!r} is no query; write two numbers of equal length, like '4 7 + 3 5'")
    return int(a), int(b)


_TASKS = ColumnAddition().tasks

FAMILY = Family(
    "column-addition",
    "lab",
    "sums worked out column by column; the dial is the number of digits and of carries",
    tuple(_TASKS),
    _TASKS.get,
)
