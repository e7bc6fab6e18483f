"""Every record that a store keeps, with its fields: one class a kind, one JSON file a record.

What is kept of a whole run is in `store/studies.py`, of a study's outcome, with its texts, in `store/findings.py`. Keys
that a class does not name are kept as they are. A class that changes so that earlier records no longer fit gets the
next `version`.
"""

from collections.abc import Mapping
from typing import ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, JsonValue

from goldpanner.policies.base import Probe
from goldpanner.types import Estimate, SamplingParams, StatedParams


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


class ProbeRecord(StoredRecord):
    """What about ten requests showed of a server before it was sampled."""

    folder: ClassVar[str] = "probes"
    version: int = 2
    """2: the probe is a part of its own."""
    policy: str
    """Id of the policy that was probed."""
    params: str
    """Hash of the sampling parameters that it was to be sampled with."""
    overridden: bool
    """Whether it was sampled although there were faults."""
    probe: Probe
    """What was seen."""
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
