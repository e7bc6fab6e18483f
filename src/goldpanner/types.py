"""The nouns. Field-standard names, one meaning each; see docs/architecture.md for the flow between them.

Array suffixes name axes: `_P` problem, `_G` group member, `_T` token.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Literal, Required, TypedDict

import numpy as np
from numpy.typing import NDArray

from goldpanner.errors import InputError
from goldpanner.result import Result

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def content_hash(content: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of `content` as canonical JSON.

    >>> content_hash({"prompt": "1 + 1 ="})
    '9207879b7ef71946'
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def whole_counts(name: str, values: object) -> IntArray:
    """Return counts as whole numbers, one a problem. Raises InputError naming the first that is none."""
    try:
        array = np.asarray(values)
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"counts: {name} is {values!r:.60}; give a whole number for every problem") from None
    if array.ndim != 1:
        raise InputError(f"counts: {name} has shape {array.shape}; give one whole number for every problem")
    wrong = ~np.isfinite(numbers) | (numbers != np.floor(numbers))
    if wrong.any():
        raise InputError(f"counts: {name} holds {array[wrong][0]!s:.40}; give whole numbers: samples, not shares")
    whole: IntArray = array.astype(np.int64)
    return whole


@dataclass(frozen=True)
class Problem:
    """One question with a checkable answer; its id is the hash of its content."""

    task: str
    """Id of the task it belongs to, e.g. `world/d3`."""
    prompt: str
    """What the policy is given."""
    answer: str
    """What a verifier compares with."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else a verifier or a reader may want (for the world: `chain`, `depth`, `relations`), JSON values only."""

    @cached_property
    def id(self) -> str:
        """16 hex digits: the hash of task, prompt, answer and meta.

        >>> Problem("sums", "1 + 1 =", "2").id
        '0fba00346cfe99bd'
        """
        return content_hash([self.task, self.prompt, self.answer, dict(self.meta)])


@dataclass(frozen=True)
class SamplingParams:
    """How completions are drawn. No hidden defaults: T = 1 over the full softmax unless said."""

    temperature: float = 1.0
    """0 means greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 means no cut."""
    max_tokens: int = 64
    """Tokens of one completion at most, the end-of-sequence token included."""
    stop: tuple[str, ...] = ()
    template: str = "{prompt}"
    """How the prompt is wrapped; `chat` asks the model's own chat template."""

    def __post_init__(self) -> None:
        for name, ok, need in (
            ("temperature", self.temperature >= 0, "a number >= 0"),
            ("top_p", 0 < self.top_p <= 1, "a number in (0, 1]"),
            ("top_k", self.top_k >= 0, "an integer >= 0 (0 = no cut)"),
            ("max_tokens", self.max_tokens >= 1, "an integer >= 1"),
        ):
            if not ok:
                raise InputError(f"sampling parameter {name} is {getattr(self, name)!r}; give {need}")

    @cached_property
    def hash(self) -> str:
        """12 hex digits over every field."""
        return content_hash(asdict(self), 12)

    @property
    def full_softmax(self) -> bool:
        """Whether samples come from the model's own distribution: T = 1, no truncation of the softmax.

        >>> SamplingParams(top_p=0.9).full_softmax
        False
        """
        return self.temperature == 1.0 and self.top_p == 1.0 and self.top_k == 0


class StatedParams(TypedDict, total=False):
    """Fields of SamplingParams that are known."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stop: tuple[str, ...]
    template: str


class ScoredSamples(TypedDict):
    """Samples of one problem with their log-probabilities under two policies; arrays of shape (n,)."""

    correct: NDArray[np.bool_]
    logp: FloatArray
    """Log-probability (nats) under the policy that scored them."""
    own: FloatArray
    """Log-probability (nats) under the policy that drew them."""


class StepMetrics(TypedDict, total=False):
    """A line of `metrics.jsonl`: one step of a training. Each kind of training has its own fields of these."""

    step: Required[int]
    """From 0; -1 for what was measured before the first."""
    loss: float | None
    grad_norm: float | None
    lr: float
    tokens: int
    seconds: float
    sampling_seconds: float
    reward: float
    """Mean reward of the step's rollouts; this and the following in RL alone."""
    mixed: float
    """Share of the groups; so are `all_wrong` and `all_correct`."""
    all_wrong: float
    all_correct: float
    unjudged: float
    """Share of the rollouts."""
    withheld: float
    """A part of `unjudged`."""
    unanswered: float
    """Share of the rollouts that the model itself left unjudged; they are paid 0."""
    groups: int
    length: float
    """Mean tokens of a completion."""
    truncated: float
    """Share of the rollouts."""
    entropy: float | None
    kl: float | None
    clipped: float | None
    value_loss: float | None
    skipped: int
    """Updates left out because their loss or gradient was not finite."""
    heldout: dict[str, float]
    """Task -> exact pass@1, at the steps that it was measured at."""
    watched: dict[str, list[float]]
    """Set of problems -> exact log P (nats) of each, at the steps that it was measured at (studies)."""
    exact: list[float]
    """Exact P of each problem that was drawn (a study's)."""


FinishReason = Literal["stop", "length", "error", "withheld", "unknown"]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy returned for one prompt; never truncated silently."""

    text: str
    """Without the thought, where that is told apart; tags of a thought in the text are read by `verify.answer_part`."""
    tokens: tuple[int, ...] | None = None
    """Token ids with the end-of-sequence token, where the policy gives them."""
    logprob: float | None = None
    """Log-probability (nats) of the whole completion under the policy that drew it, where known."""
    finish: FinishReason = "stop"
    """`stop`: ended by itself; `length`: cut at max_tokens; `error`: the policy failed (its reason is in `text`);
    `withheld`: a refusal or a content filter of the server; `unknown`: another tool's log does not say."""
    token_logprobs: tuple[float, ...] | None = None
    """Log-probability of each token, where known; sums to `logprob`."""
    thought: str | None = None
    """The thought before the text, where a server gives it apart or the prompt itself began it. Never judged."""


class Outcome(StrEnum):
    """A verdict's three states. A crash, a time-out or a parser that gave up is UNJUDGED, never WRONG."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNJUDGED = "unjudged"


class Cause(StrEnum):
    """Whose doing it is that a completion is UNJUDGED."""

    OURS = "ours"
    """A time-out or crash of our machine, a verifier that failed, a reference that cannot be read, a comparison that
    the verifier cannot decide."""
    MODEL = "model"
    """No answer in the form that was asked for, or one that is no value of any type; a program that hides."""
    WITHHELD = "withheld"
    """A refusal or a content filter of the server."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one version of one verifier said of one completion."""

    outcome: Outcome
    verifier: str
    """Id and version, `id@version`, e.g. `world-answer@1`."""
    extracted: str | None = None
    """The answer found in the completion, if one was."""
    reason: str = ""
    """Why, in a few words, when it is not CORRECT."""
    cause: Cause | None = None
    """Whose doing an UNJUDGED is, ours unless said; None for the other outcomes."""

    def __post_init__(self) -> None:
        open_ = self.outcome is Outcome.UNJUDGED
        object.__setattr__(self, "cause", (self.cause or Cause.OURS) if open_ else None)

    @property
    def correct(self) -> bool:
        """Whether the outcome is CORRECT."""
        return self.outcome is Outcome.CORRECT

    @property
    def reward(self) -> float | None:
        """What training pays: 1 CORRECT, 0 WRONG or UNJUDGED by the model's own doing, None for any other UNJUDGED.

        If what is not judged moved nothing, GRPO would find what is not judged.
        """
        if self.outcome is Outcome.UNJUDGED and self.cause is not Cause.MODEL:
            return None
        return float(self.correct)


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion with its verdict and its identity: one stored row.

    The key is (problem, policy, params, seed, index): appending the same key twice is harmless.
    """

    problem: str
    """Problem id."""
    policy: str
    """Policy id (hash of its content)."""
    params: str
    """Hash of the SamplingParams."""
    seed: int
    index: int
    """Number of this sample among those of (problem, policy, params, seed), from 0."""
    completion: Completion
    verdict: Verdict
    task: str = ""
    run: str = ""
    """Run that drew it."""
    reward: float | None = None
    """Reward as trained on (None outside training, and where the verdict is UNJUDGED and not by the model's doing)."""
    step: int | None = None
    """RL step, for training rollouts."""
    group: int | None = None
    """Number of the group within the step, for training rollouts."""

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What identifies the sample."""
        return (self.problem, self.policy, self.params, self.seed, self.index)


@dataclass(frozen=True, repr=False)
class Counts(Result):
    """Per problem: n samples, c correct, u unjudged, t truncated. What almost every estimator takes.

    `n` counts every sample, the unjudged ones too: a problem's share of correct answers lies in [c/n, (c+u)/n]. The
    headline is the strict reading: `unanswered` samples, unjudged by the model's own doing, count as wrong.
    Raises InputError on negative counts, c + u > n, unanswered > u, truncated + finish_unknown > n, lengths that
    differ, or duplicate ids.
    """

    ids: tuple[str, ...]
    n: IntArray
    c: IntArray
    unjudged: IntArray
    truncated: IntArray
    finish_unknown: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Samples of which nobody knows whether they were cut; left out, it is known of all."""
    unanswered: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Those of the unjudged whose cause is the model's own; left out, none."""

    COLUMNS: ClassVar = ("n", "c", "unjudged", "truncated", "finish_unknown", "unanswered")

    def __post_init__(self) -> None:
        size = len(self.ids)
        for name in self.COLUMNS[4:]:
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(size, np.int64))
        for name, array in zip(self.COLUMNS, self.columns):
            array = whole_counts(name, array)
            if array.shape != (size,):
                raise InputError(f"counts: {name} has shape {array.shape}, but there are {size} problem ids")
            if (array < 0).any():
                bad = int(np.argmax(array < 0))
                raise InputError(
                    f"counts: {name} of problem {self.ids[bad]!r} is {array[bad]}; counts cannot be negative"
                )
            object.__setattr__(self, name, array)
        for label, part, whole in (
            ("c + unjudged", self.c + self.unjudged, "n"),
            ("truncated + finish_unknown", self.truncated + self.finish_unknown, "n"),
            ("unanswered", self.unanswered, "unjudged"),
        ):
            most = getattr(self, whole)
            if (part > most).any():
                bad = int(np.argmax(part > most))
                raise InputError(
                    f"counts: {label} of problem {self.ids[bad]!r} is {part[bad]}, more than its {whole} = {most[bad]}"
                )
        if len(set(self.ids)) != size:
            seen: set[str] = set()
            twice = next(i for i in self.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise InputError(f"counts: problem id {twice!r} stands twice; give every problem one row")

    @classmethod
    def of(
        cls,
        n: Sequence[int] | IntArray,
        c: Sequence[int] | IntArray,
        ids: Iterable[str] | None = None,
        unjudged: Sequence[int] | IntArray | None = None,
        truncated: Sequence[int] | IntArray | None = None,
        finish_unknown: Sequence[int] | IntArray | None = None,
        unanswered: Sequence[int] | IntArray | None = None,
    ) -> "Counts":
        """Return counts from plain sequences.

            >>> Counts.of(n=[8, 8], c=[3, 0], ids=["a", "b"]).c.tolist()
            [3, 0]

        Args:
            n: samples of each problem.
            c: correct samples of each problem.
            ids: ids of the problems; None: `0`, `1`, ...
            unjudged: samples of each problem without a verdict; None: 0.
            truncated: completions of each problem that were cut; None: not known of any.
            finish_unknown: completions of which it is not known whether they were cut.
            unanswered: unjudged samples by the model's own doing, which count as wrong.

        Raises:
            InputError: negative counts, or c + unjudged above n.
        """
        whole = whole_counts("n", n)
        zeros = np.zeros(whole.size, np.int64)
        unknown = finish_unknown if finish_unknown is not None else whole if truncated is None else zeros
        more = (zeros if column is None else column for column in (unjudged, truncated, unknown, unanswered))
        columns = (whole_counts(name, column) for name, column in zip(cls.COLUMNS[1:], (c, *more)))
        return cls(tuple(map(str, range(whole.size))) if ids is None else tuple(map(str, ids)), whole, *columns)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def summary(self) -> str:
        """How many problems and samples there are."""
        n, c, unjudged = (int(column.sum()) for column in (self.n, self.c, self.unjudged))
        return f"{len(self):,} problems, {n:,} samples, {c:,} correct, {unjudged:,} unjudged."

    @property
    def columns(self) -> tuple[IntArray, ...]:
        """Every count, in the order of `COLUMNS`, each of shape (P,)."""
        return tuple(getattr(self, name) for name in self.COLUMNS)

    @property
    def judged(self) -> IntArray:
        """Samples that the strict reading judges, shape (P,): n less the unjudged, but with the unanswered.

        >>> Counts.of(n=[8], c=[3], unjudged=[2]).judged.tolist()
        [6]
        """
        return self.n - self.unjudged + self.unanswered

    def select(self, keep: Sequence[int] | NDArray[Any]) -> "Counts":
        """Return the problems at positions `keep` (indices or a boolean mask), in that order.

        >>> Counts.of([4, 8], [1, 2]).select([1]).ids
        ('1',)
        """
        index = np.arange(len(self))[np.asarray(keep)]
        return Counts(tuple(self.ids[i] for i in index), *(column[index] for column in self.columns))


@dataclass(frozen=True)
class Estimate:
    """A number that cannot be given without its interval. NaN in all three means "not defined here"."""

    value: float
    low: float
    high: float
    level: float
    """Coverage the interval aims at, e.g. 0.95."""
    method: str
    """How value and interval were made, e.g. `clopper-pearson`."""
    n: int | None = None
    """Samples or problems it rests on."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"estimate: level is {self.level!r}; give a number in (0, 1)")
        if self.value == self.value and not self.low <= self.value <= self.high:
            raise InputError(f"estimate: {self.value!r} does not lie in its interval [{self.low!r}, {self.high!r}]")

    @classmethod
    def undefined(cls, method: str, level: float = 0.95) -> "Estimate":
        """Return the estimate of something that these samples cannot give (k > n, say).

            >>> print(Estimate.undefined("k > n"))
            – [–, –]

        Args:
            method: how it would have been made.
            level: coverage that its interval would have had.
        """
        nan = float("nan")
        return cls(nan, nan, nan, level, method)

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        """Return `value [low, high]`, a dash for what is undefined.

        `spec` is that of a number. Without one a number has three decimals, or none from 10 on; `+` adds the sign.
        """

        def number(x: float) -> str:
            if x != x:
                return "–"
            if x in (float("inf"), float("-inf")):
                return "∞" if x > 0 else "−∞"
            return format(x, spec if spec.strip("+") else spec + (".3f" if abs(x) < 10 else ",.0f"))

        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    def to_json(self) -> dict[str, float | str | None]:
        """Return `{"value", "low", "high", "level", "method"}`, NaN and infinities as None."""
        finite = {
            k: (v if np.isfinite(v) else None)
            for k, v in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        return {**finite, "level": self.level, "method": self.method}
