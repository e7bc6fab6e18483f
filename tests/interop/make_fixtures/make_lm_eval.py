"""Make fixtures/lm_eval/: lm-evaluation-harness evaluates a toy model on our own sums and writes its own logs.

    uv venv /tmp/lmeval && uv pip install --python /tmp/lmeval lm-eval==0.4.13
    cd tests/interop && /tmp/lmeval/bin/python make_fixtures/make_lm_eval.py

The model is ours (it answers right with a known probability); tasks, filters, metrics and files are the tool's own.
"""

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

OUT = Path(__file__).parent.parent / "fixtures" / "lm_eval"
TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}\\nA:"
doc_to_target: "{{{{answer}}}}"
repeats: {repeats}
generation_kwargs:
  until: ["\\n"]
  do_sample: true
  temperature: 0.8
  max_gen_toks: 16
{extra}
metadata:
  version: 1.0
"""
EXACT = """
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
FILTERS = """
filter_list:
  - name: strict
    filter:
      - function: regex
        regex_pattern: "^(\\\\d+)$"
      - function: take_first
  - name: flexible
    filter:
      - function: regex
        regex_pattern: "(\\\\d+)"
      - function: take_first
"""
CHOICES = """
doc_to_choice: ["4", "5"]
"""
PASS = """
filter_list:
  - name: all
    filter:
      - function: take_first_k
        k: 6
metric_list:
  - metric: !function toy_metric.pass_at_1
    aggregation: mean
    higher_is_better: true
"""
METRIC = """
def pass_at_1(references, predictions):
    right = sum(text == references[0] for text in predictions[0])
    return {"pass@1": right / len(predictions[0])}
"""


@register_model("toy-adder")
class ToyAdder(LM):
    """Adds; item i of six is answered right with probability i/5, the last half of the right answers in a sentence."""

    def __init__(self, seed: str = "0", pretrained: str = "", **kwargs: object) -> None:
        super().__init__()
        self.random = random.Random(int(seed))

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict, additional_config: dict | None = None) -> "ToyAdder":
        return cls(**arg_dict)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> "ToyAdder":
        return cls(**dict(pair.split("=") for pair in arg_string.split(",") if "=" in pair))

    def generate_until(self, requests: list, disable_tqdm: bool = False) -> list[str]:
        out = []
        for request in requests:
            doc = request.doc
            right = self.random.random() < doc["easy"] / 5
            number = doc["answer"] if right else str(int(doc["answer"]) + 1)
            out.append(f"the sum is {number}" if doc["wordy"] and self.random.random() < 0.5 else number)
        return out

    def loglikelihood(self, requests: list, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return [(-float(self.random.random()), False) for _ in requests]

    def loglikelihood_rolling(self, requests: list, disable_tqdm: bool = False) -> list[float]:
        raise NotImplementedError


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    data = folder / "sums.jsonl"
    docs = [
        {"question": f"{i + 1} + {2 * i + 1} =", "answer": str(3 * i + 2), "easy": i, "wordy": i % 2} for i in range(6)
    ]
    data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    (folder / "toy_metric.py").write_text(METRIC)
    for name, repeats, extra in (
        ("toy_once", 1, EXACT),
        ("toy_repeats", 8, EXACT),
        ("toy_filters", 8, FILTERS + EXACT),
        ("toy_pass", 6, PASS),
        ("toy_choice", 1, CHOICES + "\nmetric_list:\n  - metric: acc\n"),
    ):
        text = TASK.format(name=name, data=data, repeats=repeats, extra=extra)
        if name == "toy_choice":
            start = text.index("generation_kwargs")
            text = text[:start] + text[text.index(CHOICES) :]
            text = text.replace("generate_until", "multiple_choice").replace('"{{answer}}"', "0")
        (folder / f"{name}.yaml").write_text(text)
    sys.argv = [
        "lm_eval", "run", "--model", "toy-adder", "--model_args", "pretrained=toy-adder,seed=7",
        "--include_path", str(folder), "--log_samples",
        "--tasks", "toy_once,toy_repeats,toy_filters,toy_pass,toy_choice", "--output_path", str(folder / "out"),
    ]  # fmt: skip
    cli_evaluate()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for file in sorted((folder / "out").rglob("*.json*")):
        text = file.read_text(encoding="utf-8").replace(str(folder), "FOLDER")
        if file.name.startswith("results_"):
            said = json.loads(text)
            for key in ("pretty_env_info", "upper_git_hash", "git_hash"):  # what the machine was
                said.pop(key, None)
            text = json.dumps(said, indent=2)
        (OUT / file.name).write_text(text, encoding="utf-8")


main()
