"""What happened while a run trained: the groups, the reward beside the held-out tasks, and the losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from goldpanner.measure import groups as group_law
from goldpanner.report import charts
from goldpanner.report.chart_style import Chart, Look
from goldpanner.report.gather import Run, StageView
from goldpanner.report.page import Figure, Key, Section
from goldpanner.types import FloatArray, IntArray


def training_section(run: Run) -> Section | None:
    """Return what happened during training: the groups, the reward beside the held-out tasks, and the losses."""
    figures = [figure for figure in (_groups(run), _progress(run), _losses(run)) if figure is not None]
    return Section("training", "While it trained", figures) if figures else None


def _groups(run: Run) -> Figure | None:
    panels = [chart for stage in run.stages if (chart := group_panel(run, stage)) is not None]
    if not panels:
        return None
    size = 0 if run.study is None else run.study.group_size
    law = f"of {size} answers to one question " if size else ""
    caption = (
        f"A group {law}teaches only if some answers are right and some wrong (mixed). All wrong or all correct: no "
        "gradient."
    )
    if any(stage.truth for stage in run.stages):
        caption += " The bars at either side are predicted from exact P before and after: mixed = 1 - pᴳ - (1-p)ᴳ."
    undecided = max(1 - float(s.groups.shares_T.sum(axis=1).min()) for s in run.stages if s.groups is not None)
    if undecided > 1e-9:
        caption += f" White: up to {undecided:.0%} of a step's groups hang on samples that could not be judged."
    keys = [Key(Look(k, c), line=False) for k, c in zip(charts.GROUP_KINDS, charts.GROUP_COLORS)]
    return Figure("Which groups still teach", caption, panels, keys, 400)


def group_panel(run: Run, stage: StageView, **more: Any) -> Chart | None:
    """Return the map of one RL stage's groups, None for another stage."""
    if stage.groups is None:
        return None
    parent = next((s for s in run.stages if s.id == stage.parent), None)
    tenth = max(len(stage.groups.step_T) // 10, 1)
    first, last = stage.groups.shares_T[:tenth].mean(axis=0), stage.groups.shares_T[-tenth:].mean(axis=0)
    words = [f"{kind} {old:.0%} → {new:.0%}" for kind, old, new in zip(charts.GROUP_KINDS, first, last)]
    description = f"Shares of groups over RL steps, from the first {tenth} to the last {tenth}: {', '.join(words)}."
    before = None if parent is None else _predicted(run, parent)
    shown = charts.GroupMap(stage.groups.step_T, stage.groups.shares_T, before, _predicted(run, stage))
    return charts.group_map(shown, stage.label, description, subtitle=[f"{words[1]} of groups", words[0]], **more)


def _predicted(run: Run, stage: StageView) -> FloatArray | None:
    """Return the shares of all-wrong, mixed and all-correct groups that exact P predicts for the trained tasks."""
    size = 0 if run.study is None else run.study.group_size
    logp = [x for task in run.trained if task in run.by_task and (x := run.logp(stage, task)) is not None]
    if not size or len(logp) < len(run.trained) or not logp:
        return None
    # Each task gives an equal share of the groups, however many of its problems were measured.
    shares = [group_law.shares(np.exp(np.minimum(x, 0.0)), int(size)) for x in logp]
    mixed, wrong, right = (float(np.mean([np.mean(s[kind]) for s in shares])) for kind in range(3))
    return np.array([wrong, mixed, right])


def _progress(run: Run) -> Figure | None:
    """Return reward and held-out pass@1 of every RL stage over its steps."""
    tasks = [t for t in run.tasks if any(t in m.get("heldout", ()) for s in run.stages for m in s.metrics)]
    depth = {
        task: Look(task, charts.SEQUENTIAL[i % len(charts.SEQUENTIAL)], () if task in run.trained else (6, 3),
                   ("circle", "square", "diamond", "triangle-up")[i % 4])
        for i, task in enumerate(tasks)
    }  # fmt: skip
    reward = Look("reward in training", "#9aa2aa", shape="")
    panels = [
        charts.training_chart(
            _traces(run, stage, depth, reward), stage.label, _progress_words(stage), "pass@1" if tasks else "reward"
        )
        for stage in run.stages
        if any("reward" in record for record in stage.metrics)
    ]
    if not panels:
        return None
    if not tasks:
        caption = "The mean reward of each step's answers, as drawn: problems of the training split."
        return Figure("Reward in training", caption, panels, [Key(reward)], 400)
    caption = (
        "Grey: the reward in training, as drawn. Lines with points: exact pass@1 on held-out problems; full lines are "
        "tasks that RL was rewarded on, dashed ones it never saw. They may rise with the others or collapse."
    )
    return Figure("Reward and held-out pass@1", caption, panels, [Key(look) for look in (reward, *depth.values())], 400)


def _traces(run: Run, stage: StageView, depth: Mapping[str, Look], reward: Look) -> list[charts.Trace]:
    rewards = [(m["step"], m["reward"]) for m in stage.metrics if m.get("reward") is not None]
    traces = [charts.Trace(reward, *_columns(rewards), points=False)]
    parent = next((s for s in run.stages if s.id == stage.parent), None)
    for task, look in depth.items():
        points = [(m["step"] + 1, m["heldout"][task]) for m in stage.metrics if task in m.get("heldout", ())]
        if points:
            traces.append(charts.Trace(look, *_columns([*_start(run, parent, task), *points])))
    return traces


def _start(run: Run, parent: StageView | None, task: str) -> list[tuple[int, float]]:
    """Return exact pass@1 before the first step, over the problems that were sampled: those followed in training."""
    counts = None if parent is None else run.counts(parent, task)
    if parent is None or counts is None or any(i not in parent.truth for i in counts.ids):
        return []
    return [(0, float(np.exp([parent.truth[i] for i in counts.ids]).mean()))]


def _columns(points: Sequence[tuple[int, float]]) -> tuple[IntArray, FloatArray]:
    return np.array([p[0] for p in points], np.int64), np.array([p[1] for p in points], np.float64)


def _progress_words(stage: StageView) -> str:
    rewards = [m["reward"] for m in stage.metrics if m.get("reward") is not None]
    return (
        f"Reward and held-out pass@1 over {len(rewards)} RL steps; reward from {rewards[0]:.2f} to {rewards[-1]:.2f}."
    )


def _losses(run: Run) -> Figure | None:
    panels = []
    for stage in run.stages:
        rows = [m for m in stage.metrics if "reward" not in m]
        losses = [(m["step"], loss) for m in rows if (loss := m.get("loss")) is not None]
        if losses:
            trace = charts.Trace(Look(stage.label, run.looks[stage.id].color), *_columns(losses), points=False)
            words = f"Loss over {len(losses)} steps, from {losses[0][1]:.2f} to {losses[-1][1]:.2f} nats a token."
            panels.append(
                charts.training_chart([trace], stage.label, words, "loss, nats a token", unit_range=False, height=170)
            )
    if not panels:
        return None
    caption = "Cross-entropy of the text trained on, step by step: lower is a better guess of the next token."
    return Figure("Loss of the supervised stages", caption, panels, (), 400)
