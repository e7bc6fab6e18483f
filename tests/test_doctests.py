"""The examples in docstrings are run: each is short, and shows what its function returns."""

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "goldpanner"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_examples_in_docstrings_hold(path):
    if "torch" in path.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_there_are_examples():
    assert sum(path.read_text(encoding="utf-8").count(">>> ") for path in MODULES) >= 50
