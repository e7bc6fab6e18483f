"""Task: a family of problems, how it is put to a model, and who judges it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from goldpanner.errors import GoldpannerError, InputError
from goldpanner.rng import stream
from goldpanner.tasks.files import read_problems, rows
from goldpanner.tasks.splits import Split, in_test
from goldpanner.types import Completion, Problem, SamplingParams
from goldpanner.verify.base import Verifier
from goldpanner.verify.references import unsound


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt and its response: text to train on, without the end-of-sequence token that the trainer appends."""

    prompt: str
    response: str

    @property
    def text(self) -> str:
        """Prompt and response."""
        return f"{self.prompt} {self.response}"


class Make(Protocol):
    """Makes n distinct problems of a split; the first m of them do not depend on n."""

    def __call__(self, n: int, rng: np.random.Generator, split: Split) -> list[Problem]:
        """Return the problems. Raises InputError where there are fewer than n."""


@dataclass(frozen=True)
class Task:
    """One family of problems, under a readable id. `goldpanner.task(name)` gives the task of a name.

    Its problems are made (`make`) or read from a file (`read`, `data`): one of the two is there. `worked` stands where
    completions are judged as a whole; elsewhere a right completion only declares the answer.
    """

    id: str
    """Readable id: family, slash, member, e.g. `world/d3`; of a data file its name without the suffix."""
    params: SamplingParams
    """Template (with worked examples for made tasks), stops and token limit; T = 1 over the full softmax."""
    verifiers: Callable[[], Sequence[Verifier]]
    """Makes the verifiers, the headline first; raises MissingExtraError or InputError where a library or the sandbox is
    missing. Other processes can call it, too."""
    make: Make | None = field(default=None, repr=False)
    """Makes problems; None for a task that reads a file."""
    read: Callable[[Path, int | None], list[Problem]] | None = field(default=None, repr=False)
    """Reads at most n problems of a file, in their order (None: all); None for a task that makes its problems."""
    data: Path | None = None
    """The file, or the folder of a data set, that is read."""
    seeded: bool = False
    """Whether `draw` takes a seed from the generator and gives the problems of that seed, instead of making them with
    the generator itself."""
    controls: Callable[[], Sequence[Verifier]] = tuple
    """Makes verifiers for control experiments, which judge only where one of them is named as the reward."""
    worked: Callable[[Problem], str] | None = field(default=None, repr=False)
    """Gives a worked right answer to a problem, the whole completion; None where only the answer counts."""
    demonstrate: Callable[[int, np.random.Generator], list[Document]] | None = field(default=None, repr=False)
    """Writes worked examples of its own; None: the problems' worked answers are shown."""
    examples: Path | None = None
    """File of worked examples, columns `prompt` and `response`, in place of the task's own."""
    test_share: float = 0.0
    """Share of a file's problems, by a hash of their text, that the test split holds; 0: the file is not split."""
    left_out: frozenset[str] = frozenset()
    """Ids of a file's problems that are left out."""
    set_aside: bool = False
    """Whether a file's problems that the verifier cannot judge are left out; else the first of them is an error."""
    note: str = ""
    """What the caller should know of the choice of the verifier; empty: nothing."""

    def problems(self, n: int | None = None, seed: int = 0, split: Split = "test") -> list[Problem]:
        """Return distinct problems; the first m do not depend on n.

        A file's problems are those of every split unless it is split (`test_share`).

        Args:
            n: number of problems; None: all of the file.
            seed: seed of made problems.
            split: `test` or `train`.

        Raises:
            InputError: a file is needed and missing, or there are not n made problems.
        """
        if self.make is None:
            if self.test_share or self.left_out:
                return self.pool(split)[:n]
            return self._read(n)
        if n is None:
            raise InputError(f"{self.id}: its problems are made; give their number n")
        return self.make(n, stream("problems", self.id, split, seed), split)

    def draw(self, n: int, rng: np.random.Generator, split: Split = "test") -> list[Problem]:
        """Return distinct problems drawn with a generator (of a file in any order).

        Args:
            n: number of problems.
            rng: generator.
            split: `test` or `train`.

        Raises:
            InputError: there are not n, or as `problems`.
        """
        if self.seeded:
            return self.problems(n, int(rng.integers(2**62)), split)
        if self.make is not None:
            return self.make(n, rng, split)
        pool = self.pool(split)
        if n > len(pool):
            raise InputError(
                f"{self.id}: {n} problems were asked for, {self.data} has {len(pool)}; lower prompts_per_step"
            )
        return [pool[i] for i in rng.permutation(len(pool))[:n]]

    def pool(self, split: Split) -> list[Problem]:
        """Return all problems of a split of the file, in their order there."""
        pool = [problem for problem in self._all if problem.id not in self.left_out]
        if not self.test_share:
            return pool
        return [problem for problem in pool if in_test(problem.prompt, self.test_share) == (split == "test")]

    def demonstrations(self, n: int, rng: np.random.Generator) -> list[Document]:
        """Return worked examples of the train split: of the file of examples, else the task's own.

        The prompts stand there bare, without the template.

        Args:
            n: number of examples.
            rng: generator.

        Raises:
            InputError: the verifier does not hold a problem's worked answer for right: then only a file can teach.
        """
        if self.examples is not None:
            shown = read_problems(self.examples, task=self.id, question="prompt", answer="response")
            return [Document(shown[i].prompt, shown[i].answer) for i in rng.permutation(len(shown))[:n]]
        if self.demonstrate is not None:
            return self.demonstrate(n, rng)
        return [Document(problem.prompt, self._right_answer(problem)) for problem in self.draw(n, rng, "train")]

    def sampling(
        self,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int | None = None,
        template: str | None = None,
    ) -> SamplingParams:
        """Return how completions of the task are drawn; its stop texts belong to its own template.

        Args:
            temperature: divisor of the logits; 1: the model's own distribution.
            top_p: share of probability that is kept; 1: all.
            top_k: number of most likely tokens that are kept; 0: all.
            max_tokens: longest completion; None: the task's limit.
            template: prompt template with `{prompt}`; None: the task's.
        """
        own = self.params
        return SamplingParams(
            temperature,
            top_p,
            top_k,
            own.max_tokens if max_tokens is None else max_tokens,
            own.stop if template is None else (),  # a task's stops belong to its template
            own.template if template is None else template,
        )

    def check(self) -> None:
        """Raise InputError or MissingExtraError now where its file cannot be read or its verifier cannot judge."""
        self.verifiers()
        if self.read is not None:
            self._all  # noqa: B018

    @cached_property
    def _all(self) -> list[Problem]:
        return self._read(None)

    def _read(self, n: int | None) -> list[Problem]:
        assert self.read is not None
        if self.data is None:
            raise InputError(f"{self.id}: its problems are read from a file; give its path (--data FILE)")
        return self._sound(self.read(self.data, n))

    def _sound(self, problems: list[Problem]) -> list[Problem]:
        """Return the problems of a file whose right answers the headline verifier can judge.

        Raises InputError naming the row of the first that it cannot, unless these are set aside. A verifier that is
        missing here says so itself where it is needed.
        """
        if not problems or "tests" in problems[0].meta:  # of programs: their reader looks at the tests
            return problems
        try:
            verifier = self.verifiers()[0]
        except GoldpannerError:
            return problems
        broken = unsound(problems, verifier)
        if broken and (not self.set_aside or len(broken) == len(problems)):
            first = broken[0]
            assert self.data is not None
            place = next(islice(rows(self.data, self.id), first.place, None))[0]
            more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
            raise InputError(
                f"{place}: {verifier.id} cannot judge the right answer {first.problem.answer[-60:]!r} "
                f"({first.reason}){more}; mend it, name another --verifier, or leave such rows out: --set-aside"
            )
        places = {each.place for each in broken}
        return [problem for i, problem in enumerate(problems) if i not in places]

    def _right_answer(self, problem: Problem) -> str:
        """Return the worked answer of a problem that the verifier holds for right."""
        texts = [str(problem.meta.get("worked", problem.answer))]
        texts += [] if self.worked is None else [self.worked(problem)]
        verifier = self.verifiers()[0]
        for text in texts:
            if verifier(problem, Completion(text)).correct:
                return text
        raise InputError(f"{self.id}: its problems come without worked answers; give them in a file, --examples")


@dataclass(frozen=True)
class Family:
    """Tasks whose ids begin with the same name and a slash. `catalog.register` makes them known everywhere."""

    name: str
    """What their ids begin with, e.g. `countdown`."""
    group: str
    """Heading under which they are listed; one of `catalog.GROUPS`, or a new one."""
    about: str
    """What the problems are, in one line."""
    ids: tuple[str, ...]
    """Ids that are listed; there may be more (digits and numbers vary)."""
    find: Callable[[str], Task | None] = field(repr=False)
    """Gives the task of an id that begins with the name, None where there is no such task."""
    needs: str = ""
    """What has to be given or installed, e.g. `--data FILE`; empty: nothing."""
