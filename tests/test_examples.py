"""Every example runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from goldpanner.studies import settings
from goldpanner.studies.config import RunConfig

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").iterdir())


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.suffix == ".py"], ids=lambda p: p.name)
def test_script_runs(path, tmp_path):
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.suffix == ".yaml"], ids=lambda p: p.name)
def test_settings_are_valid(path):
    assert settings.load(RunConfig, path)
