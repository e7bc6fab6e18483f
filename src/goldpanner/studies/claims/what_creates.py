"""What puts into a model what is not there? RL, demonstrations and distillation from one base, by exact P.

One run of RL on depths 1 and 2, and one on each special relation alone, which fills 1% ... 0% of the documents. Every
run has a positive control from the same base: true worked examples of the same questions (512; of one relation 64).
For the relation that no document mentions there are three more arms: 8 to 256 examples; 256 answers of a teacher that
pretraining told the facts (off-policy distillation, no filter); and 256 answers of the same teacher to other questions
(its manner alone).
P(correct) is exact, so a fact that RL leaves at 1e-10 and one that it lifts to 1e-4 are different numbers.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from goldpanner.measure.thresholds import SOLVED
from goldpanner.policies.base import Request
from goldpanner.studies.claims.weakest_fact import facts_known, weakest
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import PARAMS, Lab, Trained
from goldpanner.studies.statistics import log_mean_p, pass_at
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks import World
from goldpanner.tasks.task import Document
from goldpanner.types import Problem

TRAINED = ("world/d1", "world/d2")
ARMS = ("klingon", "exposure-0%", "exposure-0.03%", "exposure-0.1%", "exposure-0.2%", "exposure-0.3%", "exposure-1%")
ABSENT, WARM = "exposure-0%", "exposure-1%"
SPECTRA = ("gap", "no-gap")
GROUP, PROMPTS, STEPS, LONG = 16, 48, 50, 80
EXAMPLES, MANY, NUMBERS = 64, 512, (8, 24, 64, 256)
"""Worked examples of one relation, and of depths 1 and 2 in the control; numbers tried for the absent relation."""
ANSWERS = 256
"""Answers of the teacher."""
TUNING = 150
"""Steps of fine-tuning, the same for every kind of example."""


class Learned(TypedDict):
    """Log P of every problem before and after RL, and after the positive control."""

    base: list[float]
    rl: list[float]
    control: list[float]


class Shared(Learned):
    """The same on depths 1 and 2, with the log P of each problem's weakest fact in the base."""

    weakest: list[float]


class Alone(Learned):
    """The same of one special relation, trained alone; and its rewarded rollouts."""

    hits: int


class Story(TypedDict):
    """One question: its right and its mistaken answer, and log P of both by model."""

    prompt: str
    right: str
    mistaken: str
    logp: dict[str, tuple[float, float]]


class Created(TypedDict):
    """What one world gave."""

    seed: int
    """Of RL."""
    rollouts: dict[str, int]
    """Rollouts of RL on depths 1 and 2 (`shared`), those of them that use one given fact on average (`fact`: 3 or 6 of
    the known facts a question), and rollouts of RL on one relation (`alone`)."""
    shared: dict[str, Shared]
    """By spectrum."""
    alone: dict[str, Alone]
    """By relation."""
    examples_a_statement: float
    """Examples that state each fact of a relation once, on average."""
    absent: dict[str, list[float]]
    """Arm -> log P of every problem of the relation that no document mentions."""
    story: Story


def _measure(lab: Lab) -> Created:
    """Return exact log P before and after RL, and after every other way of teaching."""
    prompts = lab.size(PROMPTS)
    world = lab.world()
    base = lab.base(world)
    shared = {spectrum: _shared(lab, spectrum == "gap") for spectrum in SPECTRA}
    alone: dict[str, Alone] = {}
    for arm in ARMS:
        problems = lab.problems(world, f"world/{arm}", 80)
        rl = lab.grpo(
            base, (f"world/{arm}",), steps=STEPS, reward="process", prompts_per_step=prompts, group_size=GROUP
        )
        hits = sum(record["reward"] * record["groups"] * GROUP for record in rl.records)
        taught = _taught(lab, base, lab.demonstrations(world, (f"world/{arm}",), EXAMPLES))
        alone[arm] = {**_learned(lab, base, rl, taught, problems), "hits": round(hits)}
    total = lab.steps(LONG) * PROMPTS * GROUP
    a_fact = 1.5 * world.word_length / (world.known_relations * world.letters)  # depth 1 and 2 by turns
    return {
        "seed": lab.seed,
        "rollouts": {
            "shared": total, "fact": round(total * a_fact), "alone": lab.steps(STEPS) * prompts * GROUP
        },
        "shared": shared,
        "alone": alone,
        "examples_a_statement": world.letters / world.word_length,
        "absent": {name: _exact(lab, model, lab.problems(world, f"world/{ABSENT}", 80))
                   for name, model in _absent(lab, base).items()},
        "story": _story(lab, base),
    }  # fmt: skip


def _shared(lab: Lab, gap: bool) -> Shared:
    """Return log P on depths 1 and 2, whose problems share facts, with that of each one's weakest fact."""
    world = lab.world(gap=gap)
    base = lab.base(world)
    problems = [problem for task in TRAINED for problem in lab.problems(world, task)]
    questions = lab.problems(world, "world/d1", 64 * world.known_relations, split="train")
    certain = facts_known(base.policy, questions)
    scarce = [round(weakest(certain, problem), 3) for problem in problems]
    return {**_learned(lab, base, *_two_ways(lab, base, lab.size(MANY)), problems), "weakest": scarce}


def _two_ways(lab: Lab, base: Trained, n: int) -> tuple[Trained, Trained]:
    """Return the base after RL on depths 1 and 2, and after `n` true examples of them."""
    return lab.grpo(base, TRAINED, steps=LONG), _taught(lab, base, lab.demonstrations(base.world, TRAINED, n))


def _learned(lab: Lab, base: Trained, rl: Trained, taught: Trained, problems: Sequence[Problem]) -> Learned:
    base_p, rl_p, control = (_exact(lab, model, problems) for model in (base, rl, taught))
    return {"base": base_p, "rl": rl_p, "control": control}


def _exact(lab: Lab, model: Trained, problems: Sequence[Problem]) -> list[float]:
    logp: list[float] = np.round(lab.logp(model, problems), 3).tolist()
    return logp


def _taught(lab: Lab, base: Trained, texts: Sequence[Document]) -> Trained:
    return lab.sft(base, texts, steps=TUNING)


def _absent(lab: Lab, base: Trained) -> dict[str, Trained]:
    """Return the base after each way of teaching the relation that no document mentions."""
    task = f"world/{ABSENT}"
    informed = base.world.model_copy(update={"exposures": (*base.world.exposures[:-1], 0.02)})  # the teacher's corpus
    teacher = lab.base(informed)
    models = {
        f"examples-{n}": _taught(lab, base, lab.demonstrations(base.world, (task,), lab.size(n))) for n in NUMBERS
    }
    for name, tasks in (("teacher", (task,)), ("manner", TRAINED)):
        questions = [q for t in tasks for q in lab.problems(base.world, t, ANSWERS // len(tasks), "train")]
        answers = teacher.policy.sample([Request(question, range(1)) for question in questions], PARAMS)
        texts = [Document(q.prompt, completions[0].text) for q, completions in zip(questions, answers)]
        models[name] = _taught(lab, base, texts)
    return models


def _story(lab: Lab, base: Trained) -> Story:
    """Return the first question that turns on one mistaken belief, and what three models answer."""
    domain = World(base.world)
    problems = lab.problems(base.world, "world/d1")
    for problem in problems:
        relation, *letters = problem.meta["chain"].split()
        word, row = problem.prompt.split()[2:], domain.relations.index(relation)
        places = [domain.symbols.index(letter) for letter in word]
        doubts = [i for i, place in enumerate(places) if domain.reliability[row, place] < 0.9]
        if len(doubts) == 1 and domain.reliability[row, places[doubts[0]]] == 0:
            break
    mistaken = letters.copy()
    mistaken[doubts[0]] = domain.symbols[domain.wrong[row, places[doubts[0]]]]
    rl, taught = _two_ways(lab, base, EXAMPLES)
    wrong = " ".join((relation, *mistaken))
    logp = {
        name: (_exact(lab, model, [problem])[0], round(float(model.policy.logprobs([problem], [wrong])[0]), 3))
        for name, model in (("base", base), ("rl", rl), ("control", taught))
    }
    return {"prompt": problem.prompt, "right": problem.meta["chain"], "mistaken": wrong, "logp": logp}


def _judge(results: Sequence[Created]) -> Finding:
    """Every world gives one estimate of each effect."""

    def logs(logp: Mapping[str, list[float]]) -> dict[str, float]:
        return {name: 10 ** log_mean_p(values) for name, values in logp.items()}

    def ends(arm: str) -> list[list[float]]:
        return [r["alone"][ABSENT]["rl"] if arm == "rl" else r["absent"][arm] for r in results]

    create = ("examples-256", "teacher")
    rows = [
        {"x": float(np.exp(b)), "y": float(np.exp(a)), "series": way, "panel": spectrum, "world": w}
        for w, r in enumerate(results)
        for spectrum in SPECTRA
        for way in ("rl", "control")
        for b, a in zip(r["shared"][spectrum]["base"], _way(r["shared"][spectrum], way))
    ]
    values = {
        "rollouts": results[0]["rollouts"]["alone"],
        "before": [10 ** log_mean_p(r["alone"][ABSENT]["base"]) for r in results],
        "rl": [10 ** log_mean_p(logp) for logp in ends("rl")],
        "warm": [10 ** log_mean_p(r["alone"][WARM]["rl"]) for r in results],
        "ways": [logs(r["absent"]) for r in results],
        "alone": [{arm: 10 ** log_mean_p(r["alone"][arm]["rl"]) for arm in ARMS} for r in results],
    }
    return Finding(
        effects={
            "examples-create": [Effect(arm, [pass_at(logp, 1) for logp in ends(arm)], low=SOLVED) for arm in create],
            "rl-does-not": [Effect("rl", [pass_at(logp, 1) for logp in ends("rl")], high=1e-6)],
            "manner-does-not": [Effect("manner", [pass_at(logp, 1) for logp in ends("manner")], high=1e-3)],
        },
        values=values,
        plots=[Plot("before-after", rows, log_x=True, log_y=True, lines=False)],
    )


def _way(learned: Learned, way: str) -> list[float]:
    return learned["rl"] if way == "rl" else learned["control"]


STUDY = Study("what-creates", _measure, _judge)
