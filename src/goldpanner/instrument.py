"""The instrument on what is known of counts: `gp.compare` and `gp.profile`, which refuse what these cannot say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from goldpanner.errors import InputError
from goldpanner.measure import corrections, groups
from goldpanner.measure.compare import Comparison, Corrected, compare, with_origins
from goldpanner.measure.corrections import ParseSplit, VerifierErrors, support_refusal
from goldpanner.measure.curves import align
from goldpanner.measure.groups import GroupShares
from goldpanner.measure.metrics import Confounds, Cost, Votes, by_label, equal_cost, majority
from goldpanner.measure.passk import Band, curve
from goldpanner.measure.plan import Plan, plan
from goldpanner.measure.profile import Profile, profile
from goldpanner.measure.series import Series, series
from goldpanner.measure.statements import MARGIN
from goldpanner.measure.thresholds import WITHIN
from goldpanner.sources import CountsLike, Source, load_counts
from goldpanner.types import Counts, Estimate, FloatArray, IntArray, SamplingParams


def compare_sources(
    base: CountsLike,
    rl: CountsLike,
    *,
    store: Path | str | None = None,
    k: Sequence[int] | IntArray | None = None,
    level: float = 0.95,
    fdr: float = 0.05,
    margin: float = MARGIN,
    within: int = WITHIN,
    as_run: bool = False,
    allow_truncated_sampling: bool = False,
    rl_rollouts: int | None = None,
    answer_space: float | None = None,
    verifier: VerifierErrors | None = None,
    clusters: str | None = None,
) -> Comparison:
    """Compare two models on the same problems, paired by id: did the boundary move?

        >>> import goldpanner as gp
        >>> base, rl = gp.Counts.of([64] * 40, [8] * 40), gp.Counts.of([64] * 40, [32] * 40)
        >>> gp.compare(base, rl).at_one_try.word
        'better'

    What is known of how the counts were drawn must agree: sampling parameters, verifier, prompts. Samples drawn with
    top-p, top-k or T away from the model's own distribution say how two systems do, and nothing of the models' support:
    the words about it are withheld. Gained problems whose RL samples were scored under the base (`goldpanner score`)
    get their origin. Of plain `Counts` nothing is known, and nothing is refused but different problems.

    Args:
        base: the model before RL: counts, or whatever `load_counts` takes.
        rl: the model after RL, on the same problems.
        store: folder of the store that holds the policies that words name.
        k: values of k, by default every k up to the smallest n of each; the difference ends at the smaller of the two.
        level: coverage of every band and interval.
        fdr: false discovery rate of established gains and losses.
        margin: difference of pass@k that matters (`measure.statements.Statement.undecided`).
        within: R, the tries within which the base must reach RL's pass@K for the gain to be a sharpening.
        as_run: compare the two systems as they were run, although they were sampled or asked differently.
        allow_truncated_sampling: say the words about support although truncated or tempered sampling, or a server's
            fault, can make zeros; the reason stands beside them (`support_refused`).
        rl_rollouts: N, the rollouts of a problem in which RL could have found an answer, for the word "new"; None: R.
        answer_space: number of answers that a blind guess chooses from, at least 2.
        verifier: audit of the verifier, to undo its errors.
        clusters: column of the store's problems, or file of id and label, that says which problems are alike.

    Raises:
        InputError: the two were not sampled, judged or asked alike, or hold different problems.
    """
    before, after = load_counts(base, store, name="base"), load_counts(rl, store, name="RL")
    refused = same_conditions(before, after, as_run)
    comparison = compare(
        before, after, k=k, level=level, fdr=fdr, margin=margin, within=within, refused=refused,
        allow_truncated_sampling=allow_truncated_sampling, answer_space=answer_space, verifier=verifier,
        clusters=None if clusters is None else cluster_numbers(before.labels(clusters)),
    )  # fmt: skip
    costs = cost_of(before), cost_of(after)
    if costs[0].mean > 0 and costs[1].mean > 0:
        comparison = replace(
            comparison, costs=costs, at_equal_cost=equal_cost(before, align(before, after), costs, level)
        )
    comparison = _with_texts(comparison, before, after)
    if refused is not None and not allow_truncated_sampling:
        return comparison
    return _with_origins(comparison, before, after, rl_rollouts)


def compare_series(
    base: CountsLike,
    models: Mapping[str, Sequence[CountsLike]],
    *,
    store: Path | str | None = None,
    group: int = 16,
    level: float = 0.95,
    fdr: float = 0.05,
    margin: float = MARGIN,
    within: int = WITHIN,
    as_run: bool = False,
) -> Series:
    """Compare several models with one base: checkpoints of a run, seeds of one recipe.

        print(gp.compare_series("base.jsonl", {"sft": ["sft.jsonl"], "rl": ["rl-0.jsonl", "rl-1.jsonl"]}).summary)

        >>> import goldpanner as gp
        >>> base, rl = gp.Counts.of([32] * 20, [4] * 20), gp.Counts.of([32] * 20, [20] * 20)
        >>> [(stage.name, stage.at_one_try.word) for stage in gp.compare_series(base, {"rl": [rl]}).stages]
        [('rl', 'better')]

    Args:
        base: the model before: counts, or whatever `load_counts` takes.
        models: by name the counts of a model, several of them for seeds of one recipe.
        store: folder of the store that holds the policies that words name.
        group: G, the size of the groups that RL would draw, at least 2.
        level: coverage of all intervals of the differences together.
        fdr: false discovery rate of problems that rose or fell, stage by stage.
        margin: difference of pass@k that matters.
        within: R, the tries within which the base must reach a model's pass@K for the gain to be a sharpening.
        as_run: compare systems as they were run, although they were sampled or asked differently.

    Returns:
        The base and every stage.

    Raises:
        InputError: two were not sampled, judged or asked alike, or hold different problems.
    """
    before = load_counts(base, store, name="base")
    sources = {name: [load_counts(seed, store, name=name) for seed in seeds] for name, seeds in models.items()}
    reasons = [same_conditions(before, seed, as_run) for seeds in sources.values() for seed in seeds]
    refused = next(filter(None, reasons), None)
    return series(
        (before.name, before), sources, group=group, level=level, fdr=fdr, margin=margin, within=within, refused=refused
    )


def profile_source(
    counts: CountsLike,
    k: Sequence[int] = (),
    *,
    store: Path | str | None = None,
    level: float = 0.95,
    params: SamplingParams | None = None,
    allow_truncated_sampling: bool = False,
    answer_space: float | None = None,
    verifier: VerifierErrors | None = None,
    clusters: str | None = None,
    by: str | None = None,
) -> Profile:
    """Measure one model: pass@k with its band, P(correct) per problem, groups, and pass@k beyond the samples.

        >>> import goldpanner as gp
        >>> gp.profile(gp.Counts.of([16] * 20, [0] * 10 + [16] * 10)).boundary.states
        {'reached': 10, 'not_reached': 10, 'unresolved': 0}

    Args:
        counts: the model's counts, or whatever `load_counts` takes.
        k: further k to report, beyond n too.
        store: folder of the store that holds the policy that a word names.
        level: coverage of every band and interval.
        params: how the samples were drawn, where the counts do not say.
        allow_truncated_sampling: show the boundary although truncated or tempered sampling can make zeros.
        answer_space: number of answers that a blind guess chooses from, at least 2.
        verifier: audit of the verifier, to correct for its errors.
        clusters: column of the store's problems, or file of id and label, that says which problems are alike.
        by: column of the store's problems, or file of id and label, that breaks the result down.

    Raises:
        InputError: no problems, a k below 1, or an answer space below 2.
    """
    source = load_counts(counts, store)
    result = profile(
        source,
        k,
        level=level,
        params=source.params or params,
        allow_truncated_sampling=allow_truncated_sampling,
        answer_space=answer_space,
        verifier=verifier,
        clusters=None if clusters is None else cluster_numbers(source.labels(clusters)),
    )
    if by is not None:
        result = replace(result, by=by_label(source, source.labels(by), level))
    if source.distrusted is None:
        return result
    return replace(result, support_refused="; ".join(filter(None, (source.distrusted, result.support_refused))))


def curve_source(
    counts: CountsLike,
    k: Sequence[int] | IntArray | None = None,
    level: float = 0.95,
    *,
    store: Path | str | None = None,
    clusters: str | None = None,
    simultaneous: bool = True,
) -> Band:
    """Return pass@k of one model against k with its band (`measure.passk.curve`).

    Args:
        counts: the model's counts, or whatever `load_counts` takes.
        k: by default every k up to the smallest n; NaN beyond.
        level: coverage of the band.
        store: folder of the store that holds the policy that a word names.
        clusters: column of the store's problems, or file of id and label, that says which problems are alike.
        simultaneous: whether the band covers the whole curve at once; else each k on its own.

    Raises:
        InputError: no problems, or a k below 1.
    """
    source = load_counts(counts, store)
    return curve(source, k, level, simultaneous, None if clusters is None else cluster_numbers(source.labels(clusters)))


def plan_source(
    counts: CountsLike,
    *,
    store: Path | str | None = None,
    steps: int = 100,
    prompts: int = 64,
    group: int | None = None,
    level: float = 0.95,
) -> Plan:
    """Plan an RL run from a pilot: the group size, and which problems to train on (`measure.plan.plan`).

        >>> import goldpanner as gp
        >>> gp.plan(gp.Counts.of([16] * 20, [2] * 20), steps=100, prompts=16).ids("train now")[:2]
        ['0', '1']

    Args:
        counts: the pilot's counts, or whatever `load_counts` takes.
        store: folder of the store that holds the policy that a word names.
        steps: number of RL steps that you can pay for.
        prompts: prompts (groups) in a step.
        group: G, the group size; None: the one that gives the most mixed groups for its rollouts.
        level: coverage of the intervals.

    Raises:
        InputError: no problems, or an option out of its range.
    """
    return plan(load_counts(counts, store), steps=steps, prompts=prompts, group=group, level=level)


def cluster_numbers(labels: Sequence[str]) -> IntArray:
    """Return the number of each label, from 0 on, shape (P,)."""
    numbers: IntArray = np.unique(list(labels), return_inverse=True)[1].astype(np.int64)
    return numbers


def same_conditions(base: Source, rl: Source, as_run: bool = False) -> str | None:
    """Return why nothing can be said of support, if so.

    Raises InputError where the two were judged differently, or sampled or asked differently and not compared `as_run`,
    naming what differs, and where their problems are not the same, by the names that the logs give them.
    """
    reasons = list(filter(None, (_other_params(base, rl), _other_prompts(base, rl))))
    if reasons and not as_run:
        raise InputError(f"{reasons[0]}; sample both alike, or compare the two systems as they were run with --as-run")
    _same_verifier(base, rl)
    align(base, rl, {i: question.name for x in (base, rl) for i, question in x.questions.items() if question.name})
    for x in (base, rl):
        reasons += filter(None, [x.distrusted, None if x.params is None else support_refusal(x.params)])
    return "; ".join(dict.fromkeys(reasons)) or None


def _other_params(base: Source, rl: Source) -> str | None:
    """Return how two were sampled differently; None: they were sampled alike, as far as it is known."""
    ours, theirs = dict(base.stated), dict(rl.stated)
    changed = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    before, after = (", ".join(f"{name} = {stated[name]!r}" for name in changed) for stated in (ours, theirs))
    return f"base ({base.name}) was sampled with {before}, RL ({rl.name}) with {after}" if changed else None


def verifier_errors(
    source: Source, false_positive: str | None = None, false_negative: str | None = None, checked: bool = False
) -> VerifierErrors | None:
    """Return what is known of a verifier's errors, None where nothing is.

    Args:
        source: counts of a policy of a store.
        false_positive: audited wrong answers that were judged correct, as `3/200`.
        false_negative: audited right answers that were judged wrong, as `5/200`.
        checked: take the errors that `verify-check` stored instead.

    Raises:
        InputError: one of the two numbers alone, or no check is stored.
    """
    if checked:
        return stored_errors(source)
    shares = {"--false-positive": false_positive, "--false-negative": false_negative}
    return VerifierErrors.read(shares) if any(shares.values()) else None


def stored_errors(source: Source) -> VerifierErrors:
    """Return the errors of the verifier that verify-check, or the rehearsal before the sampling, left in the store.

    Raises InputError where the store has none, naming the task.
    """
    stored = source.stored
    if stored is None:
        raise InputError(f"--checked takes verify-check's counts from a store, and {source.name} is a file")
    from goldpanner.store.schema import CheckRecord

    total = dict.fromkeys(("false_positive", "wrong", "false_negative", "right"), 0)
    for row in stored.select("DISTINCT task, verifier", "ORDER BY ALL"):
        verifier = stored.verifier or row["verifier"]
        record = stored.store.get(CheckRecord, f"{row['task']} {verifier}")
        if record is None or record.skipped:
            raise InputError(
                f"no check of {verifier} on {row['task']} is kept; run: goldpanner verify-check {row['task']} "
                f"--store {stored.store.root}"
            )
        for name in total:
            total[name] += getattr(record.errors, name)
    return VerifierErrors(**total)


def confounds(source: Source, level: float = 0.95) -> Confounds | None:
    """Return what the texts show that counts cannot: P(parses) x P(correct | parses), and the guess floor.

    None for counts without texts, for training rollouts, and for the verdicts of a verifier that did not judge while
    sampling: what was read in the texts is the sampling's.
    """
    stored = source.stored
    if stored is None or stored.verifier is not None or stored.training:
        return None
    tallies = _tallies(source)
    split = _parse_split(source, tallies, level)
    if split is None:
        return None
    floor, ks = _own_floor(source, tallies), sorted({1, int(source.n.min())})
    finite = floor[np.isfinite(floor)]
    less = corrections.chance_corrected(source, floor, ks, level) if (floor < 1).all() else {}
    # a mean over the problems that have votes would be about other problems
    votes = [Votes.of(tallies[problem]) for problem in source.ids] if len(tallies) == len(source) else []
    return Confounds(
        split,
        float(np.mean(finite)) if len(finite) else None,
        less,
        _observed_groups(source, level),
        _majority(votes, level),
        cost_of(source),
        _confirmed(source, ks, level),
    )


Tallies = Mapping[str, Mapping[tuple[str | None, bool], int]]
"""By problem, how often each answer came, apart where it was right: of judged samples."""


def _tallies(source: Source) -> Tallies:
    """Count the answers in the texts."""
    assert source.stored is not None
    tallies: dict[str, dict[tuple[str | None, bool], int]] = {}
    for answer in source.stored.select("problem, extracted, outcome, count(*) AS times", "GROUP BY ALL"):
        if answer["outcome"] != "unjudged":
            tally = tallies.setdefault(answer["problem"], {})
            # a text may be read as right in one sample and cut in another: the two are two answers
            key = answer["extracted"], answer["outcome"] == "correct"
            tally[key] = tally.get(key, 0) + answer["times"]
    return {problem: tallies[problem] for problem in source.ids if problem in tallies}


def _parse_split(source: Source, tallies: Tallies, level: float) -> ParseSplit | None:
    """Return P(parses) x P(correct | parses); None where nothing was judged."""
    every = [tallies.get(problem, {}) for problem in source.ids]
    n = np.array([sum(tally.values()) for tally in every])
    c = np.array([sum(times for (_, right), times in tally.items() if right) for tally in every])
    parsed = np.array([sum(times for (text, right), times in x.items() if right or text is not None) for x in every])
    return corrections.parse_split(n, c, parsed, level) if n.sum() else None


def _own_floor(source: Source, tallies: Tallies) -> FloatArray:
    """Return the chance that the model's answers to other problems are right, shape (P,); NaN where it is unknown."""
    assert source.stored is not None
    problems = source.stored.store.problems()
    answers: dict[str, Counter[str | None]] = {}
    for problem in tallies.keys() & problems.keys():
        answers[problem] = Counter()
        for (text, _), times in tallies[problem].items():
            answers[problem][text] += times
    floor = corrections.guess_floor(answers, {problem: problems[problem].answer for problem in answers})
    return np.array([floor.get(problem, np.nan) for problem in source.ids])


def _confirmed(source: Source, ks: Sequence[int], level: float) -> dict[str, dict[int, Estimate]]:
    """Return pass@k where a sample is right only if a further verifier of the store says so, too, by verifier and k.

    Where that verifier reads the way to the answer this is the process beside the outcome (CoT-Pass@k, arXiv
    2506.14245). A sample that it has not judged is unjudged, unless the first called it wrong.
    """
    assert source.stored is not None
    out = {}
    for verifier in source.stored.later_verifiers():
        columns = {row["problem"]: (row["c"], row["unjudged"]) for row in source.stored.both_right(verifier)}
        c, unjudged = np.array([columns[problem] for problem in source.ids]).T
        band = curve(replace(Counts.of(source.n, c, source.ids), unjudged=unjudged), ks, level, simultaneous=False)
        out[verifier] = {k: band.at(k) for k in ks}
    return out


def _with_texts(comparison: Comparison, base: Source, rl: Source) -> Comparison:
    """Return the comparison with pass@k less lucky guesses, and where a further verifier agrees, if both have these."""
    if any(x.stored is None or x.stored.verifier is not None or x.stored.training for x in (base, rl)):
        return comparison
    ks, level = sorted({1, comparison.difference.largest} - {0}), comparison.level
    rows = list(comparison.corrected)
    floors = [_own_floor(x, _tallies(x)) for x in (base, rl)]
    if all((floor < 1).all() for floor in floors):
        less = [corrections.chance_corrected(x, floor, ks, level) for x, floor in zip((base, rl), floors)]
        rows += [Corrected(corrections.LESS_GUESSES, k, less[0][k], less[1][k]) for k in ks]
    before, after = (_confirmed(x, ks, level) for x in (base, rl))
    for verifier in sorted(before.keys() & after.keys()):
        pair = before[verifier], after[verifier]
        rows += [Corrected(f"where {verifier} agrees", k, pair[0][k], pair[1][k]) for k in ks]
    return replace(comparison, corrected=tuple(rows))


def _majority(votes: Sequence[Votes], level: float) -> dict[int, Estimate]:
    """Return maj@k at the powers of four that all problems have judged samples for; none where one has no sample."""
    largest = min((each.n for each in votes), default=0)
    return majority(votes, [k for k in (1, 4, 16, 64, 256) if k <= largest], level) if largest else {}


def cost_of(source: Source) -> Cost:
    """Return the tokens of a try, over the samples whose tokens are stored; NaN where there are none."""
    if source.stored is None:
        return Cost(float("nan"), float("nan"), float("nan"))
    columns = (
        "avg(len(tokens)) AS mean, avg(len(tokens)) FILTER (outcome = 'correct') AS right_mean, "
        "avg(len(tokens)) FILTER (outcome = 'wrong') AS wrong_mean"
    )
    (row,) = source.stored.select(columns)
    means = (row[name] for name in ("mean", "right_mean", "wrong_mean"))
    return Cost(*(float("nan") if x is None else float(x) for x in means))


def _observed_groups(source: Source, level: float) -> dict[int, GroupShares]:
    """Return the shares of the groups that RL drew from this very policy (its first step), by group size."""
    assert source.stored is not None
    query = """
        SELECT count(*) AS n, count(*) FILTER (outcome = 'correct') AS c,
            count(*) FILTER (outcome = 'unjudged' AND cause IS DISTINCT FROM 'model') AS u
        FROM samples WHERE policy = $policy AND step IS NOT NULL AND "group" IS NOT NULL
            AND (len($tasks::VARCHAR[]) = 0 OR list_contains($tasks::VARCHAR[], task))
        GROUP BY run, step, "group"
    """
    values = {"policy": source.stored.policy, "tasks": list(source.stored.tasks)}
    rows = source.stored.store.sql(query, values).to_pylist()
    n, c, u = (np.array([row[name] for row in rows], np.int64) for name in ("n", "c", "u"))
    return groups.observed(n, c, u, level) if rows else {}


def _with_origins(comparison: Comparison, base: Source, rl: Source, rollouts: int | None) -> Comparison:
    """Return the comparison with the origin of every gained problem whose RL samples were scored under the base.

    The scores are those of `goldpanner score`; without them nothing is added, nor where the verdicts counted are not
    those of the sampling: which sample was right is read there.
    """
    gained = comparison.changes.of("gained")
    if not gained or base.stored is None or rl.stored is None or rl.stored.training:
        return comparison
    if rl.stored.verifier is not None and rl.stored.verifiers() != {rl.stored.verifier}:
        return comparison
    scored = rl.stored.store.scored(rl.stored.policy, base.stored.policy, gained, params=rl.stored.params)
    return with_origins(comparison, scored, base, rl.full_softmax, rollouts)


def _same_verifier(base: Source, rl: Source) -> None:
    """Raise InputError where two policies of a store were judged by different verifiers, and none was named."""
    if base.stored is None or rl.stored is None or base.stored.verifier is not None:
        return
    before, after = base.stored.verifiers(), rl.stored.verifiers()
    if before != after:
        raise InputError(
            f"base ({base.name}) was judged by {', '.join(sorted(before))}, RL ({rl.name}) by "
            f"{', '.join(sorted(after))}; let one verifier judge what is stored of both (goldpanner sample ... "
            "--verifier NAME, which draws nothing that is there) and name it with --verdicts-of"
        )


def _other_prompts(base: Source, rl: Source) -> str | None:
    """Return which problem two logs ask differently, one id or one name in both logs; None: they ask alike."""
    named = {each.name: each for i, each in rl.questions.items() if each.name and i not in base.questions}
    changed = []
    for i, question in base.questions.items():
        other = rl.questions.get(i) or named.get(question.name)
        if other is not None and question.prompt and other.prompt and question.prompt != other.prompt:
            changed.append((question.name or i, question.prompt, other.prompt))
    if not changed:
        return None
    name, first, second = changed[0]
    more = f" (and {len(changed) - 1} more problems)" if len(changed) > 1 else ""
    at = next((k for k, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
    return (
        f"problem {name!r} is asked differently{more}: base ({base.name}) has {_around(first, at)}, RL ({rl.name}) has "
        f"{_around(second, at)}"
    )


def _around(text: str, at: int, before: int = 20, after: int = 60) -> str:
    """Return the part of a prompt around position `at`, quoted."""
    start, end = max(at - before, 0), at + after
    return f"{'... ' if start else ''}{text[start:end]!r}{' ...' if end < len(text) else ''}"
