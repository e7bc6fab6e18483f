"""A second verifier on stored completions, and where it disagrees with the first: what finds a verifier's faults."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from goldpanner.errors import InputError
from goldpanner.progress import Event, Notify, silent
from goldpanner.sampling.rollout import judge_all
from goldpanner.store import Store
from goldpanner.store.read import columns
from goldpanner.store.rows import KEY
from goldpanner.types import Cause, Outcome, Problem, Sample, Verdict
from goldpanner.verify import Verifier

END = 240
"""Characters of a completion's end that are shown."""


@dataclass(frozen=True)
class Disagreement:
    """A completion that two verifiers judge differently."""

    problem: Problem
    sample: Sample
    """With the first verifier's verdict."""
    second: Verdict

    @property
    def outcomes(self) -> tuple[Outcome, Outcome]:
        """What the first said, and the second."""
        return self.sample.verdict.outcome, self.second.outcome

    def lines(self) -> Iterator[str]:
        """Yield the texts and both verdicts for a person."""
        text = self.sample.completion.text
        yield f"problem {self.problem.id}: {self.problem.prompt[:END]!r}"
        yield f"  right answer: {self.problem.answer[-END:]!r}"
        yield f"  completion:   {'... ' if len(text) > END else ''}{text[-END:]!r}"
        for name, verdict in (("A", self.sample.verdict), ("B", self.second)):
            reason = f": {verdict.reason}" if verdict.reason else ""
            yield f"  {name} {verdict.outcome:<9} {verdict.extracted!r}{reason}"

    def to_json(self) -> dict[str, object]:
        """Return the texts and both verdicts."""
        verdicts = {"first": self.sample.verdict, "second": self.second}
        return {
            "problem": self.problem.id,
            "policy": self.sample.policy,
            "prompt": self.problem.prompt,
            "answer": self.problem.answer,
            "text": self.sample.completion.text,
            **{
                name: {"verifier": v.verifier, "outcome": v.outcome, "extracted": v.extracted, "reason": v.reason}
                for name, v in verdicts.items()
            },
        }


@dataclass(frozen=True)
class SecondJudgement:
    """What a second verifier made of stored completions."""

    first: tuple[str, ...]
    """Ids of the verifiers that judged them when they were drawn."""
    second: str
    """Id of the second verifier."""
    new: int
    """Verdicts that were not stored before."""
    table: Mapping[Outcome, Mapping[Outcome, int]]
    """Completions by what the first said, then the second."""
    disagreements: tuple[Disagreement, ...]
    """CORRECT against WRONG first, then what one of them did not judge; in the order of the store."""

    def lines(self, show: int) -> Iterator[str]:
        """Yield the table of both verdicts, then the first `show` disagreements with their texts."""
        n, apart = sum(sum(row.values()) for row in self.table.values()), len(self.disagreements)
        yield f"{n:,} completions, {apart:,} judged differently ({self.new:,} verdicts are new)"
        yield f"A = {', '.join(self.first)}"
        yield f"B = {self.second}"
        yield "A \\ B".ljust(12) + "".join(f"{outcome:>12}" for outcome in self.table)
        for first, row in self.table.items():
            yield f"{first:<12}" + "".join(f"{times:>12,}" for times in row.values())
        for each in self.disagreements[:show]:
            yield ""
            yield from each.lines()
        if apart > show:
            yield f"... and {apart - show:,} more: --show {apart}, or --json"

    def to_json(self) -> dict[str, object]:
        """Return everything for a program."""
        return {
            "first": list(self.first),
            "second": self.second,
            "new": self.new,
            "table": {first: dict(row) for first, row in self.table.items()},
            "disagreements": [each.to_json() for each in self.disagreements],
        }


def judge_again(
    store: Store,
    verifier: Verifier,
    *,
    policy: str | None = None,
    tasks: Sequence[str] = (),
    notify: Notify = silent,
) -> SecondJudgement:
    """Have a verifier judge the stored completions that another one judged, and say where the two disagree.

    Nothing is drawn. The verdicts are stored under the verifier's id (`measure --verdicts-of` counts by them); what it
    has judged before is not judged again. A completion whose request failed is left out.

    Args:
        store: the store.
        verifier: the second verifier.
        policy: id of a policy; None: all.
        tasks: only these tasks; empty: all.
        notify: told how far it is.

    Raises:
        InputError: there is no completion that another verifier judged.
    """
    problems = store.problems(tasks or None)
    query = """
        SELECT DISTINCT problem FROM samples WHERE verifier <> $verifier AND finish <> 'error'
            AND ($policy IS NULL OR policy = $policy)
    """
    values = {"verifier": verifier.id, "policy": policy}
    ids = [str(i) for i in store.sql(query, values).column("problem").to_pylist()]
    chosen = sorted(i for i in ids if i in problems)
    table = {first: dict.fromkeys(Outcome, 0) for first in Outcome}
    firsts, differences, new = set[str](), list[Disagreement](), 0
    with store.writer() as sink:
        for done, i in enumerate(chosen, 1):
            earlier = dict(_earlier(store, verifier.id, i))
            samples = [
                sample
                for sample in store.samples(policy=policy, problem=i)
                if sample.verdict.verifier != verifier.id and sample.completion.finish != "error"
            ]
            unseen = [sample for sample in samples if sample.key not in earlier]
            verdicts = judge_all(verifier, problems[i], [sample.completion for sample in unseen])
            sink.write_verdicts(list(zip(unseen, verdicts, strict=True)))
            new += len(unseen)
            earlier |= {sample.key: verdict for sample, verdict in zip(unseen, verdicts, strict=True)}
            for sample in samples:
                second = earlier[sample.key]
                firsts.add(sample.verdict.verifier)
                table[sample.verdict.outcome][second.outcome] += 1
                if sample.verdict.outcome is not second.outcome:
                    differences.append(Disagreement(problems[i], sample, second))
            notify(Event(verifier.id, "judge", done, len(chosen)))
    if not firsts:
        raise InputError(
            f"{store.root} has no completion that another verifier than {verifier.id} judged; draw some with "
            "goldpanner sample, or name another verifier"
        )
    differences.sort(key=lambda each: Outcome.UNJUDGED in each.outcomes)
    return SecondJudgement(tuple(sorted(firsts)), verifier.id, new, table, tuple(differences))


def _earlier(store: Store, verifier: str, problem: str) -> Iterator[tuple[tuple[str, str, str, int, int], Verdict]]:
    """Yield the key of each sample of a problem that a verifier has judged since, and its verdict."""
    query = f"""
        SELECT {columns(KEY)}, outcome, extracted, reason, cause FROM verdicts
        WHERE verifier = $verifier AND problem = $problem
    """
    for row in store.sql(query, {"verifier": verifier, "problem": problem}).to_pylist():
        key = (row["problem"], row["policy"], row["params"], row["seed"], row["index"])
        cause = None if row["cause"] is None else Cause(row["cause"])
        yield key, Verdict(Outcome(row["outcome"]), verifier, row["extracted"], row["reason"] or "", cause)
