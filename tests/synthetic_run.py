"""A run's folder whose numbers are known: problems of the world, scripted P, samples drawn from it, and exact truth."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from goldpanner.sampling.rollout import judge
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord, RunRecord
from goldpanner.store.studies import STUDY, StudyRecord
from goldpanner.tasks import World, WorldConfig
from goldpanner.types import Completion, Problem, Sample, SamplingParams

HOSTILE = "<script>alert(1)</script> {{7*7}} </script><!-- <img src=x onerror=alert(2)> ' \" & \u2028"
STAGES = {
    "base": ("pretrain", None),
    "base-grpo": ("grpo", "base"),
    "sft": ("sft", "base"),
    "sft-grpo": ("grpo", "sft"),
}
PARAMS = SamplingParams(max_tokens=48)
GROUP = 8


def run_record(name: str, policy: str | None = None, **fields: object) -> RunRecord:
    """Return the record of a run of which little is given."""
    known = {"stage": "sft", "label": name, "parent": None, "parent_policy": None, "seed": 0, "config": {}}
    return RunRecord.model_validate({"id": name, "policy": policy, **known, **fields})


def write_run(
    root: Path,
    *,
    problems: int = 12,
    sampled: int = 8,
    samples: int = 16,
    steps: int = 6,
    stages: tuple[str, ...] = tuple(STAGES),
    measured: tuple[str, ...] = ("world/d1", "world/d3"),
    probed: tuple[str, ...] = ("world/exposure-0.1%",),
) -> dict[str, dict[str, float]]:
    """Write a run to `root`; return P(correct) by stage and problem id."""
    world = World(WorldConfig())
    rng = np.random.default_rng(7)
    store = Store(root / "store")
    by_task = {task: world.problems(task, problems, np.random.default_rng(1)) for task in (*measured, *probed)}
    by_task["world/d1"][0] = Problem("world/d1", HOSTILE, "a b c", {"chain": "oak a b c"})
    for asked in by_task.values():
        store.put_problems(asked)
    gap = {problem.id: rng.random() for asked in by_task.values() for problem in asked}
    truth = {stage: {i: _p(stage, gap[i], rng) for i in gap} for stage in stages}
    for stage in stages:
        kind, parent = STAGES[stage]
        policy = f"policy-{stage}"
        store.append_truth(policy, {i: float(np.log(p)) for i, p in truth[stage].items()})
        with store.writer() as sink:
            for task in measured:
                for problem in by_task[task][:sampled]:
                    drawn = _draw(problem, truth[stage][problem.id], samples, policy, stage, world, rng)
                    sink.write([sample for sample, _ in drawn])
                    sink.write_verdicts(drawn)
        if kind == "grpo":
            _write_rollouts(store, stage, parent, steps, world, rng)
        _write_metrics(root / "stages" / stage, kind, steps, measured)
        seconds = 1.5 * len(stage)
        store.put(run_record(stage, policy, stage=kind, parent=parent, seconds=seconds))
    store.put(ParamsRecord.of(PARAMS))
    store.put(_study(stages, measured, probed))
    return truth


def _p(stage: str, gap: float, rng: np.random.Generator) -> float:
    """Return P(correct): a third of the problems rare or absent, the others likely, and likelier after RL."""
    if gap < 0.33:
        return float(10 ** rng.uniform(-14, -4))
    return float(rng.uniform(0.6, 0.95) if "grpo" in stage else rng.uniform(0.05, 0.6))


def _draw(
    problem: Problem, p: float, n: int, policy: str, run: str, world: World, rng: np.random.Generator
) -> list[tuple[Sample, object]]:
    answer, process = world.verifiers()
    chain = problem.meta["chain"]
    rows = []
    for index in range(n):
        if rng.random() < p:
            text = chain
        elif rng.random() < 0.02:
            text = f"hum hum {problem.answer}"  # a lucky answer
        else:
            text = rng.choice(["x y z", "oak x y z", "", f"{chain} oak q q q", HOSTILE])
        completion = Completion(str(text), finish="length" if rng.random() < 0.02 else "stop")
        sample = Sample(
            problem.id, policy, PARAMS.hash, 0, index, completion, judge(answer, problem, completion), problem.task, run
        )
        rows.append((sample, judge(process, problem, completion)))
    return rows


def _write_rollouts(
    store: Store, stage: str, parent: str | None, steps: int, world: World, rng: np.random.Generator
) -> None:
    """Write RL rollouts; the first step's come from the parent's policy, as in a real run."""
    problems = world.problems("world/d1", 6, np.random.default_rng(5), "train")
    store.put_problems(problems)
    samples = []
    for step in range(steps):
        policy = f"policy-{parent}" if step == 0 else f"policy-{stage}-{step}"
        for group, problem in enumerate(problems):
            p = 0.0 if group < 2 else min(1.0, 0.3 + 0.7 * step / max(steps - 1, 1))
            for sample, _ in _draw(problem, p, GROUP, policy, stage, world, rng):
                samples.append(
                    Sample(
                        sample.problem, policy, sample.params, step, sample.index, sample.completion, sample.verdict,
                        sample.task, stage, float(sample.verdict.correct), step, group,
                    )
                )  # fmt: skip
    store.append(samples)


def _write_metrics(folder: Path, kind: str, steps: int, tasks: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    lines = []
    for step in range(steps):
        record: dict[str, object] = {"step": step, "seconds": 0.1, "grad_norm": 1.0}
        if kind == "grpo":
            record |= {"reward": 0.2 + 0.7 * step / steps, "mixed": 0.5}
            if (step + 1) % 2 == 0:
                record["heldout"] = {task: 0.5 * step / steps / (1 + i) for i, task in enumerate(tasks)}
        else:
            record["loss"] = 4.0 / (1 + step)
        lines.append(json.dumps(record))
    (folder / "metrics.jsonl").write_text(
        "\n".join(lines) + '\n{"step": 6, "rew', encoding="utf-8"
    )  # cut off by a kill


def _study(stages: Sequence[str], measured: Sequence[str], probed: Sequence[str]) -> StudyRecord:
    arms = [arm for arm in (["base", "base-grpo"], ["sft", "sft-grpo"]) if set(arm) <= set(stages)]
    record = {
        "id": STUDY,
        "title": "What RL did to a model of the world",
        "stages": list(stages),
        "arms": arms,
        "tasks_measured": list(measured),
        "tasks_probed": list(probed),
        "tasks_trained": ["world/d1"],
        "params": PARAMS.hash,
        "verifiers": {"answer": "world-answer@1", "process": "world-process@1"},
        "group_size": GROUP,
        "seed": 0,
        "seconds": 12.0,
        "command": f"goldpanner run --out {HOSTILE}",
        "versions": {"goldpanner": "0.1.0", "python": "3.11.7"},
        "config": {"grpo": {"steps": 6, "tasks": {"world/d1": 1.0}}, "note": HOSTILE},
        "verdict": {
            "headline": "RL sharpened what the base model could already do.",
            "paragraphs": ["On the trained task, pass@1 rose and pass@16 stayed where it was.", HOSTILE],
            "arms": [
                {
                    "base": base,
                    "rl": rl,
                    "tasks": ["world/d1"],
                    "word": "sharpened",
                    "summary": "More of the same, sooner.",
                }
                for base, rl in arms
            ],
        },
    }
    return StudyRecord.model_validate(record)
