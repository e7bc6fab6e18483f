"""How long a stranger waits: a fresh clone, its set-up, and the story that `make run` tells.

python benchmarks/story.py            # needs git, make and what the README asks for
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def timed(name: str, *command: str, cwd: Path) -> None:
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"{name:32} {time.perf_counter() - started:7.1f} s", flush=True)


with tempfile.TemporaryDirectory() as scratch:
    clone = Path(scratch) / "goldpanner"
    timed("clone", "git", "clone", "-q", str(ROOT), str(clone), cwd=ROOT)
    timed("set-up (downloads or cache)", "make", ".venv/.lab", f"PYTHON={sys.executable}", cwd=clone)
    timed("make run, after set-up", "make", "run", cwd=clone)
    timed("make run, told again", "make", "run", cwd=clone)
