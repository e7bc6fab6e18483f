"""Make fixtures/open_instruct/: NOT written by open-instruct, which is not on the package index and needs GPUs to run.

    cd tests/interop && python make_fixtures/make_open_instruct.py

The record has the fields, in the order, that `RolloutRecord` and `RolloutMetadata` of open_instruct/rl_utils.py have
(allenai/open-instruct at 00feb3a56731), one JSON object a line as `_save_rollouts` writes it; the values are ours.
"""

import json
from pathlib import Path

OUT = Path(__file__).parent.parent / "fixtures" / "open_instruct"
PROMPTS = [([7, 8, 9], "4"), ([7, 9, 9], "11")]
REWARDS = [[10.0, 10.0, 0.0, 10.0], [0.0, 0.0, 10.0, 0.0]]  # open-instruct's default reward for a right answer is 10


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, ((prompt, truth), rewards) in enumerate(zip(PROMPTS, REWARDS)):
        for j, reward in enumerate(rewards):
            cut = (i, j) == (1, 3)
            rows.append(
                {
                    "step": 1, "sample_idx": 4 * i + j, "prompt_idx": i, "prompt_tokens": prompt,
                    "response_tokens": [3, 5, 2][: 2 if cut else 3], "reward": reward, "advantage": 0.0,
                    "finish_reason": "length" if cut else "stop", "dataset": "toy", "ground_truth": truth,
                    "request_info": None, "logprobs": [-0.5, -0.25, -0.125][: 2 if cut else 3],
                }
            )  # fmt: skip
    (OUT / "toy_rollouts_000000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    meta = {"run_name": "toy", "git_commit": "0", "model_name": "toy/adder", "timestamp": "2026-11-22T00:00:00+00:00"}
    (OUT / "toy_metadata.jsonl").write_text(json.dumps(meta) + "\n")


main()
