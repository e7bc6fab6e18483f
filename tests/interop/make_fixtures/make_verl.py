"""Make fixtures/verl/: verl's own dump functions write rollouts of our own sums.

    uv venv /tmp/verl && uv pip install --python /tmp/verl verl==0.9.1 torch TransferQueue    (no GPU)
    cd tests/interop && /tmp/verl/bin/python make_fixtures/make_verl.py

verl's training loop needs GPUs and a rollout server, so it is not run. The batch is made here and handed to
`_log_rollout_data` of the 0.x trainer (decoding, adding up scores, naming and writing are verl's), and to
`_dump_generations` of the v1 trainer (which adds `uid`; its reading from TransferQueue is not run).
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.ray_trainer import RayPPOTrainer
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

OUT = Path(__file__).parent.parent / "fixtures" / "verl"
WORDS = ["<pad>", *map(str, range(12)), "plus", "is", "twelve"]
PLAN = [("2 plus 2 is", "4", ["4", "4", "5", "4"]), ("5 plus 6 is", "11", ["10", "twelve", "11", "9"])]


class Words:
    """A tokenizer over WORDS, with what verl calls of one."""

    pad_token_id = 0

    def batch_decode(self, rows: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        return [" ".join(WORDS[t] for t in row.tolist() if t) for row in rows]


def ids(text: str, width: int) -> list[int]:
    tokens = [WORDS.index(w) for w in text.split()]
    return tokens + [0] * (width - len(tokens))


def batch(score: dict[bool, float]) -> DataProto:
    rows = [(q, a, text) for q, a, texts in PLAN for text in texts]
    scores = torch.zeros(len(rows), 2)
    scores[:, 0] = torch.tensor([score[text == a] for _, a, text in rows])
    tensors = {
        "prompts": torch.tensor([ids(q, 4) for q, _, _ in rows]),
        "responses": torch.tensor([ids(t, 2) for _, _, t in rows]),
        "token_level_scores": scores,
    }
    truth = np.array([{"style": "rule", "ground_truth": a} for _, a, _ in rows], dtype=object)
    return DataProto(batch=TensorDict(tensors, batch_size=len(rows)), non_tensor_batch={"reward_model": truth})


class V1(PPOTrainer):
    """The v1 trainer, which two hooks make abstract."""

    def on_sample_end(self, *args: object) -> None: ...

    def on_step_end(self, *args: object) -> None: ...


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    for name, score in (("rollouts", {True: 1.0, False: 0.0}), ("shaped", {True: 1.1, False: -0.5})):
        trainer = object.__new__(RayPPOTrainer)
        trainer.tokenizer = Words()
        trainer._init_dump_executor()
        for step in (1, 2):
            trainer.global_steps = step
            data = batch(score)
            extra = {"acc": np.array([float(s > 0) for s in data.batch["token_level_scores"].sum(-1)])}
            trainer._log_rollout_data(data, extra, {}, str(OUT / name))
        trainer._shutdown_dump_executor()
    v1 = object.__new__(V1)
    v1.global_steps = 3
    v1._init_dump_executor()
    uid, columns = [], {"inputs": [], "outputs": [], "gts": [], "scores": []}
    for i, (question, answer, texts) in enumerate(PLAN):
        for j, text in enumerate(texts):
            outputs = ["let me see", text] if (i, j) == (0, 1) else [text]  # one rollout split into two outputs
            for k, output in enumerate(outputs):
                uid.append(f"0000000{i}-aaaa_{j}_{k}")
                for key, value in zip(columns, (question, output, answer, float(text == answer))):
                    columns[key].append(value)
    v1._dump_generations(**columns, reward_extra_infos_dict={"uid": uid}, dump_path=str(OUT / "with_uid"))
    v1._shutdown_dump_executor()


main()
