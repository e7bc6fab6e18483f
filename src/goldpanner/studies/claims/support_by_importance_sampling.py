"""How likely was a problem that the base never solved? Its P(correct) from the samples of the model after RL.

The base fails a problem in 256 draws, the model after RL solves it. P_base = E_RL[1{right} p_base(y) / p_RL(y)] needs
no sample of the base (`measure.rare`). The lab knows the answer: the exact probability of the worked answer (the
chain). So "right" means the whole chain here (process verdict): with it, the estimate and the truth speak of the same
event. By the final answer alone, lucky guesses count too; what the base has of those routes, this study computes for
the guesses that its text is made of (blurted out, or after filler), and asks whether the samples of RL can see it.

Two proposals, in the world whose rare facts can be found: RL on depths 1 to 3, and RL on depths 1 and 2 alone, which
leaves most deeper problems unsolved: there the diagnostics must say "cannot say".
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from goldpanner.measure.origin import RESOLUTION, Origin, origin
from goldpanner.measure.thresholds import SCARCE, SOLVED, TINY
from goldpanner.policies.local import LocalPolicy
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import bootstrap, share
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World
from goldpanner.tasks.webtext import FILLER
from goldpanner.types import Problem, Sample
from goldpanner.verify import Verifier

ASKED = ("world/d2", "world/d3", "world/d4")
PROPOSALS = {"strong": ("world/d1", "world/d2", "world/d3"), "weak": ("world/d1", "world/d2")}
LIKELY = 0.03
"""Above it a problem is not asked at all: the base fails all of 256 draws in 4 cases of 10,000 at most."""
DECADES = tuple(range(-10, -1))


class SupportEstimate(TypedDict):
    """What importance sampling says of one problem."""

    value: float
    low: float
    high: float
    label: str
    sure: bool


class ProposalResult(TypedDict):
    """What one proposal gave, problem by problem."""

    rl: list[float]
    """Log P under it."""
    process: list[SupportEstimate]
    """By the process verifier."""
    answer: list[SupportEstimate]
    """By the answer verifier."""


class Support(TypedDict):
    """What one world gave, for every problem that the base failed."""

    base: list[float]
    """Log P of the worked answer."""
    routes: list[float]
    """Log P of the worked answer and of the right guesses together."""
    draws: int
    proposals: dict[str, ProposalResult]


Columns = Mapping[str, NDArray[Any]]
"""Columns of one world and proposal, shape (problems,) each."""


def _measure(lab: Lab) -> Support:
    """Return, for every problem without a right answer in 256 draws, the truth and what each proposal says."""
    world = lab.world(gap=False)
    base = lab.base(world)
    answer, process = World(world).verifiers()
    problems = [problem for task in ASKED for problem in lab.problems(world, task, 192)]
    unlikely = [p for p, logp in zip(problems, lab.logp(base, problems)) if logp < np.log(LIKELY)]
    own = lab.samples(base, unlikely)
    failed = [p for p, samples in zip(unlikely, own) if not any(sample.verdict.correct for sample in samples)]
    result: Support = {
        "base": lab.logp(base, failed).tolist(),
        "routes": known_routes(base.policy, failed, world.ramble_length).tolist(),
        "draws": lab.size(256),
        "proposals": {},
    }
    for name, tasks in PROPOSALS.items():
        rl = lab.grpo(base, tasks, steps=80)
        samples = list(zip(failed, lab.samples(rl, failed)))
        result["proposals"][name] = {
            "rl": lab.logp(rl, failed).tolist(),
            "process": [support_estimate(base.policy, p, its, process) for p, its in samples],
            "answer": [support_estimate(base.policy, p, its, answer) for p, its in samples],
        }
    return result


def known_routes(policy: LocalPolicy, problems: Sequence[Problem], fillers: int) -> Any:
    """Return log of the base's exact P over the chain and the right guesses of web text, shape (problems,)."""
    texts = [
        [problem.meta["chain"], *(f"{FILLER} " * filler + problem.answer for filler in range(fillers + 1))]
        for problem in problems
    ]
    flat = policy.logprobs([p for p, row in zip(problems, texts) for _ in row], [text for row in texts for text in row])
    return np.logaddexp.reduce(flat.reshape(len(problems), fillers + 2), axis=1)


def support_estimate(
    base: LocalPolicy, problem: Problem, drawn: Sequence[Sample], verifier: Verifier
) -> SupportEstimate:
    """Return what importance sampling says of a problem that the base failed in as many draws."""
    correct = np.array([verifier(problem, sample.completion).correct for sample in drawn])
    texts = [sample.completion.tokens or () for sample in drawn]
    distinct = sorted({text for text, right in zip(texts, correct) if right})
    logprobs = dict(zip(distinct, base.logprobs([problem] * len(distinct), distinct) if distinct else ()))
    logp_base = np.array([logprobs.get(text, np.nan) for text in texts])
    logp_rl = np.array([min(sample.completion.logprob or 0.0, 0.0) for sample in drawn])
    verdict: Origin = origin(correct, logp_base, logp_rl, base_n=len(drawn), base_c=0)
    p = verdict.p_base
    return {
        "value": p.value,
        "low": p.low,
        "high": p.high,
        "label": verdict.label,
        "sure": verdict.diagnostics.reliable,
    }


def _judge(results: Sequence[Support]) -> Finding:
    """Every problem is a row; the two proposals are the conditions."""
    tables = {name: [worlds_columns(result, name) for result in results] for name in PROPOSALS}

    def effects(make: Any, **limits: float) -> list[Effect]:
        return [Effect(name, [make(t) for t in worlds], **limits) for name, worlds in tables.items()]

    def median_error(t: Columns) -> Any:
        return bootstrap(lambda e: float(np.median(e)), two(t["error"][t["sure"]]), key="error")

    def rare_minus_likelier(t: Columns) -> Any:
        def difference(error: Any, rare: Any) -> float:
            return float(np.median(error[rare]) - np.median(error[~rare])) if rare.any() and not rare.all() else np.nan

        return bootstrap(difference, two(t["error"][t["sure"]]), two(t["rare"][t["sure"]]), key="flat")

    strong = tables["strong"]
    tiny_solved = [share(t["solved"][t["tiny"]]) for t in strong]
    unseen = [share(t["unseen"][t["junk"]]) for t in strong]
    values = {
        "failed": [len(t["error"]) for t in strong],
        "draws": results[0]["draws"],
        **{f"sure_{name}": [int(t["sure"].sum()) for t in worlds] for name, worlds in tables.items()},
        **{f"error_{name}": [median_error(t) for t in worlds] for name, worlds in tables.items()},
        "decades": {f"1e{d}": decade_errors(strong, d) for d in DECADES},
        "new": sum(int(t["new"].sum()) for worlds in tables.values() for t in worlds),
        "false_new": sum(int(t["false_new"].sum()) for worlds in tables.values() for t in worlds),
        "tiny_solved": tiny_solved,
        "unseen": unseen,
    }
    points = [
        {"x": float(x), "y": float(y), "series": "sure" if sure else "cannot-say", "panel": name, "world": w}
        for name, worlds in tables.items()
        for w, t in enumerate(worlds)
        for x, y, sure in zip(t["p"], t["value"], t["sure"])
        if x > 1e-20 and y > 1e-20
    ]
    return Finding(
        effects={
            "accurate": effects(median_error, high=0.05),
            "flat": effects(rare_minus_likelier, low=-0.05, high=0.05),
            "covers": effects(lambda t: share(t["covered"][t["sure"]]), low=0.85),
            "warned": effects(lambda t: share(~t["sure"][t["error"] > np.log10(2)]), low=0.9),
            "no-false-new": effects(lambda t: share(t["false_new"]), high=0.02),
            "unseen-routes": [Effect("strong", unseen, low=0.5)],
            "tiny-solved": [Effect("strong", tiny_solved, low=0.25)],
            "had-it": [Effect("strong", [share(t["amplified"][t["solved"]]) for t in strong], low=0.9)],
        },
        values=values,
        plots=[Plot("estimates", points, log_x=True, log_y=True, lines=False)],
    )


def worlds_columns(result: Support, name: str) -> Columns:
    """Return the rows of one world and proposal as arrays, shape (problems,) each."""
    proposal, logp = result["proposals"][name], np.array(result["base"], np.float64)
    process, answer = (
        {key: np.array([dict(row)[key] for row in rows]) for key in SupportEstimate.__annotations__}
        for rows in (proposal["process"], proposal["answer"])
    )
    p, value = np.exp(logp), process["value"].astype(np.float64)
    seen = value > 0
    error = np.where(seen, np.abs(np.log10(np.where(seen, value, 1.0)) - logp / np.log(10)), 99.0)
    new = answer["label"].astype(str) == "new"
    return {
        "p": p, "value": value, "error": error, "sure": process["sure"].astype(bool),
        "covered": (process["low"] <= p * (1 + 1e-9)) & (p <= process["high"] * (1 + 1e-9)),
        "rare": p < SCARCE, "tiny": (p < SCARCE) & (p >= 1e-8), "new": new, "false_new": new & (p > RESOLUTION),
        "junk": (p < TINY) & answer["sure"].astype(bool),
        "unseen": answer["value"].astype(np.float64) < np.exp(result["routes"]) / 2,
        "solved": np.exp(proposal["rl"]) >= SOLVED, "amplified": answer["label"].astype(str) == "amplified",
    }  # fmt: skip


def decade_errors(worlds: Sequence[Columns], decade: int) -> str:
    """Return median |log10 error| of the sure estimates with exact P in a decade and how many they are."""
    at = [t["error"][t["sure"] & (t["p"] >= 10.0**decade) & (t["p"] < 10.0 ** (decade + 1))] for t in worlds]
    errors = np.concatenate(at)
    return f"{np.median(errors):.3f} ({len(errors)})" if len(errors) else "– (0)"


def two(values: Any) -> Any:
    """Return the values, or two undefined ones where there are too few to resample."""
    return values if len(values) > 1 else np.array([np.nan, np.nan])


STUDY = Study("support-by-importance-sampling", _measure, _judge)
