"""The main job: pretrain -> (GRPO | SFT -> GRPO), the boundary measured after every stage, and a verdict."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError, Interrupted
from goldpanner.progress import Notify
from goldpanner.runs import stages
from goldpanner.runs.conclude import conclude
from goldpanner.runs.config import RunConfig
from goldpanner.runs.folder import STUDY, alone_in, claim, versions
from goldpanner.runs.workers import side_by_side
from goldpanner.store import Store
from goldpanner.tasks.catalog import build_domain


@dataclass(frozen=True)
class Stage:
    """A stage of the story, and the stage whose model it starts from."""

    name: str
    kind: str
    parent: str | None


STAGES = (
    Stage("base", "pretrain", None),
    Stage("base-grpo", "grpo", "base"),
    Stage("sft", "sft", "base"),
    Stage("sft-grpo", "grpo", "sft"),
)
ARMS = (("base", "base-grpo"), ("sft", "sft-grpo"))
"""(before RL, after RL): from the base as DeepSeek-R1-Zero, after a cold start as DeepSeek-R1 (arXiv 2501.12948)."""

WAVES = ((("base",),), (("base", "base-grpo"), ("sft", "sft-grpo")))
"""What runs one after the other, and within it side by side: the base is trained, then both arms, each in a worker."""


def run(config: RunConfig, out: Path, progress: Notify, command: str = "") -> dict[str, Any]:
    """Tell (or go on with) the story in folder `out`; return the study's record, its verdict included.

    Raises InputError when `out` holds a story with other settings, Interrupted on Ctrl-C: what was done is kept, and
    the same call goes on from there to the same result.
    """
    for task in (*config.tasks.measured, *config.probes()):
        check_held_out(config, task)  # what cannot work is told now, not after the pretraining
    claim(config, out)
    store = Store(out / "store")
    started = time.time()
    with alone_in(out):
        try:
            if not all(stages.finished(config, out / "stages" / stage.name, store) for stage in STAGES):
                for wave in WAVES:
                    side_by_side([(work, (config, out, names)) for names in wave], progress)
        except KeyboardInterrupt:
            raise Interrupted(f"everything done so far is kept in {out}; run the same command again to go on") from None
        store.compact()
    earlier = store.get("studies", STUDY) or {}
    record = {
        "title": f"What RL did to a small model of the {config.domain.kind}",
        "stages": [stage.name for stage in STAGES],
        "arms": [list(arm) for arm in ARMS],
        "tasks_measured": list(config.tasks.measured),
        "tasks_trained": list(config.grpo.tasks),
        "tasks_probed": list(config.probes()),
        "params": config.measure.params().hash,
        "verifiers": {v.id.split("@")[0].rsplit("-", 1)[-1]: v.id for v in build_domain(config.domain).verifiers()},
        "group_size": config.grpo.group_size,
        "seed": config.seed,
        "command": earlier.get("command", command),
        "seconds": earlier.get("seconds", round(time.time() - started, 1)),
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }
    record["verdict"] = conclude(store, record)
    store.put("studies", STUDY, record)
    return record


def work(notify: Notify, config: RunConfig, out: Path, names: tuple[str, ...]) -> None:
    """Train and measure some stages in their order, in one process; what is done already is not done again.

    The base is measured by the second wave's first worker, while the other trains.
    """
    store = Store(out / "store")
    for stage in STAGES:
        if stage.name in names:
            parent = out / "stages" / stage.parent / "model" if stage.parent else None
            stages.train(stage.kind, config, out / "stages" / stage.name, parent, store, notify)
            if len(names) > 1:
                stages.measure(config, out / "stages" / stage.name, store, notify)


def check_held_out(config: RunConfig, task: str) -> None:
    """Raise InputError when a task has too few problems, or worked answers longer than the token limit."""
    longest = max(len(str(problem.meta["chain"]).split()) + 1 for problem in stages.held_out(config, task))
    if longest > config.measure.max_tokens:
        raise InputError(
            f"a worked answer of {task} has {longest} tokens, and measure.max_tokens is {config.measure.max_tokens}; "
            "raise it, or measure shallower tasks"
        )
