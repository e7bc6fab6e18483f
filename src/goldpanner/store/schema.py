"""Every record that a store keeps, with its fields: one class a kind, one JSON file a record.

What is kept of a study's outcome, with its texts, is in `store/findings.py`. Keys that a class does not name are kept
as they are. A class that changes so that earlier records no longer fit gets the next `version`.
"""

from collections.abc import Mapping
from typing import ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, JsonValue

from goldpanner.types import Estimate, SamplingParams, StatedParams

STUDY = "story"
"""Id of the `StudyRecord` of a whole run, the lab's or a model's."""


class RecordPart(BaseModel):
    """A part of a record that has its own fields."""

    model_config = ConfigDict(extra="allow", frozen=True)


class StoredRecord(RecordPart):
    """What all records have."""

    folder: ClassVar[str]
    """Folder of this kind, below `records/`."""
    id: str
    """What identifies the record among those of its kind."""
    version: int = 1
    """Version of the fields; a build reads only the version that it writes."""


class EstimateRecord(RecordPart):
    """An `Estimate`; NaN and infinities are null."""

    value: float | None
    """The estimate."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""
    level: float
    """Coverage that the interval aims at."""
    method: str
    """How value and interval were made."""

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """Return the record of an estimate."""
        return cls.model_validate(estimate.to_json())

    def estimate(self) -> Estimate:
        """Return the estimate; where only some of its numbers are null, these are infinite."""
        if self.value is None and self.low is None and self.high is None:
            return Estimate.undefined(self.method, self.level)
        value, low, high = (float("inf") if x is None else x for x in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.level, self.method)


class PolicyRecord(StoredRecord):
    """A policy that was sampled, trained or imported. The id is the policy's."""

    folder: ClassVar[str] = "policies"
    name: str
    """What it is called."""
    kind: str = ""
    """`local`, `server`, `scripted` or `imported`; whatever a policy of one's own says."""
    run: str | None = None
    """Run that made it."""
    step: int | None = None
    """Step of that run, or of the log, where it is none of the finished models."""
    model: Mapping[str, object] = {}
    """What the policy says of itself (`Policy.describe`); of an imported one what the log says of its model."""

    @classmethod
    def of(
        cls, model: Mapping[str, object], *, name: str | None = None, run: str | None = None, step: int | None = None
    ) -> Self:
        """Return the record of a policy.

        Args:
            model: what `Policy.describe` returns, with its `id`.
            name: what it is called; its own name, else its id, unless given.
            run: run that made it.
            step: step of that run.
        """
        own, kind = str(model["id"]), str(model.get("kind", ""))
        return cls(id=own, name=name or str(model.get("name") or own), kind=kind, run=run, step=step, model=model)


class ParamsRecord(StoredRecord):
    """How samples were drawn. The id is the hash that stands with the samples; what is not known is null."""

    folder: ClassVar[str] = "params"
    temperature: float | None = None
    """As all of these, see `SamplingParams`."""
    top_p: float | None = None
    """Smallest set of tokens whose probabilities reach this is kept."""
    top_k: int | None = None
    """So many of the likeliest tokens are kept; 0: all."""
    max_tokens: int | None = None
    """Tokens of one completion at most."""
    stop: tuple[str, ...] | None = None
    """Texts that end a completion."""
    template: str | None = None
    """How the prompt is wrapped."""
    other: Mapping[str, JsonValue] = {}
    """Settings of another engine that change what is drawn and have no place in SamplingParams."""

    @classmethod
    def of(cls, params: SamplingParams) -> Self:
        """Return the record of sampling parameters that are known."""
        return cls(id=params.hash, **{name: getattr(params, name) for name in SamplingParams.__dataclass_fields__})

    @property
    def stated(self) -> StatedParams:
        """The fields of SamplingParams that are known."""
        names = SamplingParams.__dataclass_fields__
        return cast(StatedParams, {name: x for name in names if (x := getattr(self, name)) is not None})


class RunRecord(StoredRecord):
    """A stage that was trained, or the model that a run was given. The id is the run's name."""

    folder: ClassVar[str] = "runs"
    stage: str
    """`pretrain`, `sft`, `grpo`, `ppo`, `rft`, `given`, or a study's own word."""
    label: str
    """What it is called on pages."""
    policy: str | None
    """Id of the policy that it made; None while it is trained."""
    parent: str | None
    """Run whose model it started from; None: a fresh model, or one from elsewhere."""
    parent_policy: str | None
    """Id of the policy that it started from."""
    seed: int
    """Seed of the training."""
    config: Mapping[str, JsonValue]
    """Its settings."""
    seconds: float | None = None
    """Seconds that the training took."""
    finished: bool = True
    """Whether the training came to its end."""
    engine: str = "goldpanner"
    """`goldpanner` or `trl`."""
    processes: int | None = None
    """Processes that took part, where another engine trained."""
    options: tuple[str, ...] = ()
    """The other engine's own options, `KEY=VALUE`."""
    trl: Mapping[str, object] | None = None
    """TRL's settings that make the algorithm."""
    trl_version: str | None = None
    """Version of TRL."""


class ArmRecord(RecordPart):
    """A model before and after RL, and what became of it."""

    base: str
    """Stage before RL."""
    rl: str
    """Stage after RL."""
    tasks: tuple[str, ...]
    """Tasks on which they were compared."""
    word: str
    """Verdict of the comparison, e.g. `sharpened`."""
    summary: str
    """The comparison in a sentence."""


class CellRecord(RecordPart):
    """pass@1 and pass@k of one stage on one task: sampled, and exact where P(correct) is known."""

    k: int
    """Largest k that every problem's samples support."""
    pass_at_1: EstimateRecord
    """Sampled."""
    pass_at_k: EstimateRecord
    """Sampled."""
    exact_at_1: float | None = None
    """From the exact P(correct)."""
    exact_at_k: float | None = None
    """From the exact P(correct)."""


class AgreementRecord(RecordPart):
    """How many exact P lie inside the intervals of their own counts, over all stages."""

    inside: int
    """Problems whose exact P lies inside."""
    problems: int
    """Problems looked at."""
    level: float
    """Level of the intervals."""


class VerdictRecord(RecordPart):
    """What a run showed, in words and figures."""

    headline: str
    """A sentence per arm."""
    paragraphs: tuple[str, ...]
    """The sentences below it."""
    arms: tuple[ArmRecord, ...]
    """One for each model that RL trained."""
    table: Mapping[str, Mapping[str, CellRecord]] = {}
    """Stage -> task -> figures."""
    agreement: AgreementRecord | None = None
    """Sampled against exact; None where no exact P is known."""


class FormRecord(RecordPart):
    """pass@1 of one stage as the product of two parts."""

    parses: EstimateRecord
    """P(an answer in the asked form)."""
    correct_given_parsed: EstimateRecord
    """P(correct | in that form)."""


class ComparisonRecord(RecordPart):
    """A model before and after RL, problem by problem."""

    verdict: str
    """Word of the comparison."""
    k: int
    """Largest k that every problem's samples support."""
    pass_at_1: EstimateRecord
    """pass@1 after minus before."""
    pass_at_k: EstimateRecord
    """pass@k after minus before."""
    four_way: Mapping[str, int]
    """Problems kept, lost, gained and solved by neither."""
    origin: Mapping[str, Mapping[str, object]]
    """Gained problem -> where its solutions came from (`measure.origin.Origin`)."""


class GroupOption(RecordPart):
    """What groups of one size would give."""

    mixed: EstimateRecord
    """Share of mixed groups."""
    mixed_per_step: EstimateRecord
    """Mixed groups of a step."""
    cost: EstimateRecord
    """Samples drawn for one mixed group."""


class PilotPlan(RecordPart):
    """What a pilot said of a run before it."""

    problems: int
    """Problems of the pilot."""
    samples: int
    """Samples of each."""
    right: int
    """Right samples, of all."""
    recommended_G: int
    """Largest group size that costs little more than the cheapest."""
    group_size: int
    """Group size that was used."""
    groups: Mapping[str, GroupOption]
    """Group size -> what it would give."""
    assigned: Mapping[str, int]
    """Class -> how many of the problems belong to it."""
    left_out: tuple[str, ...]
    """Problems that were not trained on."""
    fresh: bool
    """Whether the task makes new problems for the training."""


class PlanRecord(StoredRecord):
    """The plan of a model's run, problem by problem. There is one in a store, `plan`."""

    folder: ClassVar[str] = "plans"
    plan: PilotPlan
    """The plan."""
    problems: tuple[Mapping[str, object], ...]
    """The pilot's problems, each with its counts, its class and its P (`measure.plan.Plan.to_json`)."""


class StudyRecord(StoredRecord):
    """A whole run, the lab's or a model's: what was done, and what it showed. There is one in a store, `story`."""

    folder: ClassVar[str] = "studies"
    title: str
    """Title of its page."""
    stages: tuple[str, ...]
    """Its stages in order."""
    arms: tuple[tuple[str, str], ...]
    """(stage before RL, stage after RL)."""
    tasks_measured: tuple[str, ...]
    """Tasks that every stage was sampled on."""
    tasks_trained: tuple[str, ...]
    """Tasks that RL was rewarded on."""
    tasks_probed: tuple[str, ...]
    """Tasks of which exact P alone is known."""
    params: str
    """Hash of the sampling parameters of the measurement."""
    verifiers: Mapping[str, str]
    """`answer`, and `process` where there is one -> id of the verifier."""
    group_size: int
    """Samples of a group in RL."""
    seed: int
    """The run's seed."""
    command: str
    """The command line that made it."""
    seconds: float
    """Seconds that the run took when it first came to its end."""
    versions: Mapping[str, str]
    """Versions that the result depends on."""
    config: Mapping[str, JsonValue]
    """Its settings."""
    plan: PilotPlan | None = None
    """Of a model's run: what its pilot said."""
    form: Mapping[str, FormRecord] | None = None
    """Of a model's run: stage -> form apart from skill."""
    comparison: ComparisonRecord | None = None
    """Of a model's run: before and after RL."""
    verdict: VerdictRecord | None = None
    """What it showed; None until it is concluded."""


class RecipeRecord(StoredRecord):
    """A training recipe that was run. There is one in a store, `recipe`."""

    folder: ClassVar[str] = "recipes"
    title: str
    """Name and purpose."""
    stages: tuple[Mapping[str, JsonValue], ...]
    """Its stages in order."""
    start: str
    """Id of the policy that it starts from."""
    task: str | None
    """Task in place of the lab's."""
    config: Mapping[str, Mapping[str, JsonValue]]
    """Stage -> its settings."""
    command: str
    """The command line that made it."""
    versions: Mapping[str, str]
    """Versions that the result depends on."""


class ProbeRecord(StoredRecord):
    """What about ten requests showed of a server before it was sampled (`policies.probe.Probe`)."""

    folder: ClassVar[str] = "probes"
    policy: str
    """Id of the policy that was probed."""
    params: str
    """Hash of the sampling parameters that it was to be sampled with."""
    overridden: bool
    """Whether it was sampled although there were faults."""
    n_honoured: bool
    """Whether n > 1 gives n samples that are not copies."""
    draws_distinct: bool
    """Whether draws at T = 1 differ from one another."""
    greedy_equal: bool
    """Whether draws at T = 0 are equal."""
    logprobs: bool
    """Whether log-probabilities come."""
    token_ids: bool
    """Whether token ids come."""
    seeds: str
    """`not sent`, `honoured`, `ignored` or `failed`."""
    finish: tuple[str, ...]
    """Finish reasons that came."""
    fingerprint: str
    """Of the system that answered; empty where it names none."""
    made: str
    """When, UTC."""
    requests: int
    """Requests of the probe."""
    refused: tuple[str, ...]
    """Optional fields that the server would not take."""
    faults: tuple[str, ...]
    """Why samples are not drawn as asked."""
    notes: tuple[str, ...]
    """What was worked around, or cannot be known."""
    answered_as: str = ""
    """Name of the model in the answers; empty where they name none."""
    text_logprobs: tuple[float, ...] = ()
    """Log P (nats) of the tokens of a fixed text (`policies.identity.TEXT`); empty where the server does not score."""
    sampling: Mapping[str, int] = {}
    """What the server did otherwise than asked while it was sampled, and how often."""


class CheckErrors(RecordPart):
    """Counts of a verifier's errors, as `measure` takes them."""

    false_positive: int
    """Wrong answers judged CORRECT."""
    wrong: int
    """Wrong answers."""
    false_negative: int
    """Right answers judged WRONG."""
    right: int
    """Right answers that were judged."""


class CheckedForm(RecordPart):
    """Verdicts on the cases of one form."""

    form: str
    """Its name."""
    right: bool
    """Whether its cases are right answers."""
    n: int
    """Cases."""
    correct: int
    """Judged CORRECT."""
    wrong: int
    """Judged WRONG."""
    unjudged: int
    """Not judged."""
    errors: EstimateRecord
    """Share of errors."""


class CheckRecord(StoredRecord):
    """How often a verifier was wrong on a task's problems. The id is `TASK VERIFIER`."""

    folder: ClassVar[str] = "verifier-checks"
    verifier: str
    """Id of the verifier."""
    tasks: tuple[str, ...]
    """Tasks of the corpus."""
    errors: CheckErrors
    """Counts of errors."""
    false_positive: EstimateRecord
    """Share of wrong answers judged CORRECT."""
    false_negative: EstimateRecord
    """Share of right answers judged WRONG."""
    unread: EstimateRecord
    """Share of right answers not judged."""
    forms: tuple[CheckedForm, ...]
    """Form by form."""
    examples: tuple[Mapping[str, str], ...]
    """The first failing case of each form."""
    quick: bool = False
    """Whether it is the rehearsal before a command, of some cases, and not the whole check."""
    fault: str | None = None
    """Why nothing should be drawn or trained with the verifier."""
    skipped: str | None = None
    """Why nothing was rehearsed: then no rate is known."""


class ImportRecord(StoredRecord):
    """A file that was imported. The id is the hash of what it holds."""

    folder: ClassVar[str] = "imports"
    name: str
    """Name of the file."""
    bytes: int
    """Its size."""
    seed: int
    """Seed of the keys of its samples."""
    report: Mapping[str, object] | None = None
    """What was read and what was left out (`interop.records.ImportReport`); None while the import is under way."""
