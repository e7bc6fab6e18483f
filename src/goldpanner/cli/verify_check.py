"""`verify-check`: how often a verifier pays for a wrong answer, and how often it fails a right one."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goldpanner.cli.app import app
from goldpanner.cli.options import AsJson, Level, StoreOrNone, Threshold
from goldpanner.errors import InputError
from goldpanner.sources import open_store

if TYPE_CHECKING:
    from goldpanner.interop import Judge
    from goldpanner.measure.corrections import VerifierErrors
    from goldpanner.sources import Source
    from goldpanner.tasks import Domain
    from goldpanner.types import Completion, Problem, Verdict
    from goldpanner.verify import Verifier
    from goldpanner.verify.check import Case, Check

RECORDS = "verifier-checks"
"""Kind of the store's records, one for each (task, verifier)."""
PLAIN = "arithmetic/add-3d3d"
"""Whose answers a verifier named by itself is checked on."""


@app.command("verify-check")
def verify_check(
    what: Annotated[
        str, typer.Argument(help="A task, or a verifier: number, math, exact (also number:flexible), file.py:function.")
    ],
    data: Annotated[Path | None, typer.Option(help="Data file of the task, e.g. for gsm8k/test.")] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Your own corpus: JSONL with answer, text, right; form if you like.")
    ] = None,
    verifier: Annotated[str | None, typer.Option(help="Check this verifier instead of the task's own.")] = None,
    threshold: Threshold = None,
    store: StoreOrNone = None,
    problems: Annotated[int, typer.Option(help="Problems to build the corpus from.", min=3)] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the problems.")] = 0,
    level: Level = 0.95,
    as_json: AsJson = False,
) -> None:
    """False positives and negatives of a verifier, form by form, against right answers and exploits.

    Example: goldpanner verify-check arithmetic/add-2d2d --store demo
    """
    from goldpanner.tasks.own import judge_of, named_verifier
    from goldpanner.verify.check import check

    alone = named_verifier(what, threshold)
    if alone is not None and verifier is not None:
        raise InputError(f"{what} is a verifier already; leave out --verifier {verifier}, or name a task first")
    task = PLAIN if alone is not None else what
    if alone is None and (verifier := who_judges(what, verifier)) is not None:
        alone = judge_of(verifier, threshold)
    corpus = corpus_of(task, data, cases, problems, seed)
    judges = verifiers_of(task) if alone is None else (alone,)
    watched = [Watched(each) for each in judges]
    found = [check(each, corpus, level) for each in watched]
    unread = [each.unread(corpus) for each in watched]
    if store is not None:
        place = open_store(store)
        for each in found:
            for name in each.tasks:
                place.put(RECORDS, f"{name} {each.verifier}", each.record())
    if as_json:
        records = [{**each.record(), "unread_because": dict(why)} for each, why in zip(found, unread)]
        typer.echo(json.dumps({"checks": records}, allow_nan=False))
        return
    for each, why in zip(found, unread):
        typer.echo("\n".join(lines(each, why)))
    if store is not None:
        typer.echo(f"kept in {store}; next: goldpanner measure POLICY --store {store} {options(found[0])}")


class Watched:
    """A verifier whose verdicts are kept, for their reasons."""

    def __init__(self, verifier: "Verifier") -> None:
        self.verifier = verifier
        self.id = verifier.id
        self.verdicts: list[Verdict] = []

    def __call__(self, problem: "Problem", completion: "Completion") -> "Verdict":
        """Judge one completion."""
        return self.judge_many([(problem, completion)])[0]

    def judge_many(self, pairs: "Sequence[tuple[Problem, Completion]]") -> "list[Verdict]":
        """Judge, in one call where the verifier offers it."""
        many = getattr(self.verifier, "judge_many", None)
        verdicts: list[Verdict] = [self.verifier(*pair) for pair in pairs] if many is None else many(pairs)
        self.verdicts += verdicts
        return verdicts

    def unread(self, corpus: "Sequence[Case]") -> list[tuple[str, int]]:
        """Return why right answers of the corpus were UNJUDGED and how often, the commonest reasons first.

        Raises InputError where no case at all was judged: then it is the verifier that fails.
        """
        said = [(case, verdict) for case, verdict in zip(corpus, self.verdicts) if verdict.outcome == "unjudged"]
        reasons = Counter(verdict.reason for case, verdict in said if case.right).most_common(3)
        if len(said) == len(self.verdicts):
            (reason, times), *_ = reasons or [(said[0][1].reason, len(said))]
            raise InputError(
                f"{self.id} judged none of {len(said):,} cases; {times:,} times because: {reason}; mend it, then check "
                "it again"
            )
        return reasons


def rescorer(name: str, threshold: float | None = None) -> "Judge":
    """Return what judges a log's completions anew: the verifier of a name, as `named_verifier` has it.

    Some tools log a worked solution as the target (`... #### 18`): what it declares, by the rule that completions are
    read by, is then the right answer of `number` and `math`. Raises InputError for an unknown name, and, while judging,
    where the log does not say the right answer.
    """
    from goldpanner.tasks.own import NAMED, named_verifier
    from goldpanner.verify import Exact, Math, Number, reading

    verifier = named_verifier(name, threshold)
    if verifier is None:
        raise InputError(f"--rescore {name!r} is no verifier; give {', '.join(NAMED)}, or file.py:function")
    if not isinstance(verifier, Exact | Number | Math):
        return verifier

    @lru_cache(maxsize=4096)
    def right(answer: str) -> str:
        declared = None if isinstance(verifier, Exact) else reading.declared(answer).answer
        return answer if declared is None else declared

    def judge(problem: "Problem", completion: "Completion") -> "Verdict":
        if not problem.answer.strip():
            raise InputError(
                f"--rescore {name}: the log does not say the right answer to problem {problem.id}; leave it out, "
                "or give a function that needs none: --rescore file.py:function"
            )
        answer = right(problem.answer)
        return verifier(problem if answer == problem.answer else replace(problem, answer=answer), completion)

    return judge


def verifiers_of(
    task: str, name: str | None = None, threshold: float | None = None, columns: str | None = None
) -> "Sequence[Verifier]":
    """Return the verifier of a name; without one those of a task: a domain's own, a recipe's, else exact match."""
    from goldpanner import tasks
    from goldpanner.tasks.own import judge_of
    from goldpanner.verify import Exact

    if name is not None:
        return (judge_of(name, threshold, columns),)
    if threshold is not None:
        raise InputError(f"--threshold {threshold:g} is that of a reward function; name it with --verifier file.py:f")
    if (domain := domain_of(task)) is not None:
        return domain.verifiers()
    found = tasks.find_recipe(task)
    return (Exact(),) if found is None else (found.verifier(),)


def judges_of(
    word: str, task: str, name: str | None, threshold: float | None, columns: str | None = None
) -> "Callable[[], Sequence[Verifier]]":
    """Return what makes the verifiers of the task that a word stands for; other processes can call it, too.

    Where nobody was named for a data file, it is told who judges.
    """
    if threshold is None:
        name = who_judges(word, name, columns)
    place, colon, function = (name or "").rpartition(":")
    if place.endswith(".py"):  # a worker on another node knows no relative path
        name = f"{Path(place).absolute()}{colon}{function}"
    return partial(verifiers_of, task, name, threshold, columns)


def who_judges(word: str, name: str | None, columns: str | None = None) -> str | None:
    """Return the name of the verifier: as given, else that of a data file, which is told; None: the task's own."""
    from goldpanner.tasks.own import data_path, usual_verifier

    if name is not None or (path := data_path(word)) is None:
        return name
    name = usual_verifier(path, columns)
    why = "every answer is a number" if name != "exact" else "the whole text counts: not every answer is a number"
    typer.echo(f"judged by {name} ({why}); --verifier math, or file.py:function, judges otherwise", err=True)
    return name


def notes_for_verl(names: Collection[str]) -> list[str]:
    """Return what somebody who trains on these tasks with verl should know: bare prompts, and tasks nobody judges."""
    from goldpanner import tasks

    notes, found = [], {name: tasks.find_recipe(name) for name in sorted(names)}
    wrapped = [name for name, each in found.items() if each is not None and each.params.template != "{prompt}"]
    if wrapped:
        notes.append(
            f"each prompt stands there bare, as a message of the user's: the template that {', '.join(wrapped)} is "
            "sampled with is not, and verl puts the model's chat template around it"
        )
    unjudged = [name for name, each in found.items() if each is None and domain_of(name) is None]
    if unjudged:
        notes.append(
            f"compute_score knows no verifier of {', '.join(unjudged)} and will refuse it: point "
            "reward.custom_reward_function at a function of yours"
        )
    return notes


def domain_of(task: str) -> "Domain | None":
    """Return the domain that a task id belongs to, with its default knobs; None for a recipe's or a file's task."""
    from goldpanner import tasks

    if tasks.find_recipe(task) is not None:
        return None
    domains = [tasks.build(config()) for config in tasks.CONFIGS]
    return next((domain for domain in domains if task.startswith(f"{domain.name}/")), None)


def corpus_of(task: str, data: Path | None, given: Path | None, n: int, seed: int) -> list["Case"]:
    """Return the cases of a task: those of a corpus of one's own, else built from n of its problems."""
    from goldpanner import tasks
    from goldpanner.cli.problems import load_problems
    from goldpanner.tasks.own import NAMED
    from goldpanner.verify.check import cases, read_cases

    if given is not None:
        if tasks.data_path(task) is None and domain_of(task) is None and tasks.find_recipe(task) is None:
            raise InputError(f"no task is called {task!r}; name one, or a verifier: {', '.join(NAMED)}")
        return read_cases(given, task)
    problems = load_problems(task, n, seed, None, [], data)
    return list(cases(problems, worked_of(problems[0].task)))


def worked_of(task: str) -> "Callable[[Problem], str] | None":
    """Return what gives a problem's worked right answer where completions are judged as a whole, None elsewhere."""
    if (domain := domain_of(task)) is not None:
        return domain.worked_answer
    if task.startswith("countdown/"):
        from goldpanner.tasks.generated import solve_countdown

        return solve_countdown
    if task.startswith(("humaneval/", "mbpp/")):
        return lambda problem: f"```python\n{problem.meta.get('prefix', '')}{problem.answer}\n```"
    return None


def stored_errors(source: "Source") -> "VerifierErrors":
    """Return the audit that verify-check left in the store for the tasks and the verifier of a policy's samples.

    Raises InputError where the store has none, naming the task.
    """
    from goldpanner.measure.corrections import VerifierErrors

    if source.store is None:
        raise InputError(f"--checked takes verify-check's counts from a store, and {source.name} is a file")
    query = "SELECT DISTINCT task, verifier FROM samples WHERE policy = $policy AND step IS NULL ORDER BY ALL"
    total = dict.fromkeys(("false_positive", "wrong", "false_negative", "right"), 0)
    for row in source.store.sql(query, {"policy": source.policy}).to_pylist():
        if source.choice.tasks and row["task"] not in source.choice.tasks:
            continue
        verifier = source.choice.verifier or row["verifier"]
        record = source.store.get(RECORDS, f"{row['task']} {verifier}")
        if record is None:
            raise InputError(
                f"no check of {verifier} on {row['task']} is kept; run: goldpanner verify-check {row['task']} "
                f"--store {source.store.root}"
            )
        for name in total:
            total[name] += record["errors"][name]
    return VerifierErrors(**total)


def options(found: "Check") -> str:
    """Return the options of `measure` that carry a check's counts."""
    errors: dict[str, Any] = found.record()["errors"]
    return (
        f"--false-positive {errors['false_positive']}/{errors['wrong']} "
        f"--false-negative {errors['false_negative']}/{errors['right']}"
    )


def lines(found: "Check", why: Sequence[tuple[str, int]] = ()) -> list[str]:
    """Return a check in words: three rates with their intervals, then every form that failed with an example.

    `why` says why right answers were not read, and how often.
    """
    wrong = sum(tally.n for tally in found.tallies if not tally.right)
    right = sum(tally.n for tally in found.tallies if tally.right)
    rates = (
        ("false positives", found.false_positive(), f"of {wrong:,} texts without a right answer, judged CORRECT"),
        ("false negatives", found.false_negative(), f"of {right:,} right answers, judged WRONG"),
        ("unread", found.unread(), f"of {right:,} right answers, UNJUDGED"),
    )
    out = [f"{found.verifier} on {', '.join(found.tasks)}"]
    for name, rate, of in rates:
        shown = "   -" if rate.value != rate.value else f"{rate.value:6.2%}  [{rate.low:.2%}, {rate.high:.2%}]"
        out.append(f"  {name:<16}{shown}  {of}")
    said = {example["form"]: example for example in found.examples}
    for tally in found.failing():
        rate = found.rate(tally)
        out.append(
            f"  {rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] of {rate.n} {tally.form!r}, e.g. "
            f"{said[tally.form]['text'][:100]!r}"
        )
    unread = [f"{t.form!r} ({t.unjudged} of {t.n})" for t in found.tallies if t.right and t.unjudged]
    out += [f"  forms not read: {', '.join(unread)}"] if unread else []
    out += [f"  {times:,} of these: {reason}" for reason, times in why]
    return [*out, "  rates of this corpus: cases of one form are alike, so read the forms that fail first"]
