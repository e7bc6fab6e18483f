"""Problems of a task recipe (`arithmetic/add-2d2d`) or a data file as prompts for training any Hugging Face model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from goldpanner.errors import InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.runs.config import RunConfig
from goldpanner.sampling.rollout import judge
from goldpanner.tasks import Recipe, Split, data_path, own_task, read_problems, recipe
from goldpanner.tasks.domain import in_test
from goldpanner.tasks.own import judge_of
from goldpanner.train.rows import Row
from goldpanner.types import Completion, Problem
from goldpanner.verify import Verifier


@dataclass(frozen=True)
class Posed:
    """One task: its problems, its verifier, and worked examples of it."""

    recipe: Recipe
    data: Path | None = None
    """File of the problems, for a task that is read (`gsm8k/train`)."""
    examples: Path | None = None
    """File of worked examples, columns `prompt` and `response`; None: the problems' own worked answers."""
    test_share: float = 0.0
    """Share of a file's problems, by a hash of their text, that the test split holds; 0: the file is not split."""
    left_out: frozenset[str] = frozenset()
    """Ids of a file's problems that are never posed."""
    chosen: bool = False
    """Whether the verifier is not the task's own: the settings then name it, so that nothing goes on with another."""

    @classmethod
    def of(
        cls,
        task: str,
        data: Path | None = None,
        examples: Path | None = None,
        columns: str | None = None,
        verifier: str | None = None,
        threshold: float | None = None,
    ) -> "Posed":
        """Return the task of an id, or of a data file (`columns`: its own), judged by `verifier` if one is named.

        Raises InputError for an unknown one, or data that is missing or too much.
        """
        path = data_path(task)
        if path is not None:
            if data is not None:
                raise InputError(f"--data {data}: {task} is a data file itself; leave one of them out")
            posed = cls(own_task(path, columns, verifier, threshold), path, examples, chosen=True)
        elif columns is not None:
            raise InputError(f"--columns names those of a data file, and {task} is a task; leave it out")
        elif verifier is not None:
            judged = replace(recipe(task), verifier=lambda: judge_of(verifier, threshold))
            posed = cls(judged, data, examples, chosen=True)
        elif threshold is not None:
            raise InputError(f"--threshold {threshold:g} is that of a reward function; name it with --verifier")
        else:
            posed = cls(recipe(task), data, examples)
        if posed.chosen:
            posed.verifiers()  # one that is unknown, or not installed, is told now
        if posed.recipe.read is not None or data is not None:
            posed._read  # noqa: B018  (what cannot be read is told now)
        return posed

    def settings(self, config: RunConfig) -> RunConfig:
        """Return the settings with this task in every stage, and its template, stops and token limit unless given."""
        own = {name: getattr(self.recipe.params, name) for name in ("template", "stop", "max_tokens")}
        changed = {}
        for name in ("grpo", "ppo", "rft"):
            part = getattr(config, name)
            new = {key: value for key, value in own.items() if key not in part.model_fields_set}
            if self.chosen:
                new["reward"] = self.verifiers()[0].id.split("@")[0]
            changed[name] = part.model_copy(update={**new, "tasks": {self.recipe.task: 1.0}})
        return config.model_copy(update=changed)

    def problems(self, task: str, n: int, rng: np.random.Generator, split: Split = "test") -> list[Problem]:
        """Return n distinct problems; of a file any of them, whatever the split, unless it is split (`test_share`)."""
        if self.recipe.read is None:
            return self.recipe.problems(n, int(rng.integers(2**62)), split)
        pool = self.pool(split)
        if n > len(pool):
            raise InputError(
                f"{task}: {n} problems were asked for, {self.data} has {len(pool)}; lower prompts_per_step"
            )
        return [pool[i] for i in rng.permutation(len(pool))[:n]]

    def pool(self, split: Split) -> list[Problem]:
        """Return the problems of a file that are posed in a split, in their order."""
        chosen = [problem for problem in self._read if problem.id not in self.left_out]
        if not self.test_share:
            return chosen
        return [problem for problem in chosen if in_test(problem.prompt, self.test_share) == (split == "test")]

    def verifiers(self) -> tuple[Verifier, ...]:
        """Return the task's verifier."""
        return (self.recipe.verifier(),)

    def controls(self) -> tuple[Verifier, ...]:
        """Return nothing: these tasks have no form of their own."""
        return ()

    def demonstrations(self, n: int, rng: np.random.Generator, policy: LocalPolicy, template: str) -> list[Row]:
        """Return n worked examples as token rows, from the file of examples or the problems' own worked answers.

        Raises InputError where the verifier does not hold a worked answer for right: then only a file can teach.
        """
        if self.examples is not None:
            read = read_problems(self.examples, task=self.recipe.task, question="prompt", answer="response")
            chosen = [read[i] for i in rng.permutation(len(read))[:n]]
            return [_row(policy, problem, problem.answer, template) for problem in chosen]
        verifier = self.recipe.verifier()
        rows = []
        for problem in self.problems(self.recipe.task, n, rng, "train"):
            worked = str(problem.meta.get("worked", problem.answer))
            if not judge(verifier, problem, Completion(worked)).correct:
                raise InputError(
                    f"{self.recipe.task}: its problems come without worked answers; give them in a file, --examples"
                )
            rows.append(_row(policy, problem, worked, template))
        return rows

    @cached_property
    def _read(self) -> Sequence[Problem]:
        return self.recipe.problems(None, path=self.data)


def _row(policy: LocalPolicy, problem: Problem, response: str, template: str) -> Row:
    """Return a worked example; a blank sets the answer off from a prompt that does not end with one."""
    blank = "" if template == "chat" or template.endswith((" ", "\n")) else " "
    return Row(policy.encode_prompt(problem, template), policy.encode_response(blank + response))
