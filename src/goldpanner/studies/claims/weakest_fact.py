"""Which problems will RL solve? Two forecasts from the base alone: the problem's own P, and that of its weakest fact.

RL rewards whole answers, but what it learns is shared: a letter-fact that was found in one problem is there for all. So
a problem of two rare facts has the product of their P, and yet the fate of the rarer one. Facts are measured in the
base, not looked up: the mean P of the right letter after the right form, in questions that are not those forecast. The
intervals cover the choice of problems in a world of given facts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from goldpanner.measure.intervals import proportion
from goldpanner.measure.thresholds import SCARCE, SOLVED
from goldpanner.policies.local import LocalPolicy
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import auc, bootstrap, spearman
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World
from goldpanner.types import Estimate, Problem

TRAINED = ("world/d1", "world/d2")
SPECTRA = ("gap", "no-gap")
LOG_SOLVED, LOG_SCARCE, HARD = np.log(SOLVED), np.log(SCARCE), np.log(1e-3)
Columns = Mapping[str, Sequence[float]]
"""`own`, `after`, `weakest`, `stated` -> a number for every problem."""
Result = Mapping[str, Columns]
"""By spectrum."""
Fact = tuple[str, str]
"""(relation, letter it is applied to)."""


def _measure(lab: Lab) -> Result:
    """Return, for every held-out problem, its log P before and after RL and the log P of its weakest fact."""
    results: dict[str, Columns] = {}
    for spectrum in SPECTRA:
        world = lab.world(gap=spectrum == "gap")
        base = lab.base(world)
        relations = World(world).relations[: world.known_relations]
        problems = [p for task in TRAINED for p in lab.problems(world, task, 512)]
        questions = lab.problems(world, "world/d1", 64 * len(relations), split="train")
        certain = facts_known(base.policy, questions)
        rl = lab.grpo(base, TRAINED, steps=80)
        results[spectrum] = {
            "own": lab.logp(base, problems).tolist(),
            "after": lab.logp(rl, problems).tolist(),
            "weakest": [weakest(certain, problem) for problem in problems],
            "stated": [problem.meta["weakest"] for problem in problems],
        }
    return results


def needed(problem: Problem) -> list[Fact]:
    """Return the letter-facts of a problem's worked answer, in the order in which it states them."""
    depth, word = problem.meta["depth"], problem.prompt.split()[problem.meta["depth"] + 1 :]
    hops = np.reshape(problem.meta["chain"].split(), (depth, len(word) + 1)).tolist()
    facts = []
    for relation, *made in hops:
        facts += [(relation, letter) for letter in word]
        word = made
    return facts


def facts_known(policy: LocalPolicy, asked: Sequence[Problem]) -> dict[Fact, float]:
    """Return the log of the mean P of each fact's right letter, in the worked answers of depth-1 questions."""
    seen: dict[Fact, list[float]] = {}
    for problem, logp in zip(asked, policy.token_logprobs(asked, [p.meta["chain"] for p in asked])):
        facts = needed(problem)
        for fact, letter in zip(facts, logp[1 : 1 + len(facts)].tolist()):  # the relation stands before the letters
            seen.setdefault(fact, []).append(letter)
    return {fact: float(np.log(np.mean(np.exp(values)))) for fact, values in seen.items()}


def weakest(certain: Mapping[Fact, float], problem: Problem) -> float:
    """Return the least log P among a problem's facts; one that was never met is left out."""
    return min((certain[fact] for fact in needed(problem) if fact in certain), default=0.0)


def _judge(results: Sequence[Result]) -> Finding:
    """Score both forecasts on the same problems; every world gives one estimate of each effect."""

    def solved(r: Columns) -> Any:
        return np.asarray(r["after"]) > LOG_SOLVED

    def forecast(r: Columns) -> Estimate:
        return bootstrap(auc, r["weakest"], solved(r), key="weakest")

    def difference(r: Columns) -> Estimate:
        return bootstrap(lambda w, o, y: auc(w, y) - auc(o, y), r["weakest"], r["own"], solved(r), key="difference")

    def among_hard(r: Columns, name: str) -> float:
        hard = np.asarray(r["own"]) < HARD
        return auc(np.asarray(r[name])[hard], solved(r)[hard])

    def rare(r: Columns) -> Estimate:
        hard = solved(r)[np.asarray(r["own"]) < LOG_SCARCE]
        if not len(hard):
            return Estimate.undefined("no problem is so rare")
        low, high = proportion(hard.sum(), len(hard))
        return Estimate(float(hard.mean()), float(low), float(high), 0.95, "clopper-pearson", len(hard))

    at = {s: [r[s] for r in results] for s in SPECTRA}
    weak = {s: [forecast(r) for r in at[s]] for s in SPECTRA}
    better = {s: [difference(r) for r in at[s]] for s in SPECTRA}
    lifted = {s: [rare(r) for r in at[s]] for s in SPECTRA}
    values: dict[str, object] = {}
    for spectrum in SPECTRA:
        name, worlds = spectrum.replace("-", "_"), at[spectrum]
        values |= {
            f"{name}_weakest": weak[spectrum],
            f"{name}_own": [auc(r["own"], solved(r)) for r in worlds],
            f"{name}_stated": [auc(r["stated"], solved(r)) for r in worlds],
            f"{name}_difference": better[spectrum],
            f"{name}_rare": lifted[spectrum],
            f"{name}_rare_n": [int((np.asarray(r["own"]) < LOG_SCARCE).sum()) for r in worlds],
            **{f"{name}_hard_{w}": [among_hard(r, w) for r in worlds] for w in ("weakest", "own")},
            f"{name}_rank_weakest": [spearman(r["weakest"], r["after"]) for r in worlds],
            f"{name}_rank_own": [spearman(r["own"], r["after"]) for r in worlds],
        }
    rows = [
        {**point, "series": series, "panel": s, "world": w}
        for s in SPECTRA
        for w, r in enumerate(at[s])
        for series in ("own", "weakest")
        for point in solved_by_decade(r[series], solved(r))
    ]
    return Finding(
        effects={
            "predicts": [Effect(s, weak[s], low=0.9) for s in SPECTRA],
            "beats-own-p": [Effect("no-gap", better["no-gap"], low=0.0)],
            "equal-with-gap": [Effect("gap", better["gap"], -0.03, 0.03)],
            "rare-stays": [Effect("gap", lifted["gap"], high=0.05)],
            "rare-lifted": [Effect("no-gap", lifted["no-gap"], low=0.5)],
        },
        values=values,
        plots=[Plot("fate", rows)],
    )


def solved_by_decade(logp: Sequence[float], solved: Any, least: int = 5) -> list[dict[str, float]]:
    """Return the share solved of each decade of P that holds at least `least` problems."""
    decade = np.floor(np.asarray(logp) / np.log(10)).astype(int)
    return [
        {"x": float(d) + 0.5, "y": float(solved[decade == d].mean())}
        for d in np.unique(decade)
        if (decade == d).sum() >= least
    ]


STUDY = Study("weakest-fact", _measure, _judge)
