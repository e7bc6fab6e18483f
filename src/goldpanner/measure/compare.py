"""Did RL move the boundary? Base against RL, paired by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.measure.changes import CHANGES, Changes, SupportChange, changes, support
from goldpanner.measure.corrections import VerifierErrors, chance_corrected, verified_pass_at_k
from goldpanner.measure.curves import align, crossover, difference
from goldpanner.measure.equivalent import EquivalentK, equivalent_k, equivalent_k_at_1
from goldpanner.measure.intervals import check_level
from goldpanner.measure.metrics import Cost
from goldpanner.measure.origin import LABELS, Origin, origin
from goldpanner.measure.passk import Band, smallest_n
from goldpanner.measure.statements import (
    MARGIN,
    Statement,
    Word,
    changes_sentence,
    equivalent_k_sentence,
    statement_at,
    words_for,
)
from goldpanner.measure.thresholds import WITHIN
from goldpanner.result import Result
from goldpanner.types import Counts, Estimate, IntArray


@dataclass(frozen=True)
class Corrected:
    """pass@k of both models with something undone that the counts cannot show."""

    what: str
    """What is undone."""
    k: int
    base: Estimate
    rl: Estimate

    def to_json(self) -> dict[str, object]:
        """Return what is undone, k, and both estimates."""
        return {"what": self.what, "k": self.k, "base": self.base.to_json(), "rl": self.rl.to_json()}


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """What two sets of counts say about the difference between two models."""

    problems: int
    level: float
    base: Band
    rl: Band
    difference: Band
    """RL minus base."""
    at_one_try: Statement
    at_k_tries: Statement
    """At K, the largest k that both have samples for (k = 0: there is none)."""
    equivalent_k: EquivalentK
    """Tries that the base needs for RL's pass@K."""
    crossover_k: Estimate
    """First k at which the base catches up with RL and from which it then leads, log-interpolated. NaN: RL does not
    lead at k = 1. Infinite: not within n (curves that meet where both solve all they can do not cross). Its interval is
    the confidence set from the band of the difference: from the last k up to which RL surely leads to the first at
    which the base surely does."""
    equivalent_k_at_1: Estimate
    """Smallest k with pass@k of the base >= pass@1 of RL, log-interpolated; infinite where n is too small to see it."""
    changes: Changes
    words: tuple[Word, ...]
    sentences: tuple[str, ...]
    """The words, then each statement with its numbers."""
    origin: Mapping[str, Origin] = field(default_factory=dict)
    """Problem id -> where a gained problem came from, of those that `with_origins` was told of."""
    support_refused: str | None = None
    """Why nothing can be said of support: two systems are compared, or the words were asked for nevertheless."""
    corrected: tuple[Corrected, ...] = ()
    """pass@k of both with guessing or the verifier's errors undone, where these are known."""
    costs: tuple[Cost, Cost] | None = None
    """Tokens of a try, base and RL, where they are stored."""
    at_equal_cost: Sequence[Mapping[str, object]] = ()
    """pass@k of both at equal tokens (`measure.metrics.equal_cost`)."""

    @property
    def summary(self) -> str:
        """The sentences as one paragraph."""
        return " ".join(self.sentences)

    @property
    def verdict(self) -> str:
        """The words, joined."""
        return " and ".join(self.words)

    @property
    def four_way(self) -> dict[str, int]:
        """Number of problems kept, lost, gained and neither."""
        return {name: self.changes.count(name) for name in CHANGES}

    @property
    def support(self) -> SupportChange:
        """SRR, NDR, SDS and NSCR as published."""
        return support(self.changes)

    @property
    def support_established(self) -> SupportChange:
        """The same with only established gains and losses."""
        return support(self.changes, established=True)

    def to_json(self) -> dict[str, object]:
        """Return the object that `goldpanner compare --json` prints."""
        changes, gap = self.changes, self.difference
        bands = {"base": self.base, "rl": self.rl, "difference": gap}
        measures = {"as_published": self.support, "established": self.support_established}
        return {
            "verdict": self.verdict,
            "words": list(self.words),
            "summary": self.summary,
            "problems": self.problems,
            "level": self.level,
            "at_one_try": self.at_one_try.to_json(),
            "at_k_tries": self.at_k_tries.to_json(),
            "equivalent_k": self.equivalent_k.to_json(),
            "pass_at_k": {name: band.to_json() for name, band in bands.items()},
            "crossover_k": self.crossover_k.to_json() | {"beyond": _beyond(self.crossover_k, gap.largest)},
            "equivalent_k_at_1": self.equivalent_k_at_1.to_json()
            | {"beyond": _beyond(self.equivalent_k_at_1, self.base.largest)},
            "four_way": self.four_way,
            "established": {name: changes.of(name, established=True) for name in ("lost", "gained")},
            "rose": [changes.ids[i] for i in changes.moved(changes.rose)],
            "fell": [changes.ids[i] for i in changes.moved(changes.fell)],
            "fdr": changes.fdr,
            "support": {
                how: {MEASURES[name]: value for name, value in measure.to_json().items()}
                for how, measure in measures.items()
            },
            "per_problem": changes.rows(),
            "origin": {i: o.to_json() for i, o in self.origin.items()},
            "corrected": [each.to_json() for each in self.corrected],
            "tokens_a_try": {name: cost.to_json() for name, cost in zip(("base", "rl"), self.costs or ())},
            "at_equal_cost": list(self.at_equal_cost),
            "support_refused": self.support_refused,
        }


MEASURES = {
    "srr": "support_retention_rate",
    "ndr": "net_discovery_rate",
    "sds": "support_dynamic_score",
    "nscr": "net_support_change_rate",
}
"""Full names of the measures of arXiv 2507.14843."""


def _beyond(estimate: Estimate, largest: int) -> int | None:
    """Return the k up to which an infinite estimate was looked for in vain."""
    return largest if np.isinf(estimate.value) else None


def compare(
    base: Counts,
    rl: Counts,
    *,
    k: Sequence[int] | IntArray | None = None,
    level: float = 0.95,
    fdr: float = 0.05,
    margin: float = MARGIN,
    within: int = WITHIN,
    refused: str | None = None,
    allow_truncated_sampling: bool = False,
    answer_space: float | None = None,
    verifier: VerifierErrors | None = None,
    clusters: IntArray | None = None,
) -> Comparison:
    """Compare two models on the same problems, paired by id.

        >>> compare(Counts.of([64] * 40, [8] * 40), Counts.of([64] * 40, [32] * 40)).at_one_try.word
        'better'

    Args:
        base: counts of the model before RL.
        rl: counts of the model after RL, of the same problems.
        k: values of k, by default every k up to the smallest n of each; the difference ends at the smaller of the two.
        level: coverage of every band and interval.
        fdr: false discovery rate of problems that rose or fell, and of gains and losses.
        margin: difference of pass@k that matters: where a larger one could hide, the question is undecided.
        within: R, the tries within which the base must reach RL's pass@K for the gain to be a sharpening, at least 1.
        refused: why the samples say nothing of the models' support; then two systems are compared, as they were run.
        allow_truncated_sampling: say the words about support although they are refused; the reason stands beside them.
        answer_space: number of answers that a blind guess chooses from, at least 2.
        verifier: audit of the verifier, whose errors are then undone in the equivalent k, too.
        clusters: number of the cluster of each of the base's problems, shape (P,), where problems of a cluster are
            alike (templates, halves of an exam): the bands of the curves then cover the sampling of clusters, and the
            equivalent k takes its problems for fewer.

    Returns:
        The three statements, the bands under them, and what became of every problem.

    Raises:
        InputError: the two do not hold the same ids (they are named), hold none, or an option is out of its range.
    """
    check_level(level)
    if not 0 < fdr < 1:
        raise InputError(f"the false discovery rate is {fdr!r}; give a number in (0, 1), e.g. 0.05")
    if within < 1:
        raise InputError(f"within is {within!r}; give the tries that count as within reach, at least 1, e.g. {WITHIN}")
    rl = align(base, rl)
    ks = passk.choose_ks(k, 1) if k is not None else np.union1d(*(passk.default_ks(smallest_n(x)) for x in (base, rl)))
    ks = np.union1d(ks, [1]).astype(np.int64)
    of_base, of_rl = (passk.curve(x, ks, level, clusters=clusters) for x in (base, rl))
    gap = difference(base, rl, ks, level, clusters=clusters)
    found = changes(base, rl, fdr)
    crossing, at_1 = crossover(gap), equivalent_k_at_1(base, rl, level)
    one, last = (statement_at(x, of_base, of_rl, gap, margin) for x in (1, gap.largest))
    errors = verifier.rates if verifier else (0.0, 0.0)
    needed = equivalent_k(base, [rl], gap.largest, within, level, errors, clusters)
    words = words_for(one, last, needed, systems=refused is not None and not allow_truncated_sampling)
    sentences = summarise(one, last, needed, crossing, found, words, base, rl)
    if refused is not None and not allow_truncated_sampling:
        sentences = (f"Two systems are compared as they were run ({refused}).", *sentences)
    corrected = _corrected(base, rl, sorted({1, gap.largest} - {0}), level, answer_space, verifier)
    return Comparison(
        len(base), level, of_base, of_rl, gap, one, last, needed, crossing, at_1, found, words, sentences,
        support_refused=refused, corrected=corrected,
    )  # fmt: skip


def _corrected(
    base: Counts,
    rl: Counts,
    ks: Sequence[int],
    level: float,
    answer_space: float | None,
    verifier: VerifierErrors | None,
) -> tuple[Corrected, ...]:
    """Return pass@k of both without lucky guesses, and as a perfect verifier would see it."""
    rows = []
    if answer_space is not None:
        if answer_space < 2:
            raise InputError(f"the answer space is {answer_space!r}; give the number of answers, at least 2")
        guesses = [chance_corrected(x, 1 / answer_space, ks, level) for x in (base, rl)]
        rows += [Corrected("without lucky guesses", k, guesses[0][k], guesses[1][k]) for k in ks]
    if verifier is not None:
        seen = [verified_pass_at_k(x, verifier, ks, level) for x in (base, rl)]
        rows += [Corrected("as a perfect verifier sees it", k, seen[0][k], seen[1][k]) for k in ks]
    return tuple(rows)


def summarise(
    one: Statement,
    last: Statement,
    needed: EquivalentK,
    crossing: Estimate,
    found: Changes,
    words: Sequence[Word],
    base: Counts,
    rl: Counts,
) -> tuple[str, ...]:
    """Return the sentences of a comparison: the words, then each statement with its numbers.

    Args:
        one: statement at one try.
        last: statement at the largest k.
        needed: tries that the base needs for RL's result.
        crossing: first k from which the base leads.
        found: changes problem by problem.
        words: words of the comparison.
        base: counts before RL.
        rl: counts after RL.
    """
    verdict = " and ".join(words)
    text = [f"{verdict[0].upper()}{verdict[1:]}."]
    if words == ("no difference shown",) and (found.rose | found.fell).any():
        text = ["No difference of pass@k is shown, but problems changed."]
    if not last.k:
        return text[0], f"No k is defined for all {len(base)} problems: at least one has no samples."
    text += [each.sentence for each in ([one, last] if last.k > 1 else [one])]
    text.append(equivalent_k_sentence(needed, tuple(words), base, rl))
    if np.isfinite(crossing.value) and last.sign < 0 < one.sign:
        upper = f"{crossing.high:.3g}" if np.isfinite(crossing.high) else f"beyond {last.k}"
        text.append(
            f"The base overtakes RL at k = {crossing.value:.3g} (confidence set {crossing.low:.3g} to {upper})."
        )
    text.append(changes_sentence(found))
    if unjudged := int(base.unjudged.sum() + rl.unjudged.sum()):
        text.append(f"{unjudged:,} samples are unjudged: every interval allows for all of them right or all wrong.")
    return tuple(filter(None, text))


def with_origins(
    found: Comparison,
    scored: Mapping[str, Mapping[str, Any]],
    base: Counts,
    full_softmax: bool,
    rollouts: int | None = None,
) -> Comparison:
    """Return the comparison with the origin of its gained problems, and a sentence on them in the summary.

    Args:
        found: the comparison.
        scored: per problem arrays `correct`, `logp` (under the base) and `own` of the RL model's samples, as
            `Store.scored` gives them; a problem that it lacks gets no origin.
        base: the base's counts.
        full_softmax: whether RL's samples come from the model's own distribution.
        rollouts: N, the rollouts of a problem in which RL could have found an answer; None: R of the comparison.
    """
    place = {problem: i for i, problem in enumerate(base.ids)}
    judged = base.judged
    origins: dict[str, Origin] = {}
    for problem in found.changes.of("gained"):
        if (rows := scored.get(problem)) is not None:
            at = place[problem]
            origins[problem] = origin(
                rows["correct"],
                rows["logp"],
                rows["own"],
                base_n=int(judged[at]),
                base_c=int(base.c[at]),
                full_softmax=full_softmax,
                problems=found.problems,
                rollouts=rollouts or found.equivalent_k.within,
                level=found.level,
            )
    if not origins:
        return found
    weights = []
    for label in LABELS:
        these = [o for o in origins.values() if o.label == label]
        reliable = [o.p_base.value for o in these if o.diagnostics.reliable]
        had = f" (the base had them at P = {min(reliable):.2g} to {max(reliable):.2g}, or more)" if reliable else ""
        if these:
            weights.append(f"{len(these)} {label}{had if label == 'amplified' else ''}")
    sentence = f"Origin of {len(origins)} of the gained problems, by importance sampling: {', '.join(weights)}."
    return replace(found, origin=origins, sentences=(*found.sentences, sentence))
