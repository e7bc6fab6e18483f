"""Every example runs."""

import json
from pathlib import Path

import pytest

from processes import run_program

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").iterdir())
ON_A_MODEL = {
    "real_model.py": "tiny grpo.steps=1 pilot.insist=true pilot.problems=4 measure.problems=4".split(),
    "gsm8k_measured.py": ["tiny", "gsm8k.jsonl", "4", "8"],
}
"""Arguments of the examples that want a model folder of the user's."""


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.suffix == ".py"], ids=lambda p: p.name)
def test_script_runs(path, tmp_path):
    arguments = ON_A_MODEL.get(path.name, [])
    if arguments:
        import tiny_model

        tiny_model.write(tmp_path / "tiny", steps=1)
        lines = [json.dumps({"question": f"{a} + 1 =", "answer": f"#### {a + 1}"}) for a in range(3)]
        (tmp_path / "gsm8k.jsonl").write_text("\n".join(lines))
    done = run_program(path, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.suffix == ".yaml"], ids=lambda p: p.name)
def test_settings_tell_a_story(path, tmp_path):
    """The file's own settings, with fewer steps and samples: what they do is shown by whoever runs it."""
    fewer = "pretrain.steps=10 grpo.steps=2 grpo.prompts_per_step=4 measure.sampled=4 measure.samples=8".split()
    options = [word for setting in fewer for word in ("--set", setting)]
    done = run_program("goldpanner.cli", "run", "--config", str(path), "--out", "out", "--json", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"]["headline"]
    assert (tmp_path / "out" / "report.html").is_file()
