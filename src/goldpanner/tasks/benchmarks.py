"""Benchmarks that read your file of their problems: how each is put to a model, and who judges it."""

from collections.abc import Callable
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.tasks.files import GSM8K_ANSWER, read_problems
from goldpanner.tasks.task import Family, Task
from goldpanner.types import Problem, SamplingParams
from goldpanner.verify.base import Verifier
from goldpanner.verify.math import Math, Number

FILE, MATH = "--data FILE", "the extra math"
"""What a benchmark needs."""


def _gsm8k(task: str) -> Task:
    """Cobbe et al. 2021, arXiv:2110.14168; the answer stands after `####`."""

    def read(path: Path, n: int | None) -> list[Problem]:
        return read_problems(path, task=task, answer_pattern=GSM8K_ANSWER, n=n)

    template = "Question: {prompt}\nThink step by step and end with 'The answer is N.'\nAnswer:"
    params = SamplingParams(max_tokens=256, stop=("\nQuestion:",), template=template)
    return Task(task, params, lambda: (Number(),), read=read)


def _competition(task: str, max_tokens: int, verifier: Callable[[], Verifier], keep: tuple[str, ...] = ()) -> Task:
    """Return a task of competition problems; the columns are called as the copies of the data sets call them."""

    def read(path: Path, n: int | None) -> list[Problem]:
        errors: list[InputError] = []
        for question, answer in (("problem", "answer"), ("question", "answer"), ("Problem", "Answer")):
            try:
                return read_problems(path, task=task, question=question, answer=answer, keep=keep, n=n)
            except InputError as error:
                if "no column is called" not in str(error):
                    raise
                errors.append(error)
        raise errors[0]

    template = "Problem: {prompt}\nThink step by step and put the final answer into \\boxed{}.\nSolution:"
    params = SamplingParams(max_tokens=max_tokens, stop=("\nProblem:",), template=template)
    return Task(task, params, lambda: (verifier(),), read=read)


def _math(task: str) -> Task:
    """MATH-500 (Hendrycks et al. 2021, arXiv:2103.03874; Lightman et al. 2023, arXiv:2305.20050)."""
    return _competition(task, 1024, Math, ("subject", "level"))


def _aime(task: str) -> Task:
    """American Invitational Mathematics Examination: the answers are whole numbers from 0 to 999."""
    return _competition(task, 4096, Number)


def family(name: str, about: str, ids: tuple[str, ...], make: Callable[[str], Task], extra: str = "") -> Family:
    """Return a family whose members are named as you like: `gsm8k/train` is another task than `gsm8k/test`.

    Args:
        name: name of the family.
        about: what its problems are.
        ids: ids that the catalogue lists.
        make: makes the task of an id.
        extra: extra of the package that it needs.
    """
    needs = f"{FILE}, {extra}" if extra else FILE
    return Family(name, "benchmarks", about, ids, lambda task: make(task) if task != f"{name}/" else None, needs)


FAMILIES = (
    family("gsm8k", "grade-school word problems; the answer is a number", ("gsm8k/test", "gsm8k/train"), _gsm8k),
    family("math-500", "competition mathematics; the answer is a formula", ("math-500/test",), _math, MATH),
    family("aime", "competition mathematics; the answer is a whole number", ("aime/2024",), _aime),
)
