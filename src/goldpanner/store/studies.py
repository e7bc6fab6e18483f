"""The records of a whole run, the lab's or a model's: its plan, what was done, and what it showed."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import JsonValue

from goldpanner.store.schema import EstimateRecord, RecordPart, StoredRecord

STUDY = "story"
"""Id of the `StudyRecord` of a whole run, the lab's or a model's."""


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
