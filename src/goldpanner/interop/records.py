"""What an importer yields and what it reports: records of draws, and why anything was left out."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, FinishReason, Outcome, Problem, SamplingParams, StatedParams, Verdict

Judge = Callable[[Problem, Completion], Verdict]
"""A goldpanner.verify.Verifier is one."""


@dataclass(frozen=True)
class LogOrigin:
    """Where records come from, as far as the log itself says it."""

    file: Path
    model: Mapping[str, object] | None = None
    """The log's record of the model that drew the samples; None where it has none."""
    params: StatedParams = field(default_factory=StatedParams)
    """The fields of SamplingParams that the log states. What it does not state is unknown, never a default."""
    params_id: str | None = None
    """Hash of the sampling parameters, in a log that we exported."""
    identity: str | None = None
    """The log's own unique name for itself, where it has one; else the file's content identifies it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a log calls a problem, and the prompt that it puts; empty where the log does not say."""

    name: str
    prompt: str


@dataclass(slots=True)
class Draw:
    """One sample: a completion, its verdict, and the reward it was trained on, if any."""

    completion: Completion
    verdict: Verdict
    reward: float | None = None
    key: tuple[int, int] | None = None
    """Seed and index of the sample, where the log itself numbers them."""
    identity: str = ""
    """The tool's own name of the sample, the same in every file that holds it; empty where it has none."""


@dataclass(slots=True)
class Record:
    """What one record of a log says of one problem: some draws and their counts, or (a counts file) counts alone."""

    id: str
    """Problem id: the hash of its content, or the id that a counts file gives."""
    origin: LogOrigin
    n: int
    c: int
    unjudged: int = 0
    truncated: int = 0
    finish_unknown: int = 0
    """Of how many the log does not say whether they were cut."""
    unanswered: int = 0
    """Of how many of the unjudged the model itself is the cause."""
    problem: Problem | None = None
    draws: tuple[Draw, ...] = ()
    step: int | None = None
    """RL step, for training rollouts: every step is another policy."""
    group: str | None = None
    """What the members of one group share within a step, for training rollouts."""
    name: str = ""
    """What the log itself calls the problem, if anything."""


@lru_cache(maxsize=2048)
def problem_of(task: str, prompt: str, answer: str) -> Problem:
    """Return the problem of this content; its many samples share one object, whose id is computed once."""
    return Problem(task, prompt, answer)


def record_of(
    problem: Problem,
    draws: Iterable[Draw],
    origin: LogOrigin,
    *,
    problem_id: str = "",
    step: int | None = None,
    group: str | None = None,
    name: str = "",
) -> Record:
    """Return the record of some draws of a problem, counted by their verdicts.

    Args:
        problem: what was asked.
        draws: completions with their verdicts.
        origin: file, policy and parameters of the log.
        problem_id: id that the log has for the problem; empty: the problem's own.
        step: training step of the draws, where the log names one.
        group: what the members of one group share within a step.
        name: what the log calls the problem.
    """
    draws = tuple(draws)
    return Record(
        problem_id or problem.id,
        origin,
        n=len(draws),
        c=sum(d.verdict.correct for d in draws),
        unjudged=sum(d.verdict.outcome is Outcome.UNJUDGED for d in draws),
        truncated=sum(d.completion.finish == "length" for d in draws),
        finish_unknown=sum(d.completion.finish == "unknown" for d in draws),
        unanswered=sum(d.verdict.cause is Cause.MODEL for d in draws),
        problem=problem,
        draws=draws,
        step=step,
        group=group,
        name=name,
    )


@dataclass
class SkippedSamples:
    """How often something was left out for one reason, and where it happened first."""

    count: int
    first: str
    """`file:line` of the first."""


@dataclass
class ImportReport:
    """What was read, what was left out and why; filled while the records stream by."""

    format: str
    files: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    """Of a table: what a column was taken for -> the column."""
    rows: int = 0
    """Records read, those left out included."""
    samples: int = 0
    correct: int = 0
    unjudged: int = 0
    truncated: int = 0
    finish_unknown: int = 0
    """Samples of which the log does not say whether they were cut."""
    problems: int = 0
    skipped: dict[str, SkippedSamples] = field(default_factory=dict)
    """Per reason."""
    warnings: dict[str, int] = field(default_factory=dict)
    """Text -> how often."""

    def skip(self, reason: str, where: str) -> None:
        """Count one record that was left out."""
        self.skipped.setdefault(reason, SkippedSamples(0, where)).count += 1

    def warn(self, text: str) -> None:
        """Count one warning; equal texts are kept once."""
        self.warnings[text] = self.warnings.get(text, 0) + 1

    def lines(self) -> list[str]:
        """Return the report as lines for a terminal."""
        cut = f"{self.truncated} truncated"
        if self.finish_unknown:
            whole = self.finish_unknown == self.samples
            cut = "truncation not recorded" if whole else f"{cut} (not recorded of {self.finish_unknown})"
        return [
            f"format {self.format}, {len(self.files)} file(s): "
            + ", ".join(self.files[:5])
            + " ..." * (len(self.files) > 5),
            *self._columns(),
            f"read {self.rows} records: {self.samples} samples of {self.problems} problems, {self.correct} correct, "
            f"{self.unjudged} unjudged, {cut}",
            *self._notes(),
        ]

    def remarks(self) -> list[str]:
        """Return the columns that were taken, what was skipped and why, and the warnings, as lines for a terminal."""
        return [*self._columns(), *self._notes()]

    def _columns(self) -> list[str]:
        pairs = ", ".join(f"{role} = {column}" for role, column in self.columns.items())
        return [f"columns taken: {pairs}"] if pairs else []

    def _notes(self) -> list[str]:
        out = [f"skipped {s.count}: {reason} (first: {s.first})" for reason, s in self.skipped.items()]
        for text, count in self.warnings.items():
            out.append(f"warning: {text}" + (f" ({count} times)" if count > 1 else ""))
        return out

    def to_json(self) -> dict[str, object]:
        """Return the report as one JSON object."""
        return {
            "format": self.format,
            "files": self.files,
            "columns": self.columns,
            "rows": self.rows,
            "samples": self.samples,
            "correct": self.correct,
            "unjudged": self.unjudged,
            "truncated": self.truncated,
            "finish_unknown": self.finish_unknown,
            "problems": self.problems,
            "skipped": {r: {"count": s.count, "first": s.first} for r, s in self.skipped.items()},
            "warnings": list(self.warnings),
        }


@dataclass
class Reading:
    """One import under way: its files, what the user asked for, and the report that it fills."""

    files: tuple[Path, ...]
    report: ImportReport
    verifier: Judge | None = None
    """Judge every completion anew with this; the log's own verdicts are then not used."""
    threshold: float | None = None
    """Rewards >= this are correct; None accepts 0 and 1 alone."""
    score: str | None = None
    """Which of several scores or rewards in the log decides, by name."""
    filter: str | None = None
    """Which of lm-evaluation-harness's filters decides."""
    step: int | None = None
    """Only this training step."""
    skip_partial_line: bool = False
    """Leave out a last line that was cut in the middle."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: what a column is taken for -> the column, as the user named them."""
    problems: Mapping[str, Problem] = field(default_factory=dict)
    """By the log's own names, problems whose text or right answer the log does not hold."""
    counts_only: bool = False
    """Whether the number of samples is all that is asked for: a record may then lack its draws."""

    def judge(self, name: str) -> str:
        """Return the id of the log's own verdicts by the score `name`: one for all samples of an import."""
        return f"{name}@log" if self.threshold is None else f"{name}>={self.threshold:g}@log"

    def draw(
        self,
        problem: Problem,
        text: str,
        *,
        verdict: Verdict,
        finish: FinishReason = "unknown",
        reward: float | None = None,
        logprobs: tuple[float, ...] | None = None,
        tokens: tuple[int, ...] | None = None,
        key: tuple[int, int] | None = None,
        identity: str = "",
    ) -> Draw:
        """Return a draw with the log's verdict, or with that of the import's verifier if there is one.

        Args:
            problem: what was asked.
            text: the completion.
            verdict: what the log says of it.
            finish: why it ended.
            reward: its reward in the log.
            logprobs: log-probability of each token, in nats.
            tokens: token ids.
            key: (seed, index) where the log has them.
            identity: the tool's own name of the sample, the same in every file that holds it.
        """
        total = sum(logprobs) if logprobs else None
        completion = Completion(text, tokens, total, finish, logprobs or None)
        if self.verifier is not None and finish == "error":
            name = getattr(self.verifier, "id", verdict.verifier)
            verdict = Verdict(Outcome.UNJUDGED, name, reason=verdict.reason or "the sample failed")
        elif self.verifier is not None:
            verdict = self.verifier(problem, completion)
        return Draw(completion, verdict, reward, key, identity)


def stated_params(settings: Mapping[str, object]) -> StatedParams:
    """Return those of a log's settings that are fields of SamplingParams and were set.

    Raises InputError when a value cannot be one (temperature -1).
    """
    stated = StatedParams()
    stop, template = settings.get("stop"), settings.get("template")
    if isinstance(stop, str | Iterable):
        stated["stop"] = (stop,) if isinstance(stop, str) else tuple(map(str, stop))
    if template is not None:
        stated["template"] = str(template)
    if (temperature := _number(settings, "temperature")) is not None:
        stated["temperature"] = temperature
    if (top_p := _number(settings, "top_p")) is not None:
        stated["top_p"] = top_p
    if (top_k := _number(settings, "top_k")) is not None:
        stated["top_k"] = int(top_k)
    if (max_tokens := _number(settings, "max_tokens")) is not None:
        stated["max_tokens"] = int(max_tokens)
    SamplingParams(**stated)
    return stated


def _number(settings: Mapping[str, object], name: str) -> float | None:
    value = settings.get(name)
    try:
        number = float(value) if isinstance(value, str | int | float) else None
        if (value is None) == (number is None) and (number is None or math.isfinite(number)):
            return number
    except (ValueError, OverflowError):
        pass
    raise InputError(f"sampling parameter {name} is {value!r} in the log; expected a number")
