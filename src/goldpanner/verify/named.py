"""Verifiers by name: `number`, `math`, `exact`, their variants, and `file.py:function`."""

from collections.abc import Callable, Iterable
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.types import Completion, Problem, Verdict
from goldpanner.verify.base import Verifier
from goldpanner.verify.exact import Exact
from goldpanner.verify.math import Math, Number
from goldpanner.verify.references import right_answer
from goldpanner.verify.reward import load_reward

VERIFIERS: dict[str, Callable[[], Verifier]] = {
    "number": Number,
    "number:flexible": lambda: Number(flexible=True),
    "number:wrong-if-missing": lambda: Number(missing="wrong"),
    "math": Math,
    "math:flexible": lambda: Math(flexible=True),
    "math:wrong-if-missing": lambda: Math(missing="wrong"),
    "exact": Exact,
}
"""Name -> what makes the verifier; a function of your own is `file.py:function` or `package.module:function`."""


def find_verifier(name: str, threshold: float | None = None, answer: str = "answer") -> Verifier | None:
    """Return the verifier of a name, None where it is no verifier's (a task's, say).

    Args:
        name: one of `VERIFIERS`, or a function with TRL's signature, `file.py:function`.
        threshold: reward from which a completion is right; of a function only.
        answer: a further name under which a function is given the right answer, beside `answer`.

    Raises:
        InputError: a function that is not there, or a threshold for a verifier that has none.
    """
    if name in VERIFIERS:
        if threshold is not None:
            raise InputError(
                f"--threshold {threshold:g} is that of a reward function, and {name} is none; leave it out"
            )
        return VERIFIERS[name]()
    if ":" not in name or Path(name).is_file():
        return None
    return load_reward(name, threshold, columns={} if answer == "answer" else {answer: "answer"})


def named_verifier(name: str, threshold: float | None = None, answer: str = "answer") -> Verifier:
    """Return the verifier of a name. Raises InputError for an unknown one, and as `find_verifier` does.

    >>> named_verifier("number").id.partition("@")[0]
    'number'
    """
    verifier = find_verifier(name, threshold, answer)
    if verifier is None:
        raise InputError(f"no verifier is called {name!r}; give {', '.join(VERIFIERS)}, or file.py:function")
    return verifier


def absolute(name: str) -> str:
    """Return the name of a verifier with the whole path of its file: a worker elsewhere knows no relative one."""
    place, colon, function = name.rpartition(":")
    return f"{Path(place).absolute()}{colon}{function}" if place.endswith(".py") else name


def default_verifier(answers: Iterable[str]) -> tuple[str, str]:
    """Return the name of the verifier for a data file with these right answers, and why it is that one.

    Each row is judged by its own answer's type: by `number` where none is a formula, else by `math`. A finished text
    that declares no answer is then wrong. If every answer is text, the whole text counts: `exact`.
    """
    typed = [right_answer(answer) for answer in answers if answer.strip()]
    types = {"text" if each is None else each.type for each in typed}
    if types <= {"text"}:
        return "exact", "every answer is text: the whole text counts"
    if types & {"formula", "equation"}:
        return "math:wrong-if-missing", "some answers are formulas"
    return "number:wrong-if-missing", "every answer is a number" if types == {"number"} else "each by its answer's type"


def rescorer(name: str, threshold: float | None = None) -> Callable[[Problem, Completion], Verdict]:
    """Return what judges a log's completions anew: the verifier of a name.

    Some tools log a worked solution as the right answer (`... #### 18`): what it declares is then the right answer of
    `exact`, too. Raises InputError for an unknown name, and, while
    judging, where the log does not say the right answer.
    """
    verifier = named_verifier(name, threshold)

    def judge_again(problem: Problem, completion: Completion) -> Verdict:
        if isinstance(verifier, Exact | Number | Math) and not problem.answer.strip():
            raise InputError(
                f"--rescore {name}: the log does not say the right answer to problem {problem.id}; leave it out, "
                "or give a function that needs none: --rescore file.py:function"
            )
        return verifier(problem, completion)

    return judge_again
