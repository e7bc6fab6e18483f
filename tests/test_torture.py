"""A little of `make test-torture`: two trials of each kind hold."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_little_torture_holds():
    script = Path(__file__).parents[1] / "benchmarks/torture.py"
    done = subprocess.run(
        [sys.executable, script, "--lite"], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" 2 trials, 0 did not hold") == 5
