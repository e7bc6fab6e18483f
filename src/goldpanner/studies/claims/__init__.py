"""The claims as experiments: NAME.py is the method of one study, NAME.yaml its words and its predictions."""

from importlib import import_module
from typing import Any

from goldpanner.errors import InputError
from goldpanner.studies.study import Study

NAMES = (
    "sharpen-or-expand",
    "zero-gradient",
    "one-sided-groups",
    "cold-start",
    "lima",
    "absent-knowledge",
    "what-creates",
    "composition",
    "composition-by-exposure",
    "weakest-fact",
    "relay",
    "ppo-vs-grpo",
    "support-by-importance-sampling",
    "spurious-reward",
    "refuge",
    "attribution",
    "forecast",
)
"""Every study, in the order of the mission page."""


def load_study(name: str) -> Study[Any]:
    """Return a study by name. Raises InputError naming those there are."""
    if name not in NAMES:
        raise InputError(f"no study is called {name!r}; there are {', '.join(NAMES)}")
    study: Study[Any] = import_module(f"goldpanner.studies.claims.{name.replace('-', '_')}").STUDY
    return study
