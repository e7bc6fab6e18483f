"""A whole GRPO step (sample, judge, update) of ours against TRL's GRPOTrainer: same start, settings, prompts; in turn.
And a PPO step of ours with as many rollouts, every prompt a new one (TRL has no PPO trainer any more).

    python benchmarks/grpo_step.py                      # a briefly pretrained lab model, 64 prompts x 16, one thread
    python benchmarks/grpo_step.py --model FOLDER --steps 20
    python benchmarks/grpo_step.py --steps 40 --seeds 6 # and whether both learn alike: the rewards of six runs each

Both train with loss_type "grpo", Adam at 1e-3, no KL, float32, one update a step, all rollouts in one batch; rewards
come from the same verifier. After each step of TRL's loop one of each of ours is taken, so all meet the same load.
"""

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from goldpanner.tasks.world import World, WorldConfig
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer, load_model
from goldpanner.train.rlvr import PPO, RLVRConfig, rlvr, step_problems
from goldpanner.train.supervised import SupervisedConfig, fresh_text, supervised
from goldpanner.types import Completion


class InTurn(TrainerCallback):
    """Times a step of TRL's, then one of ours, then one of our PPO; keeps the mean rewards of the first two."""

    def __init__(self, steps: Any, ppo_steps: Any) -> None:
        self.steps, self.ppo_steps, self.started = steps, ppo_steps, 0.0
        self.ours, self.theirs, self.ppo = [], [], []
        self.our_rewards, self.their_rewards = [], []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.theirs.append(time.perf_counter() - self.started)
        started = time.perf_counter()
        record = next(self.steps)
        self.ours.append(time.perf_counter() - started)
        self.our_rewards.append(record.reward)
        started = time.perf_counter()
        next(self.ppo_steps)
        self.ppo.append(time.perf_counter() - started)
        print(
            f"{record.step:3d}: ours {self.ours[-1]:.3f} s (sampling {record.sampling_seconds:.3f}), "
            f"TRL {self.theirs[-1]:.3f} s, our PPO {self.ppo[-1]:.3f} s; "
            f"reward {record.reward:.2f} and {self.their_rewards[-1]:.2f}; "
            f"our length {record.length:.1f}, live {record.mixed:.2f}",
            flush=True,
        )


def pretrained(world: World, steps: int) -> tuple[Any, Any]:
    tokenizer = build_tokenizer(world.vocabulary())
    model = build_model(ModelConfig(), len(tokenizer), seed=0)
    config = SupervisedConfig(steps=steps)
    for _ in supervised(model, tokenizer, fresh_text(world, config), config):
        pass
    return model, tokenizer


def trl_trainer(model: Any, tokenizer: Any, world: World, config: RLVRConfig, callback: InTurn, folder: str) -> Any:
    tasks, size = world.tasks, config.prompts_per_step
    problems = [p for step in range(config.steps) for p in step_problems(tasks, config, step, size)]
    by_prompt = {problem.prompt: problem for problem in problems}
    verifier = world.verifiers()[0]
    special = {tokenizer.eos_token, tokenizer.pad_token}

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        judged = []
        for prompt, ids in zip(prompts, completion_ids):
            words = tokenizer.convert_ids_to_tokens(ids)
            ended = tokenizer.eos_token in words
            text = " ".join(word for word in words if word not in special)
            completion = Completion(text, finish="stop" if ended else "length")
            judged.append(float(verifier(by_prompt[prompt], completion).correct))
        callback.their_rewards.append(statistics.mean(judged))
        return judged

    arguments = GRPOConfig(
        output_dir=folder, loss_type="grpo", scale_rewards="group", beta=0.0, learning_rate=config.learning_rate,
        lr_scheduler_type="constant", adam_beta1=config.betas[0], adam_beta2=config.betas[1], max_grad_norm=config.clip,
        optim="adamw_torch_fused", per_device_train_batch_size=config.prompts_per_step * config.group_size,
        num_generations=config.group_size, max_completion_length=config.max_tokens, temperature=1.0, top_k=0,
        max_steps=config.steps, seed=config.seed, bf16=False, use_cpu=True, activation_checkpointing=False,
        disable_dropout=True, report_to=[], logging_strategy="no", save_strategy="no", shuffle_dataset=False,
        disable_tqdm=True,
    )  # fmt: skip
    return GRPOTrainer(
        model, reward_funcs=reward, args=arguments, processing_class=tokenizer, callbacks=[callback],
        train_dataset=Dataset.from_dict({"prompt": [problem.prompt for problem in problems]}),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder in the Hugging Face layout; default: pretrained here")
    parser.add_argument("--pretrain-steps", type=int, default=300)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each; from two on their rewards are compared")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")

    world = World(WorldConfig())
    model, tokenizer = load_model(options.model) if options.model else pretrained(world, options.pretrain_steps)
    ppo = PPO.model_copy(update={"steps": options.steps, "prompts_per_step": options.prompts * options.group_size})
    runs = []
    for seed in range(options.seeds):
        config = RLVRConfig(
            steps=options.steps, prompts_per_step=options.prompts, group_size=options.group_size, seed=seed
        )
        turns = InTurn(*(rlvr(copy.deepcopy(model), tokenizer, world.tasks, settings) for settings in (config, ppo)))
        with tempfile.TemporaryDirectory() as folder:
            trl_trainer(copy.deepcopy(model), tokenizer, world, config, turns, folder).train()
        runs.append(turns)
    # the first two steps of a run warm up
    ours, theirs, critic = ([s for run in runs for s in getattr(run, name)[2:]] for name in ("ours", "theirs", "ppo"))
    for name, seconds in (("ours", ours), ("TRL", theirs), ("our PPO", critic)):
        print(
            f"{name}: median {statistics.median(seconds):.3f} s a step (from {min(seconds):.3f} to {max(seconds):.3f})"
        )
    print(f"ratio of medians, TRL to ours: {statistics.median(theirs) / statistics.median(ours):.1f}")
    print(f"ratio of medians, our PPO to our GRPO: {statistics.median(critic) / statistics.median(ours):.1f}")
    if len(runs) > 1:
        alike(runs)


def alike(runs: list[InTurn], parts: int = 5) -> None:
    """Print the mean reward of both over fifths of the run, and their paired difference with its standard error."""
    ours, theirs = (np.array([getattr(run, name) for run in runs]) for name in ("our_rewards", "their_rewards"))
    print(f"mean reward, {len(runs)} runs each: steps, ours, TRL, ours - TRL (standard error over runs)")
    for steps in np.array_split(np.arange(ours.shape[1]), parts):
        mine, other = ours[:, steps].mean(1), theirs[:, steps].mean(1)
        gap, error = (mine - other).mean(), (mine - other).std(ddof=1) / np.sqrt(len(runs))
        span = f"{steps[0] + 1}-{steps[-1] + 1}"
        print(f"{span:>8}  {mine.mean():.3f}  {other.mean():.3f}  {gap:+.3f} ({error:.3f})")


if __name__ == "__main__":
    main()
