"""goldpanner: what RL with verifiable rewards does to a language model, measured before and after, with intervals.

Everything public is listed in `__all__` and loaded when it is first used, so that `import goldpanner` is fast and needs
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Completion": "types",
    "Counts": "types",
    "Estimate": "types",
    "Outcome": "types",
    "Problem": "types",
    "Sample": "types",
    "SamplingParams": "types",
    "Verdict": "types",
    "GoldpannerError": "errors",
    "InputError": "errors",
    "StoreError": "errors",
    "Store": "store",
    "Task": "tasks.task",
    "task": "tasks.catalog",
    "load": "tasks.catalog",
    "read_problems": "tasks.files",
    "World": "tasks.world",
    "WorldConfig": "tasks.world",
    "ColumnAddition": "tasks.column_addition",
    "ColumnAdditionConfig": "tasks.column_addition",
    "ScriptedPolicy": "policies.scripted",
    "LocalPolicy": "policies.local",
    "sample": "sampling.rollout",
    "count": "sampling.rollout",
    "Band": "measure.passk",
    "pass_at_k": "measure.passk",
    "curve": "measure.passk",
    "load_policy": "policies.resolve",
    "collect": "sampling.collect",
    "Goal": "sampling.goal",
    "judge_again": "sampling.second_judge",
    "rehearse": "verify.rehearsal",
    "load_counts": "sources",
    "compare": "instrument",
    "compare_series": "instrument",
    "Comparison": "measure.compare",
    "profile": "instrument",
    "plan": "measure.plan",
    "read_log": "interop",
    "build_report": "report",
}
"""Public name -> the module it lives in."""

_RENAMED = {
    "build_report": "build",
    "read_log": "read",
    "sample": "rollout",
    "compare": "compare_sources",
    "profile": "profile_source",
}
"""Where the public name says more than the name at home, or would hide a module."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'goldpanner' has no attribute {name!r}; public names: {', '.join(_HOMES)}")
    return getattr(import_module(f"goldpanner.{_HOMES[name]}"), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:  # for type checkers and editors: the same names, imported plainly
    from goldpanner.errors import GoldpannerError, InputError, StoreError
    from goldpanner.instrument import compare_series
    from goldpanner.instrument import compare_sources as compare
    from goldpanner.instrument import profile_source as profile
    from goldpanner.interop import read as read_log
    from goldpanner.measure.compare import Comparison
    from goldpanner.measure.passk import Band, curve, pass_at_k
    from goldpanner.measure.plan import plan
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.policies.resolve import load_policy
    from goldpanner.policies.scripted import ScriptedPolicy
    from goldpanner.report import build as build_report
    from goldpanner.sampling.collect import collect
    from goldpanner.sampling.goal import Goal
    from goldpanner.sampling.rollout import count
    from goldpanner.sampling.rollout import rollout as sample
    from goldpanner.sampling.second_judge import judge_again
    from goldpanner.sources import load_counts
    from goldpanner.store import Store
    from goldpanner.tasks.catalog import load, task
    from goldpanner.tasks.column_addition import ColumnAddition, ColumnAdditionConfig
    from goldpanner.tasks.files import read_problems
    from goldpanner.tasks.task import Task
    from goldpanner.tasks.world import World, WorldConfig
    from goldpanner.types import (
        Completion,
        Counts,
        Estimate,
        Outcome,
        Problem,
        Sample,
        SamplingParams,
        Verdict,
    )
    from goldpanner.verify.rehearsal import rehearse
