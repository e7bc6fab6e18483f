"""Made tasks for any model: `arithmetic/add-2d2d` asks `34 + 57 =`, `countdown/4` for an expression of given numbers.

Their prompts begin with four worked examples, so that the skill is measured and not the form.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from goldpanner.rng import stream
from goldpanner.tasks.splits import TEST_SHARE, Split, distinct_queries
from goldpanner.tasks.task import Family, Task
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.base import Verifier
from goldpanner.verify.countdown import Countdown
from goldpanner.verify.math import Number

Queries = Callable[[int, np.random.Generator], list[str]]
SIGNS = {"add": "+", "sub": "-", "mul": "*"}


def made_task(
    task: str,
    params: SamplingParams,
    verifier: Callable[[], Verifier],
    queries: Queries,
    problem: Callable[[str], Problem],
    batch: int = 256,
    worked: Callable[[Problem], str] | None = None,
) -> Task:
    """Return the task whose questions `queries` writes and `problem` answers, a fifth of them kept for the test split.

    Args:
        task: id of the task.
        params: how completions are drawn unless said otherwise.
        verifier: makes the verifier.
        queries: writes questions from random numbers.
        problem: makes the problem of a question.
        batch: questions written at a time.
        worked: writes the worked solution of a problem.
    """

    def make(n: int, rng: np.random.Generator, split: Split) -> list[Problem]:
        texts = distinct_queries(lambda count: queries(count, rng), n, split, TEST_SHARE, task, batch)
        return [problem(text) for text in texts]

    return Task(task, params, lambda: (verifier(),), make=make, seeded=True, worked=worked)


def _arithmetic(task: str) -> Task | None:
    """`34 + 57 =` after four lines of the same kind; a difference is never negative if the first number is longer."""
    dials = re.fullmatch(r"arithmetic/(add|sub|mul)-([1-9])d([1-9])d", task)
    if dials is None:
        return None
    operation, first, second = dials[1], int(dials[2]), int(dials[3])

    def queries(count: int, rng: np.random.Generator) -> list[str]:
        pair = [rng.integers(0 if d == 1 else 10 ** (d - 1), 10**d, count) for d in (first, second)]
        rows = zip(*(numbers.tolist() for numbers in pair))
        if operation == "sub" and first == second:
            rows = zip(*np.sort(pair, axis=0)[::-1].tolist())
        return [f"{a} {SIGNS[operation]} {b} =" for a, b in rows]

    def problem(query: str) -> Problem:
        a, sign, b, _ = query.split()
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
        return Problem(task, query, str(value), {"digits": [first, second], "carries": _carries(a, sign, b)})

    bare = made_task(task, SamplingParams(), lambda: Number(missing="wrong"), queries, problem)
    return _with_examples(bare, 4, max_tokens=6 + 2 * (first + second))


def _carries(a: str, sign: str, b: str) -> int | None:
    """Return how often a column carries (or borrows); None for a product."""
    if sign == "*":
        return None
    total = carry = 0
    for x, y in zip(reversed(a.zfill(len(b))), reversed(b.zfill(len(a)))):
        carry = int(int(x) + int(y) + carry > 9) if sign == "+" else int(int(x) - int(y) - carry < 0)
        total += carry
    return total


def _countdown(task: str) -> Task | None:
    """Numbers from 1 to 25 and a target from 10 to 99 that they make, each used once (after TinyZero's Countdown)."""
    dial = re.fullmatch(r"countdown/([2-6])", task)
    if dial is None:
        return None
    size = int(dial[1])

    def queries(count: int, rng: np.random.Generator) -> list[str]:
        texts: list[str] = []
        while len(texts) < count:
            numbers = sorted(rng.integers(1, 26, size).tolist())
            value = _combine(numbers, rng)[1]
            if 10 <= value <= 99:
                texts.append(f"make {value} from {' '.join(map(str, numbers))}:")
        return texts

    def problem(query: str) -> Problem:
        target, *numbers = map(int, re.findall(r"\d+", query))
        return Problem(task, query, str(target), {"numbers": numbers, "target": target})

    bare = made_task(task, SamplingParams(), Countdown, queries, problem, worked=solve_countdown)
    return _with_examples(bare, 4, max_tokens=16 + 8 * size)


def solve_countdown(problem: Problem) -> str:
    """Return an expression that solves a problem of `countdown/N`, always the same one."""
    rng = stream("countdown/solution", problem.prompt)
    while True:  # ends: the question was made from such an expression
        expression, value = _combine(problem.meta["numbers"], rng)
        if value == problem.meta["target"]:
            return expression


def _combine(numbers: list[int], rng: np.random.Generator) -> tuple[str, int]:
    """Return a random expression of all the numbers and its value, every step a whole number above 0."""
    parts = [(str(x), Fraction(x)) for x in numbers]
    while len(parts) > 1:
        i, j = rng.choice(len(parts), 2, replace=False).tolist()
        (left, a), (right, b) = parts[i], parts[j]
        options = {"+": a + b, "*": a * b, **({"-": a - b} if a > b else {})}
        if (a / b).denominator == 1:
            options["/"] = a / b
        sign = list(options)[int(rng.integers(len(options)))]
        parts = [part for k, part in enumerate(parts) if k not in (i, j)]
        parts.append((f"({left} {sign} {right})", options[sign]))
    text, value = parts[0]
    return text[1:-1], int(value)


def _with_examples(bare: Task, shots: int, max_tokens: int) -> Task:
    """Put worked examples of the train split before the prompt: the form is shown, so that the skill is measured."""
    solve = bare.worked or (lambda problem: problem.answer)
    lines = "".join(f"{p.prompt} {solve(p)}\n" for p in bare.problems(shots, seed=-1, split="train"))
    return replace(bare, params=SamplingParams(max_tokens=max_tokens, stop=("\n",), template=lines + "{prompt}"))


FAMILIES = (
    Family(
        "arithmetic",
        "made",
        "sums, differences and products, e.g. 34 + 57 =; the dial is the digits of both numbers",
        ("arithmetic/add-2d2d", "arithmetic/sub-2d2d", "arithmetic/mul-2d1d"),
        _arithmetic,
    ),
    Family(
        "countdown",
        "made",
        "an expression of given numbers that makes a target; the dial is how many numbers, 2 to 6",
        ("countdown/3", "countdown/4"),
        _countdown,
    ),
)
