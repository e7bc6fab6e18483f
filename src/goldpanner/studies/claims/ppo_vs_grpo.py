"""PPO and GRPO from one base with the same number of rollouts: the same place? at what cost? and all-wrong groups?

Both draw 768 completions a step for 80 steps (GRPO 48 prompts x 16, PPO 768 prompts x 1, two epochs of two updates).
Costs are seconds outside sampling and tokens back-propagated (GRPO needs the mixed groups once, PPO every token twice).

All-wrong groups: a second pair of runs, 40 steps on depth 1, in which a verifier calls every answer to questions about
one relation wrong ("silenced"), whatever it says. Under GRPO these groups push nothing; what the other questions teach
still spreads to them. A critic expects some reward there and gets none: its advantages are negative, so PPO pushes. The
base answers silenced questions well, so the push shows in the exact P of their worked answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab, RLChanges, Trained
from goldpanner.studies.statistics import bootstrap, exact_change, exact_pass_curve
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.tasks.world import KNOWN
from goldpanner.types import Completion, Estimate, Outcome, Problem, Verdict
from goldpanner.verify import ChainAnswer

TRAINED, HELD_OUT = ("world/d1", "world/d2"), ("world/d3", "world/d4")
ARMS: dict[str, RLChanges] = {
    "grpo": {},
    "ppo": {"variant": "ppo", "prompts_per_step": 768, "group_size": 1, "epochs": 2, "minibatches": 2},
}
EPOCHS = {"grpo": 1, "ppo": 2}
"""How often an arm goes through its rollouts."""
LogP = dict[str, dict[str, list[float]]]
"""Model -> set of problems -> log P of every problem."""
SILENCED = KNOWN[0]
KS = tuple(sorted({round(10 ** (i / 4)) for i in range(17)} | {256}))


class Critics(TypedDict):
    """What one world gave."""

    tasks: LogP
    """On the tasks, trained and held out."""
    aside: LogP
    """On silenced questions and on others, after training without reward for the silenced ones."""
    cost: dict[str, dict[str, list[float]]]
    """Arm -> `seconds`, `sampling`, `tokens` -> a number for each step."""


@dataclass(frozen=True)
class Silent:
    """The world's answer verifier, but every answer to a question about `SILENCED` is WRONG."""

    id: str = f"silent-{SILENCED}@1"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge the last state unless the question is silenced."""
        if SILENCED in problem.meta["relations"]:
            return Verdict(Outcome.WRONG, self.id, reason="silenced")
        return ChainAnswer(self.id)(problem, completion)


def _measure(lab: Lab) -> Critics:
    """Return exact log P by depth and of silenced questions, and what each step cost."""
    world = lab.world(gap=True)
    base = lab.base(world)
    tasks = {task: lab.problems(world, task) for task in (*TRAINED, *HELD_OUT)}
    one_hop = lab.problems(world, TRAINED[0], 768)
    aside = {
        "silenced": [p for p in one_hop if SILENCED in p.meta["relations"]],
        "others": [p for p in one_hop if SILENCED not in p.meta["relations"]][:256],
    }

    def logp(model: Trained, sets: Mapping[str, Sequence[Problem]]) -> dict[str, list[float]]:
        return {name: lab.logp(model, problems).tolist() for name, problems in sets.items()}

    result: Critics = {"tasks": {"base": logp(base, tasks)}, "aside": {"base": logp(base, aside)}, "cost": {}}
    for arm, how in ARMS.items():
        rl = lab.grpo(base, TRAINED, steps=80, **how)
        result["tasks"][arm], result["cost"][arm] = logp(rl, tasks), cost(rl, EPOCHS[arm])
        silent = lab.grpo(base, TRAINED[:1], steps=40, verifiers=[Silent()], **how)
        result["aside"][arm] = logp(silent, aside)
    return result


def cost(model: Trained, epochs: int) -> dict[str, list[float]]:
    """Return each step's seconds outside sampling, completions, and tokens back-propagated.

    GRPO's one-sided groups have advantage 0 and are left out; their share of the tokens is taken as
    their share of groups.
    """
    rows = model.records
    mixed = [1.0 if row["value_loss"] is not None else row["mixed"] for row in rows]
    return {
        "seconds": [row["seconds"] - row["sampling_seconds"] for row in rows],
        "sampling": [row["sampling_seconds"] for row in rows],
        "tokens": [row["tokens"] * share * epochs for row, share in zip(rows, mixed)],
    }


def _judge(results: Sequence[Critics]) -> Finding:
    """Compare PPO with GRPO on the same problems, step costs by their ratio."""

    def pooled(result: Critics, arm: str, tasks: Sequence[str] = TRAINED) -> Any:
        return np.concatenate([result["tasks"][arm][task] for task in tasks])

    def apart(k: int, tasks: Sequence[str]) -> list[Estimate]:
        return [exact_change(pooled(r, "grpo", tasks), pooled(r, "ppo", tasks), k) for r in results]

    def dearer(what: str) -> list[Estimate]:
        def ratio(ppo: Any, grpo: Any) -> float:
            return float(ppo.sum() / grpo.sum()) if grpo.sum() > 0 else float("nan")

        return [bootstrap(ratio, r["cost"]["ppo"][what], r["cost"]["grpo"][what], key=what) for r in results]

    def aside(before: str, after: str, where: str) -> list[Estimate]:
        return [exact_change(r["aside"][before][where], r["aside"][after][where], 1) for r in results]

    ratios = {what: dearer(what) for what in ("seconds", "tokens")}
    deep = {task: apart(1, (task,)) for task in HELD_OUT}
    pushed = aside("grpo", "ppo", "silenced")
    values: dict[str, object] = {
        **{
            f"{arm}{k}": [exact_pass_curve(pooled(r, arm), [k])[0] for r in results]
            for arm in ("base", *ARMS)
            for k in (1, 256)
        },
        **{f"apart{k}": apart(k, TRAINED) for k in (1, 256)},
        **{f"deep_{task[-2:]}": estimates for task, estimates in deep.items()},
        **ratios,
        **{f"s_{arm}": [sum(sum(r["cost"][arm][p]) for p in ("seconds", "sampling")) for r in results] for arm in ARMS},
        **{
            f"silenced_{arm}": [exact_pass_curve(r["aside"][arm]["silenced"], [1])[0] for r in results]
            for arm in ("base", *ARMS)
        },
        **{
            f"others_{arm}": [exact_pass_curve(r["aside"][arm]["others"], [1])[0] for r in results]
            for arm in ("base", *ARMS)
        },
        "pushed": pushed,
    }
    rows = [
        {"x": k, "y": float(y), "series": arm, "world": w}
        for w, result in enumerate(results)
        for arm in ("base", *ARMS)
        for k, y in zip(KS, exact_pass_curve(pooled(result, arm), KS))
    ]
    return Finding(
        effects={
            "same-place": [Effect(f"pass@{k}", apart(k, TRAINED), -0.05, 0.05) for k in (1, 256)],
            "dearer": [Effect("seconds", ratios["seconds"], low=2.0), Effect("tokens", ratios["tokens"], low=3.0)],
            "deeper-is-worse": [Effect(task[-2:], estimates, high=0.0) for task, estimates in deep.items()],
            "grpo-does-not-push": [Effect("silenced", aside("base", "grpo", "silenced"), low=-0.02)],
            "critic-pushes": [Effect("silenced", pushed, high=-0.05)],
            "others-are-equal": [Effect("others", aside("grpo", "ppo", "others"), -0.1, 0.1)],
        },
        values=values,
        plots=[Plot("curves", rows, log_x=True)],
    )


STUDY = Study("ppo-vs-grpo", _measure, _judge)
