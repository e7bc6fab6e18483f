"""Make fixtures/verifiers_traces/: `vf-eval` of verifiers 0.4 (also prime-rl's format) evaluates a mock OpenAI server.

uv venv /tmp/vf4 && uv pip install --python /tmp/vf4 verifiers==0.4.0
cd tests/interop && /tmp/vf4/bin/python make_fixtures/make_verifiers_traces.py        (needs uv on the PATH)
"""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from mock_server import serve

OUT = Path(__file__).parent.parent / "fixtures" / "verifiers_traces"
TASKSET = """
import verifiers.v1 as vf

SUMS = [("2 + 2 =", "4"), ("3 + 8 =", "11"), ("40 + 2 =", "42")]


class SumData(vf.TaskData):
    answer: str


class SumTask(vf.Task[SumData]):
    @vf.reward(weight=1.0)
    async def right(self, trace: vf.Trace) -> float:
        return float(trace.last_reply == self.data.answer)


class SumConfig(vf.TasksetConfig):
    pass


class ToySumsTaskset(vf.Taskset[SumTask, SumConfig]):
    def load(self):
        return [SumTask(SumData(prompt=q, answer=a), self.config.task) for q, a in SUMS]


__all__ = ["ToySumsTaskset"]
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "toy_sums.py").write_text(TASKSET)
    sys.path.insert(0, str(folder))
    os.environ |= {"PYTHONPATH": str(folder), "TOY_KEY": "none"}
    os.chdir(folder)
    from verifiers.v1.cli.eval.main import main as vf_eval

    with serve() as url:
        vf_eval([
            "toy-sums", "--no-push", "--no-rich", "-m", "toy/adder", "-r", "4", "-c", "1", "-o", str(folder / "out"),
            "--client.base-url", url, "--client.api-key-var", "TOY_KEY", "--sampling.temperature", "0.7",
            "--env.agent.harness.id", "null", "--env.agent.runtime.type", "subprocess",
        ])  # fmt: skip
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    (traces,) = (folder / "out").rglob("traces.jsonl")
    text = traces.read_text().replace(url, "http://localhost/v1").replace(str(folder), "FOLDER")
    text = re.sub(r"/[^\"]*/runtimes/subprocess/", "RUNTIMES/", text)  # where this machine keeps them
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:  # error tracebacks name places on this machine
        for error in [*row["errors"], *(e for t in row["traces"] for e in t["errors"])]:
            error.pop("traceback", None)
    (OUT / "traces.jsonl").write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


main()
