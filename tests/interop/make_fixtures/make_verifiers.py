"""Make fixtures/verifiers/: verifiers evaluates a mock OpenAI server on our own sums and writes `results.jsonl` itself.

uv venv /tmp/vf && uv pip install --python /tmp/vf verifiers==0.1.14
cd tests/interop && /tmp/vf/bin/python make_fixtures/make_verifiers.py
"""

import os
import shutil
from pathlib import Path

import verifiers as vf
from datasets import Dataset
from mock_server import serve
from verifiers.types import ClientConfig

OUT = Path(__file__).parent.parent / "fixtures" / "verifiers"


def right(completion: list, answer: str, **kwargs: object) -> float:
    text = completion[-1]["content"]
    return float(text == answer)


def main() -> None:
    sums = [("2 + 2 =", "4"), ("3 + 8 =", "11"), ("40 + 2 =", "42")]
    data = Dataset.from_list([{"question": q, "answer": a} for q, a in sums])
    rubric = vf.Rubric(funcs=[right])
    taskset = vf.SingleTurnEnv(dataset=data, eval_dataset=data, rubric=rubric, env_id="toy-sums")
    os.environ["TOY_KEY"] = "none"
    with serve() as url:
        client = ClientConfig(api_key_var="TOY_KEY", api_base_url=url, max_retries=0)
        taskset.evaluate_sync(
            client=client,
            model="toy/adder",
            sampling_args={"temperature": 0.7, "max_tokens": 8},
            rollouts_per_example=4,
            max_concurrent=1,
            results_path=OUT,
            save_results=True,
        )
    meta = OUT / "metadata.json"
    meta.write_text(meta.read_text().replace(url, "http://localhost/v1"))


shutil.rmtree(OUT, ignore_errors=True)
main()
