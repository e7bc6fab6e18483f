"""Recipes for real models: which problems, how they are put, who judges. `recipe("arithmetic/add-2d2d")`.

| id | problems | dial |
|---|---|---|
| `arithmetic/add-2d2d`, `sub-3d2d`, `mul-2d1d` | made: `34 + 57 =` | digits of both numbers |
| `countdown/4` | made: an expression of given numbers that makes a target | how many numbers |
| `reasoning-gym/leg_counting` (any generator of that library) | made | |
| `gsm8k/test`, `math-500/test`, `aime/2024` | your file | |
| `humaneval/test`, `mbpp/test` | your file; judged in a sandbox | |

The lab's own worlds (`world/d3`, `arithmetic/add-2d` with its worked columns) are in `world` and `arithmetic`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from goldpanner.errors import InputError
from goldpanner.rng import stream
from goldpanner.tasks.domain import Split, distinct_queries
from goldpanner.tasks.files import GSM8K_ANSWER, read_problems
from goldpanner.tasks.gym import BATCH, Gym
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.base import Verifier
from goldpanner.verify.countdown import Countdown
from goldpanner.verify.gym import ReasoningGym
from goldpanner.verify.math import Math, Number

TEST_SHARE = 0.2
"""Share of the generated questions, by a hash of their text, that only the test split holds."""

Draw = Callable[[int, np.random.Generator], list[str]]
SIGNS = {"add": "+", "sub": "-", "mul": "*"}


@dataclass(frozen=True)
class Recipe:
    """One family of problems, how it is put to a model, and who judges it."""

    task: str
    params: SamplingParams
    """Template (with worked examples for generated tasks), stops and token limit; T = 1 over the full softmax."""
    verifier: Callable[[], Verifier]
    """Makes the verifier; raises MissingExtraError or InputError where its library or its sandbox is missing."""
    read: Callable[[Path, int | None], list[Problem]] | None = None
    """Reads a file, at most n problems; None for a generated task."""
    draw: Draw | None = field(default=None, repr=False)
    make: Callable[[str], Problem] | None = field(default=None, repr=False)
    batch: int = 256
    """Questions drawn at a time."""

    def problems(
        self, n: int | None = None, seed: int = 0, split: Split = "test", path: Path | str | None = None
    ) -> list[Problem]:
        """Return n distinct problems: drawn by `seed` from the split, or the first n of the file at `path` (None: all).

        Raises InputError if a file is needed and not given (or the other way round), or if there are not n problems.
        """
        if self.read is not None:
            if path is None:
                raise InputError(f"{self.task}: its problems are read from a file; give its path (--data FILE)")
            return self.read(Path(path), n)
        if path is not None:
            raise InputError(f"{self.task}: its problems are made, not read; leave out the path {str(path)!r}")
        if n is None:
            raise InputError(f"{self.task}: say how many problems to make")
        assert self.draw is not None
        assert self.make is not None
        rng, draw = stream("problems", self.task, split, seed), self.draw
        queries = distinct_queries(lambda count: draw(count, rng), n, split, TEST_SHARE, self.task, self.batch)
        return [self.make(query) for query in queries]


def recipe(task: str) -> Recipe:
    """Return the recipe of a task id. Raises InputError for an unknown one, naming the kinds there are."""
    found = find_recipe(task)
    if found is None:
        raise InputError(f"no recipe is called {task!r}; there are {', '.join(recipe_ids())}")
    return found


def find_recipe(task: str) -> Recipe | None:
    """Return the recipe of a task id, None where there is none."""
    family, _, name = task.partition("/")
    if family == "arithmetic" and (m := re.fullmatch(r"(add|sub|mul)-([1-9])d([1-9])d", name)):
        return _arithmetic(task, m[1], int(m[2]), int(m[3]))
    if family == "countdown" and re.fullmatch(r"[2-6]", name):
        return _countdown(task, int(name))
    if family == "reasoning-gym" and re.fullmatch(r"\w+", name):
        return _reasoning_gym(task)
    if family in _FILES and name:
        return _FILES[family](task)
    return None


def recipe_ids() -> tuple[str, ...]:
    """Return examples of every kind of recipe id (digits and numbers vary)."""
    made = ("arithmetic/add-2d2d", "arithmetic/sub-2d2d", "arithmetic/mul-2d1d", "countdown/3", "countdown/4")
    files = ("gsm8k/test", "gsm8k/train", "math-500/test", "aime/2024", "humaneval/test", "mbpp/test")
    return (*made, "reasoning-gym/leg_counting", *files)


# ------------------------------------------------------------------------------------------------ generated


def _arithmetic(task: str, operation: str, first: int, second: int) -> Recipe:
    """`34 + 57 =` after four lines of the same kind; a difference is never negative if the first number is longer."""

    def draw(count: int, rng: np.random.Generator) -> list[str]:
        pair = [rng.integers(0 if d == 1 else 10 ** (d - 1), 10**d, count) for d in (first, second)]
        rows = zip(*(numbers.tolist() for numbers in pair))
        if operation == "sub" and first == second:
            rows = zip(*np.sort(pair, axis=0)[::-1].tolist())
        return [f"{a} {SIGNS[operation]} {b} =" for a, b in rows]

    def make(query: str) -> Problem:
        a, sign, b, _ = query.split()
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
        return Problem(task, query, str(value), {"digits": [first, second], "carries": _carries(a, sign, b)})

    made = Recipe(task, SamplingParams(), lambda: Number(missing="wrong"), draw=draw, make=make)
    return _with_examples(made, 4, max_tokens=6 + 2 * (first + second))


def _carries(a: str, sign: str, b: str) -> int | None:
    """Return how often a column carries (or borrows); None for a product."""
    if sign == "*":
        return None
    total = carry = 0
    for x, y in zip(reversed(a.zfill(len(b))), reversed(b.zfill(len(a)))):
        carry = int(int(x) + int(y) + carry > 9) if sign == "+" else int(int(x) - int(y) - carry < 0)
        total += carry
    return total


def _countdown(task: str, size: int) -> Recipe:
    """Numbers from 1 to 25 and a target from 10 to 99 that they make, each used once (after TinyZero's Countdown)."""

    def draw(count: int, rng: np.random.Generator) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            numbers = sorted(rng.integers(1, 26, size).tolist())
            value = _combine(numbers, rng)[1]
            if 10 <= value <= 99:
                found.append(f"make {value} from {' '.join(map(str, numbers))}:")
        return found

    def make(query: str) -> Problem:
        target, *numbers = map(int, re.findall(r"\d+", query))
        return Problem(task, query, str(target), {"numbers": numbers, "target": target})

    made = Recipe(task, SamplingParams(), Countdown, draw=draw, make=make)
    return _with_examples(made, 4, max_tokens=16 + 8 * size, solve=solve_countdown)


def _reasoning_gym(task: str) -> Recipe:
    """The answer is asked for in the tags that reasoning-gym's own prompts use, and judged by its own scorer."""
    template = "{prompt}\nThink step by step, then put the final answer between <answer> and </answer>.\n"
    params = SamplingParams(max_tokens=512, stop=("</answer>",), template=template)
    gym = Gym(task)
    return Recipe(task, params, ReasoningGym, draw=gym.draw, make=gym.make, batch=BATCH)


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


def _with_examples(
    made: Recipe, shots: int, max_tokens: int, solve: Callable[[Problem], str] = lambda problem: problem.answer
) -> Recipe:
    """Put worked examples of the train split before the prompt: the form is shown, so that the skill is measured."""
    examples = made.problems(shots, seed=-1, split="train")
    lines = "".join(f"{p.prompt} {solve(p)}\n" for p in examples)
    params = SamplingParams(max_tokens=max_tokens, stop=("\n",), template=lines + "{prompt}")
    return replace(made, params=params)


# ------------------------------------------------------------------------------------------------ files


def _gsm8k(task: str) -> Recipe:
    """Cobbe et al. 2021, arXiv:2110.14168; the answer stands after `####`."""
    template = "Question: {prompt}\nThink step by step and end with 'The answer is N.'\nAnswer:"
    params = SamplingParams(max_tokens=256, stop=("\nQuestion:",), template=template)
    return Recipe(
        task, params, Number, lambda path, n: read_problems(path, task=task, answer_pattern=GSM8K_ANSWER, n=n)
    )


def _competition(task: str) -> Recipe:
    """MATH-500 (Hendrycks et al. 2021, arXiv:2103.03874; Lightman et al. 2023, arXiv:2305.20050) and AIME files."""

    def read(path: Path, n: int | None) -> list[Problem]:
        last: InputError | None = None
        for question, answer in (("problem", "answer"), ("question", "answer"), ("Problem", "Answer")):
            try:
                keep = ("subject", "level") if task.startswith("math-500") else ()
                return read_problems(path, task=task, question=question, answer=answer, keep=keep, n=n)
            except InputError as error:
                if "no column is called" not in str(error):
                    raise
                last = last or error
        assert last is not None
        raise last

    template = "Problem: {prompt}\nThink step by step and put the final answer into \\boxed{}.\nSolution:"
    aime = task.startswith("aime")
    params = SamplingParams(max_tokens=4096 if aime else 1024, stop=("\nProblem:",), template=template)
    return Recipe(task, params, Number if aime else Math, read)


def _code() -> Verifier:
    from goldpanner.verify.code import Code

    return Code()


def _humaneval(task: str) -> Recipe:
    """Chen et al. 2021, arXiv:2107.03374: the prompt is the head of a function, `check` its test."""

    def read(path: Path, n: int | None) -> list[Problem]:
        rows = read_problems(
            path,
            task=task,
            question="prompt",
            answer="canonical_solution",
            keep=("task_id", "entry_point", "test"),
            n=n,
        )
        return [
            replace(
                row,
                meta={
                    "task_id": row.meta["task_id"],
                    "prefix": row.prompt,
                    "tests": [f"{row.meta['test']}\ncheck({row.meta['entry_point']})"],
                },
            )
            for row in rows
        ]

    stop = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(")
    return Recipe(task, SamplingParams(max_tokens=512, stop=stop), _code, read)


def _mbpp(task: str) -> Recipe:
    """Austin et al. 2021, arXiv:2108.07732: a sentence, and assertions that name the function."""

    def read(path: Path, n: int | None) -> list[Problem]:
        rows = read_problems(path, task=task, question="text", answer="code", keep=("task_id", "test_list"), n=n)
        return [
            replace(
                row,
                prompt=f"{row.prompt}\nYour code should pass this test:\n{row.meta['test_list'][0]}",
                meta={"task_id": row.meta["task_id"], "tests": list(row.meta["test_list"])},
            )
            for row in rows
        ]

    template = "# {prompt}\n```python\n"
    return Recipe(task, SamplingParams(max_tokens=512, stop=("\n```",), template=template), _code, read)


_FILES: dict[str, Callable[[str], Recipe]] = {
    "gsm8k": _gsm8k,
    "math-500": _competition,
    "aime": _competition,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
}
