"""SFT on 8 to 512 worked examples, in the web's own beliefs or true, from a base that hardly works anything out.

The start knows the facts and writes one worked answer in 10,000. Examples in the web's own beliefs state each fact as
often right as the corpus did: they show the form and say nothing new, so whatever they lift was known. True examples
differ from them in nothing but the facts that the corpus gets wrong. Both kinds ask about known relations only: what
becomes of a relation that no example names, one of 1% of the documents or one of none, is called or it is not.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict

import numpy as np
import torch

from goldpanner.policies.base import Request
from goldpanner.policies.local import LocalPolicy
from goldpanner.studies.claims.cold_start import TASKS, cold
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import PARAMS, Lab
from goldpanner.studies.statistics import bootstrap, log_mean_p, mean, pass_at
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.train.rows import TokenRow, collate, response_logits
from goldpanner.types import Estimate, FloatArray, Problem

SIZES = (8, 24, 32, 64, 128, 512)
KINDS = ("web", "truth")
UNNAMED = ("klingon", "exposure-0%", "exposure-0.03%", "exposure-0.1%", "exposure-0.3%", "exposure-1%")
START = 2
"""Which of the cold levels SFT begins from: 1e-4."""


class LimaWorld(TypedDict):
    """What one world gave; a task stands for a number for each of its problems."""

    believed: dict[str, list[float]]
    """Task -> share of the texts that state every fact of the problem right."""
    weakest: dict[str, list[float]]
    """Task -> that of its weakest fact."""
    base: dict[str, list[float]]
    """Task -> log P under the base."""
    start: dict[str, list[float]]
    """Task -> log P under the model that SFT begins from."""
    after: dict[str, dict[str, dict[str, list[float]]]]
    """Kind -> examples -> task -> log P."""
    ranks: dict[str, dict[str, list[list[int]]]]
    """Kind -> `base` or `start` -> rank of each token of each answer."""


STEPS, RANKED, CONTESTED = 40, 128, 0.05
"""SFT steps; the number of examples after which tokens are ranked; greatest reliability of a contested fact."""


def _measure(lab: Lab) -> LimaWorld:
    """Return exact log P by kind and number of examples, and base-ranks of what the model after 128 examples says."""
    world = lab.world(gap=False)
    base, start = lab.base(world), cold(lab, world, START)
    questions = {task: lab.problems(world, task, 128) for task in TASKS}
    questions |= {task: lab.problems(world, f"world/{task}", 64) for task in UNNAMED}
    trained = [problem for task in TASKS for problem in questions[task]]

    def exact(model: Any) -> dict[str, list[float]]:
        return {task: lab.logp(model, problems).tolist() for task, problems in questions.items()}

    after: dict[str, dict[str, dict[str, list[float]]]] = {}
    ranks: dict[str, dict[str, list[list[int]]]] = {}
    for kind in KINDS:
        after[kind] = {}
        for n in SIZES:
            shown = lab.demonstrations(world.model_copy(update={"demonstrations": kind}), TASKS, n)
            tuned = lab.sft(start, shown, steps=STEPS)
            after[kind][str(n)] = exact(tuned)
            if n == RANKED:
                answers = greedy(tuned.policy, trained)
                ranks[kind] = {
                    name: [place.tolist() for place in base_ranks(model.policy, trained, answers)]
                    for name, model in (("base", base), ("start", start))
                }
    return {
        "believed": {task: [float(np.prod(p.meta["reliability"])) for p in questions[task]] for task in TASKS},
        "weakest": {task: [p.meta["weakest"] for p in questions[task]] for task in TASKS},
        "base": exact(base),
        "start": exact(start),
        "after": after,
        "ranks": ranks,
    }


def greedy(policy: LocalPolicy, problems: Sequence[Problem]) -> list[list[int]]:
    """Return the tokens of each problem's greedy answer, with the end of sequence."""
    samples = policy.sample([Request(problem, range(1)) for problem in problems], replace(PARAMS, temperature=0.0))
    return [list(completions[0].tokens or ()) for completions in samples]


def base_ranks(policy: LocalPolicy, problems: Sequence[Problem], said: Sequence[Sequence[int]]) -> list[FloatArray]:
    """Return the rank (1: most likely) of each token of `said` under `policy`, given the prompt and the tokens before:
    the base-rank of URIAL (arXiv:2312.01552). A tie counts for the token.
    """
    batch = collate([TokenRow(policy.encode_prompt(p), tokens) for p, tokens in zip(problems, said)], policy.device)
    with torch.no_grad():
        logits_NV = response_logits(policy.model, batch)
    own_N1 = logits_NV.gather(1, batch.target_N[:, None])
    rank_N = 1 + (logits_NV > own_N1).sum(1).cpu().numpy()
    return np.split(rank_N, np.cumsum([len(tokens) for tokens in said])[:-1])


def _logp(result: LimaWorld, kind: str, n: int, tasks: Sequence[str] = TASKS) -> FloatArray:
    return np.concatenate([result["after"][kind][str(n)][task] for task in tasks])


def _known(result: LimaWorld, what: Literal["believed", "weakest", "base", "start"]) -> FloatArray:
    return np.concatenate([result[what][task] for task in TASKS])


def _saturation(result: LimaWorld, kind: str) -> Estimate:
    few, many, most = (np.exp(_logp(result, kind, n)) for n in (8, 128, 512))
    return mean((most - many) - (many - few) / 3)


def _contested(result: LimaWorld) -> tuple[Estimate, Estimate]:
    """Return P(correct) of contested questions after 512 examples in the web's beliefs; what true ones add."""
    chosen = _known(result, "weakest") <= CONTESTED
    if chosen.sum() < 2:
        return (Estimate.undefined("too few contested questions"),) * 2
    web, truth = (_logp(result, kind, 512)[chosen] for kind in KINDS)
    return pass_at(web, 1), mean(np.exp(truth) - np.exp(web))


def _highest(result: LimaWorld, kind: str, task: str) -> Estimate:
    """Return log10 of mean P after that number of examples, of all, after which it is highest."""
    return bootstrap(log_mean_p, max((_logp(result, kind, n, [task]) for n in SIZES), key=log_mean_p), key=task)


def _more(result: LimaWorld, kind: str, task: str) -> Estimate:
    return mean((_logp(result, kind, 512, [task]) - _logp(result, kind, 32, [task])) / np.log(10))


def _ranked(result: LimaWorld, kind: str, model: str, low: int = 1, high: int = 1) -> Estimate:
    return mean([np.mean([low <= rank <= high for rank in ranks]) for ranks in result["ranks"][kind][model]])


def _judge(results: Sequence[LimaWorld]) -> Finding:
    """Known questions: both depths pooled. Every world gives one estimate of each effect."""
    beyond = [mean(np.exp(_logp(r, "web", 512)) - _known(r, "believed")) for r in results]
    often = {kind: [pass_at(_logp(r, kind, 128, ["exposure-1%"]), 1) for r in results] for kind in KINDS}
    absent = [(task, kind) for task in UNNAMED[:2] for kind in KINDS]
    rare = [(task, kind) for task in UNNAMED[1:4] for kind in KINDS]
    web, added = zip(*(_contested(r) for r in results))
    rows = [
        {"x": n, "y": 10 ** log_mean_p(_logp(r, kind, n, tasks)), "series": name, "panel": kind, "world": w}
        for w, r in enumerate(results)
        for kind in KINDS
        for name, tasks in (("known", TASKS), *((task, [task]) for task in UNNAMED))
        for n in SIZES
    ]
    return Finding(
        effects={
            "calls-what-it-knows": [Effect("web", beyond, -0.1, 0.1)],
            "saturates": [Effect(kind, [_saturation(r, kind) for r in results], high=0.0) for kind in KINDS],
            "calls-the-unnamed": [Effect(kind, often[kind], low=0.2) for kind in KINDS],
            "absent-stays": [Effect(f"{t}-{k}", [_highest(r, k, t) for r in results], high=-6.0) for t, k in absent],
            "more-do-not-invent": [Effect(f"{t}-{k}", [_more(r, k, t) for r in results], -1.0, 1.0) for t, k in rare],
            "form-corrects-nothing": [Effect("web", web, high=0.1)],
            "truth-adds-facts": [Effect("truth", added, low=0.2)],
            "tokens-unshifted": [Effect(k, [_ranked(r, k, "base") for r in results], low=0.777) for k in KINDS],
        },
        values={**_values(results), "contested_web": web, "contested_gain": added},
        plots=[Plot("amount", rows, log_x=True, log_y=True)],
    )


def _values(results: Sequence[LimaWorld]) -> dict[str, object]:
    bands = {"1": (1, 1), "2-3": (2, 3), ">3": (4, 10_000)}

    def shown(tasks: Sequence[str]) -> dict[str, list[float]]:
        return {
            f"{k}-{n}": [float(np.exp(_logp(r, k, n, tasks)).mean()) for r in results] for k in KINDS for n in SIZES
        }

    def shares(model: str) -> dict[str, list[float]]:
        return {f"{k} {b}": [_ranked(r, k, model, *bands[b]).value for r in results] for k in KINDS for b in bands}

    return {
        "start": [float(np.exp(_known(r, "start")).mean()) for r in results],
        "base": [float(np.exp(_known(r, "base")).mean()) for r in results],
        "believed": [float(_known(r, "believed").mean()) for r in results],
        "known": shown(TASKS),
        "never": shown(["exposure-0%"]),
        "klingon": shown(["klingon"]),
        "often": shown(["exposure-1%"]),
        "ranks_base": shares("base"),
        "ranks_start": shares("start"),
    }


STUDY = Study("lima", _measure, _judge)
