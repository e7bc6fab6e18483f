"""Can one say before RL what will come of it? Forecasts for eight bases a world, stored before any RL run.

The bases differ in knowledge (how many facts their text states right: all but 2%, 8% or 30%, or the rare ones now and
then; 140, 200 or 500 steps) and in style (short continued pretraining on text of the same facts in fewer or more
chains, stopped early or not): pass@1 sees both, but RL mends style quickly and knowledge hardly.

Of a base: sampled pass@1 and pass@64 (64 draws), exact pass@1 and pass@64, the share of problems with exact P above
1e-3 (tail), the same share estimated from the draws (tail-estimated: pass@1,000 beyond n), and the share of problems
whose weakest fact the base states right with probability 2% or more, once it works the answer out (weakest-fact). Of a
problem: its draws, its exact log P, its weakest fact. Then 40 steps of GRPO each, and exact P on the same problems.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from goldpanner.measure.posterior import RateDistribution
from goldpanner.policies.local import LocalPolicy
from goldpanner.runs.stages import Stage, Workplace
from goldpanner.store.findings import ForecastRecord
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, Trained
from goldpanner.studies.statistics import bootstrap, exact_pass_curve, spearman
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World, WorldConfig
from goldpanner.train.supervised import StepRecord, SupervisedConfig, fresh_text, supervised
from goldpanner.types import Estimate, Problem

TRAINED = ("world/d1", "world/d2")
KNOWING: dict[str, dict[str, object]] = {
    "known": {"reliabilities": ((0.99, 0.82), (0.8, 0.08), (0.3, 0.08), (0.0, 0.02))},
    "unknown": {"reliabilities": ((0.99, 0.54), (0.8, 0.08), (0.3, 0.08), (0.0, 0.30))},
    "gap": {},
    "no-gap": {"gap": False},
}
"""How many facts the text states right how often; `gap` never states 8% of them right."""
TERSE = {"chain_share": 0.1, "terse_share": 0.74}
DILIGENT = {"chain_share": 0.9, "terse_share": 0.06, "ramble_share": 0.04, "diligence": 0.9}
BASES: dict[str, tuple[str, int, dict[str, float]]] = {
    "gap-500": ("gap", 500, {}),
    "gap-200": ("gap", 200, {}),
    "gap-140": ("gap", 140, {}),
    "no-gap-500": ("no-gap", 500, {}),
    "known-200": ("known", 200, {}),
    "known-200-terse": ("known", 200, TERSE),
    "unknown-200": ("unknown", 200, {}),
    "unknown-200-diligent": ("unknown", 200, DILIGENT),
}
"""Name -> (what the text knows, steps of pretraining, the style of the text on which pretraining goes on)."""
RESTYLE = {"steps": 20, "warmup_steps": 2, "learning_rate": 0.01, "embedding_learning_rate": 0.002}
AGGREGATE = ("pass@1", "pass@64", "exact pass@1", "exact pass@64", "tail", "tail-estimated", "weakest-fact")
SCORES = ("draws", "log-p", "weakest")
TAIL, KNOWN, SOLVED = 1e-3, 0.02, 0.5


class ForecastOutcome(TypedDict):
    """What was foretold of a base, and what came of it; a world gives one of each base."""

    aggregate: Mapping[str, float]
    scores: Mapping[str, Sequence[float]]
    after: list[float]
    """Log P of each problem after RL."""
    result: float
    """Exact pass@1 after RL."""


def _measure(lab: Lab) -> dict[str, ForecastOutcome]:
    """Make all forecasts, store them, then train; return what was stored and what came of it."""
    bases = {name: made(lab, *how) for name, how in BASES.items()}
    problems = {key: [p for task in TRAINED for p in lab.problems(b.world, task, 128)] for key, b in bases.items()}
    forecasts = {name: forecast(lab, name, base, problems[name]) for name, base in bases.items()}
    results: dict[str, ForecastOutcome] = {}
    for name, base in bases.items():
        stored, after = forecasts[name], lab.logp(lab.grpo(base, TRAINED, steps=40), problems[name])
        reached = float(exact_pass_curve(after, [1])[0])
        results[name] = {
            "aggregate": stored.aggregate, "scores": stored.scores, "after": after.tolist(), "result": reached
        }  # fmt: skip
    return results


def made(lab: Lab, knowing: str, steps: int, style: dict[str, float]) -> Trained:
    """Return a base: pretrained, then if `style` says so trained on for a little on text of the same facts."""
    base = lab.base(lab.world(**KNOWING[knowing]), steps=steps)
    if not style:
        return base
    settings = RESTYLE | {"steps": lab.steps(20), "seed": lab.seed + 1}
    config = SupervisedConfig(**settings)  # type: ignore[arg-type]
    text: WorldConfig = base.world.model_copy(update=style)

    def restyle(policy: LocalPolicy, place: Workplace) -> Iterable[StepRecord]:
        return supervised(policy.model, policy.tokenizer, fresh_text(World(text), config), config)

    return lab.train(Stage("restyle", config, restyle, config.steps), base.world, base, [text])


def forecast(lab: Lab, name: str, base: Trained, problems: Sequence[Problem]) -> ForecastRecord:
    """Store and return every forecast, of the base (`aggregate`) and of its problems (`scores`), from it alone."""
    counts, logp = lab.counts(base, problems, 64), lab.logp(base, problems)
    weakest = weakest_fact(lab, base, problems)
    aggregate = {
        "pass@1": float((counts.c / counts.n).mean()),
        "pass@64": float((counts.c > 0).mean()),
        "exact pass@1": float(exact_pass_curve(logp, [1])[0]),
        "exact pass@64": float(exact_pass_curve(logp, [64])[0]),
        "tail": float((logp > np.log(TAIL)).mean()),
        "tail-estimated": float(RateDistribution.of(counts).pass_at_k([round(1 / TAIL)])[0].value),
        "weakest-fact": float((weakest > np.log(KNOWN)).mean()),
    }
    scores = {"draws": counts.c.tolist(), "log-p": logp.tolist(), "weakest": weakest.tolist()}
    return lab.forecast(f"forecast-{base.key}", name, aggregate, scores)


def weakest_fact(lab: Lab, base: Trained, problems: Sequence[Problem]) -> Any:
    """Return log of the mean probability that the base gives the letter of each problem's weakest fact.

    A fact is (relation, letter before -> letter after). Its probability is averaged over training problems of depth 1,
    each letter of the worked answer given the tokens before it: what is left when the style is right.
    """
    reliabilities: dict[tuple[str, str], list[float]] = {}
    learned = lab.problems(base.world, "world/d1", 512, split="train")
    for problem, logp in zip(learned, base.policy.token_logprobs(learned, [p.meta["chain"] for p in learned])):
        letters = logp[1:-1]  # the relation's name comes first, the end of the answer last
        for fact, value in zip(facts(problem), letters):
            reliabilities.setdefault(fact, []).append(float(np.exp(value)))
    mean = {fact: float(np.log(np.mean(values))) for fact, values in reliabilities.items()}
    return np.array([min(mean.get(fact, 0.0) for fact in facts(problem)) for problem in problems])


def facts(problem: Problem) -> list[tuple[str, str]]:
    """Return the (relation, letter) pairs that a problem's worked answer needs, in its order."""
    size = len(problem.answer.split())
    chain, before, calls = problem.meta["chain"].split(), problem.prompt.split()[-size:], []
    for start in range(0, len(chain), size + 1):
        calls += [(chain[start], letter) for letter in before]
        before = chain[start + 1 : start + 1 + size]
    return calls


def _judge(results: Sequence[dict[str, ForecastOutcome]]) -> Finding:
    """Rank correlations over all bases of all worlds; AUC world by world."""
    bases = [base for result in results for base in result.values()]
    after = np.array([base["result"] for base in bases])
    given = {name: np.array([base["aggregate"][name] for base in bases]) for name in AGGREGATE}
    rho = {name: bootstrap(spearman, x, after, key="rho") for name, x in given.items()}

    def ahead(name: str, other: str) -> Estimate:
        def difference(x: Any, y: Any, z: Any) -> float:
            return spearman(x, z) - spearman(y, z)

        return bootstrap(difference, given[name], given[other], after, key="rho")

    better = ahead("pass@64", "pass@1")
    if spearman(given["pass@64"], given["pass@1"]) > 1 - 1e-9:  # one ranking, told twice, is neither better nor worse
        better = Estimate.undefined(better.method)
    aucs = {name: [fate_auc(result, name) for result in results] for name in SCORES}
    blind = {name: [fate_auc(result, name, unsolved=True) for result in results] for name in SCORES[1:]}
    values = {
        "bases": len(bases),
        "range_before": [min(given["exact pass@1"]), max(given["exact pass@1"])],
        "range_after": [after.min(), after.max()],
        "rho": rho,
        "error": {name: float(np.abs(x - after).mean()) for name, x in given.items()},
        **{f"auc_{name.replace('-', '_')}": estimate for name, estimate in aucs.items()},
        **{f"blind_{name.replace('-', '_')}": estimate for name, estimate in blind.items()},
    }
    points = [
        {"x": base["aggregate"][name], "y": base["result"], "series": key, "panel": name, "world": world}
        for world, result in enumerate(results)
        for key, base in result.items()
        for name in ("exact pass@1", "pass@64", "tail", "weakest-fact")
    ]
    return Finding(
        effects={
            "pass64-ranks": [Effect("pooled", [rho["pass@64"]], low=0.75)],
            "pass1-is-worse": [Effect("pooled", [better], low=0.0)],
            "knowledge-ranks": [Effect(n, [ahead(n, "pass@64")], low=-0.05) for n in ("tail", "weakest-fact")],
            "fate": [Effect(name, estimate, low=0.9) for name, estimate in aucs.items() if name != "draws"],
            "fate-from-draws": [Effect("draws", aucs["draws"], low=0.8)],
            "where-draws-are-blind": [Effect(name, estimate, low=0.8) for name, estimate in blind.items()],
        },
        values=values,
        plots=[Plot("aggregate", points, lines=False)],
    )


def fate_auc(result: dict[str, ForecastOutcome], score: str, unsolved: bool = False) -> Estimate:
    """Return the AUC of `score` for "P > .5 after RL", mean over the bases where both fates occur.

    `unsolved`: among the problems without success in the draws. Bootstrap over problems; the bases of a world share
    them (the facts are the same), so a resample takes a problem with all its bases.
    """
    scored = np.array([base["scores"][score] for base in result.values()], np.float64).T
    solved = np.exp(np.array([base["after"] for base in result.values()], np.float64).T) > SOLVED
    draws = np.array([base["scores"]["draws"] for base in result.values()]).T
    chosen = draws == 0 if unsolved else draws >= 0
    above = (scored[:, None] > scored[None]) + 0.5 * (scored[:, None] == scored[None])
    pairs = np.moveaxis(above * (solved & chosen)[:, None] * (~solved & chosen)[None], 2, 0)  # base, solved, unsolved
    good, bad = (solved & chosen).T.astype(float), (~solved & chosen).T.astype(float)

    def mean_auc(rows: Any) -> float:
        """The Mann-Whitney statistic of `auc` with each problem counted as often as it was drawn."""
        weight = np.bincount(rows, minlength=len(scored)).astype(float)
        each, of = (pairs @ weight) @ weight, (good @ weight) * (bad @ weight)
        return float((each[of > 0] / of[of > 0]).mean()) if (of > 0).any() else float("nan")

    return bootstrap(mean_auc, np.arange(len(scored)), key="fate")


STUDY = Study("forecast", _measure, _judge)
