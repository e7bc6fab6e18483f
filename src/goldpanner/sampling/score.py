"""Log P of stored completions under another policy: what tells where a gained problem came from (`measure.origin`)."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from goldpanner.errors import InputError
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.progress import Event, Notify, silent
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord
from goldpanner.types import Problem, Sample


class Scorer(Protocol):
    """A policy that gives log-probabilities."""

    @property
    def id(self) -> str:
        """Hash of its content."""

    def logprobs(self, problems: Sequence[Problem], responses: Sequence[Any], template: str) -> Any:
        """Return log P(response | prompt) in nats, one per pair."""


def score_samples(
    scorer: Scorer,
    policy: str,
    store: Store,
    problems: Mapping[str, Problem],
    params: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Store log P of a policy's completions under another model, problem by problem; return how many were scored.

    The prompt is put as it was when they were drawn. They are scored by their tokens, so that what is scored is exactly
    what was drawn; without tokens, by their text. Rollouts of training and what was scored before are left out.

    Args:
        scorer: model whose log-probabilities are wanted.
        policy: id of the policy whose completions are scored.
        store: where they lie, and where the scores go.
        problems: problem id -> problem.
        params: hash of their sampling parameters, where the store has several.
        progress: told the problems done and their number.

    Raises:
        InputError: completions without tokens and without a text whose end is known, or tokens that are other words to
            the scorer.
    """
    query = 'SELECT problem, policy, params, seed, "index" FROM scores WHERE policy = $policy AND scorer = $scorer'
    rows = store.sql(query, {"policy": policy, "scorer": scorer.id}).to_pylist()
    scored = {tuple(row.values()) for row in rows}
    total = 0
    for done, (i, problem) in enumerate(problems.items(), 1):
        samples = store.samples(policy=policy, problem=i, params=params)
        unscored = [s for s in samples if s.step is None and s.completion.finish != "error" and s.key not in scored]
        for params_hash, each in itertools.groupby(unscored, lambda s: s.params):
            group = list(each)
            record = store.get(ParamsRecord, params_hash)
            stops = record is not None and bool(record.stop) and not isinstance(scorer, ScriptedPolicy)
            template = "{prompt}" if record is None or record.template is None else record.template
            responses = [_response(s, stops) for s in group]
            distinct = list(dict.fromkeys(responses))  # samples that say the same are scored once
            same_tokenizer(scorer, group)
            values = scorer.logprobs([problem] * len(distinct), distinct, template)
            logp = {response: min(float(x), 0.0) for response, x in zip(distinct, values, strict=True)}
            total += store.append_scores(scorer.id, [(s, logp[response]) for s, response in zip(group, responses)])
        progress(done, len(problems))
    return total


def score_policy(
    scorer: Scorer,
    policy: str,
    store: Store,
    tasks: Sequence[str] = (),
    params: str | None = None,
    notify: Notify = silent,
) -> int:
    """Store log P of all of a policy's samples under `scorer`, as `score_samples` does; return how many.

    Args:
        scorer: gives the log-probabilities.
        policy: id of the policy whose samples are scored.
        store: where they are, and where the scores are kept.
        tasks: only samples of these tasks; none: of all.
        params: only samples with these sampling parameters, by their hash.
        notify: told of every problem.
    """
    query = "SELECT DISTINCT problem FROM samples WHERE policy = $policy AND step IS NULL ORDER BY problem"
    ids, stored = store.sql(query, {"policy": policy}).column(0).to_pylist(), store.problems(list(tasks) or None)
    problems = {i: stored[i] for i in ids if i in stored}
    return score_samples(
        scorer, policy, store, problems, params, lambda done, total: notify(Event(policy, "score", done, total))
    )


def _response(sample: Sample, stops: bool) -> tuple[int, ...] | str:
    """Return what is scored of a sample; `stops`: whether a stop string may have ended it, and not its last token."""
    completion = sample.completion
    if completion.tokens is None and (completion.finish == "length" or stops):
        how = "was cut" if completion.finish == "length" else "may have been ended by a stop string"
        raise InputError(
            f"problem {sample.problem}: a completion without tokens {how}, so its probability is not defined; draw "
            "from a server that gives token ids, or from a model folder"
        )
    return tuple(completion.tokens) if completion.tokens else completion.text


def same_tokenizer(scorer: Any, samples: Sequence[Sample]) -> None:
    """Raise InputError where a scorer that has a tokenizer reads the tokens of a completion as other words.

    Of the first completion that says something half the words must be there: a tokenizer's view of spaces, and tokens
    that are not shown, must not matter.
    """
    decode = getattr(scorer, "decode", None) or getattr(getattr(scorer, "tokenizer", None), "decode", None)
    texts = [s for s in samples if s.completion.tokens is not None and s.completion.text.strip()]
    if decode is None or not texts:
        return
    read = decode(list(texts[0].completion.tokens or ()))
    words = texts[0].completion.text.split()
    if read is not None and 2 * sum(word in read for word in words) < len(words):
        raise InputError(
            f"the scorer reads a completion's tokens as {read[:60]!r}, but it says {texts[0].completion.text[:60]!r}: "
            "its tokenizer is another one; score with a model of the same family"
        )
