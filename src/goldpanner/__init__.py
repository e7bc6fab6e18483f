"""goldpanner: what RL with verifiable rewards does to a language model, measured before and after, with intervals.

Everything public is listed in `__all__` and loaded when it is first used, so that `import goldpanner` is fast and needs
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from goldpanner.errors import MissingExtraError
from goldpanner.result import Result

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
    "curve": "instrument",
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
    "plan": "instrument",
    "Recorder": "train.trl.recorder",
    "open_tracker": "train.trackers",
    "track": "train.trackers",
    "tracked": "train.trackers",
    "read_log": "interop",
    "export": "exchange",
    "to_frame": "report.results",
    "cite": "report.cite",
    "build_report": "report.pages.run",
}
"""Public name -> the module it lives in."""

_RENAMED = {
    "build_report": "build",
    "read_log": "read",
    "sample": "rollout",
    "compare": "compare_sources",
    "curve": "curve_source",
    "plan": "plan_source",
    "profile": "profile_source",
}
"""Where the public name says more than the name at home, or would hide a module."""

_EXTRAS = {"torch": "lab", "transformers": "lab", "tokenizers": "lab", "safetensors": "lab"}
"""Module that is missing -> the extra that has it."""

__all__ = ["__version__", *_HOMES]


Result._view = lambda result: import_module("goldpanner.report.results").view(result)


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for Any

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'goldpanner' has no attribute {name!r}; public names: {', '.join(_HOMES)}")
        try:
            return getattr(import_module(f"goldpanner.{_HOMES[name]}"), _RENAMED.get(name, name))
        except ModuleNotFoundError as error:
            if error.name not in _EXTRAS:
                raise
            raise MissingExtraError(f"goldpanner.{name}", _EXTRAS[error.name]) from None


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:  # for type checkers and editors: the same names, exported by `as`
    from goldpanner.errors import GoldpannerError as GoldpannerError
    from goldpanner.errors import InputError as InputError
    from goldpanner.errors import StoreError as StoreError
    from goldpanner.exchange import export as export
    from goldpanner.instrument import compare_series as compare_series
    from goldpanner.instrument import compare_sources, curve_source, plan_source, profile_source
    from goldpanner.interop import read
    from goldpanner.measure.compare import Comparison as Comparison
    from goldpanner.measure.passk import Band as Band
    from goldpanner.measure.passk import pass_at_k as pass_at_k
    from goldpanner.policies.local import LocalPolicy as LocalPolicy
    from goldpanner.policies.resolve import load_policy as load_policy
    from goldpanner.policies.scripted import ScriptedPolicy as ScriptedPolicy
    from goldpanner.report.cite import cite as cite
    from goldpanner.report.pages.run import build
    from goldpanner.report.results import to_frame as to_frame
    from goldpanner.sampling.collect import collect as collect
    from goldpanner.sampling.goal import Goal as Goal
    from goldpanner.sampling.rollout import count as count
    from goldpanner.sampling.rollout import rollout
    from goldpanner.sampling.second_judge import judge_again as judge_again
    from goldpanner.sources import load_counts as load_counts
    from goldpanner.store import Store as Store
    from goldpanner.tasks.catalog import load as load
    from goldpanner.tasks.catalog import task as task
    from goldpanner.tasks.column_addition import ColumnAddition as ColumnAddition
    from goldpanner.tasks.column_addition import ColumnAdditionConfig as ColumnAdditionConfig
    from goldpanner.tasks.files import read_problems as read_problems
    from goldpanner.tasks.task import Task as Task
    from goldpanner.tasks.world import World as World
    from goldpanner.tasks.world import WorldConfig as WorldConfig
    from goldpanner.train.trackers import open_tracker as open_tracker
    from goldpanner.train.trackers import track as track
    from goldpanner.train.trackers import tracked as tracked
    from goldpanner.train.trl.recorder import Recorder as Recorder
    from goldpanner.types import Completion as Completion
    from goldpanner.types import Counts as Counts
    from goldpanner.types import Estimate as Estimate
    from goldpanner.types import Outcome as Outcome
    from goldpanner.types import Problem as Problem
    from goldpanner.types import Sample as Sample
    from goldpanner.types import SamplingParams as SamplingParams
    from goldpanner.types import Verdict as Verdict
    from goldpanner.verify.rehearsal import rehearse as rehearse

    compare = compare_sources
    curve = curve_source
    plan = plan_source
    profile = profile_source
    read_log = read
    build_report = build
    sample = rollout
