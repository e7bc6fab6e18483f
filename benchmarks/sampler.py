"""Our sampler against `model.generate(num_return_sequences=n)`: the same model, prompts and token limit, alternating.

    python benchmarks/sampler.py                        # the lab's model (random weights unless --model is given)
    python benchmarks/sampler.py --model FOLDER --tasks arithmetic/add-2d2d --prompts 1 --samples 64 256 \
        --max-tokens 16 --template chat --dtype float32 bfloat16 --threads 2 --repeats 3

Only tokens of completions count (up to the end of sequence), not the padding that `generate` goes on computing.
Random weights rarely draw the end of sequence, so that nothing is gained by dropping finished rows.
"""

import argparse
import statistics
import time

import torch

from goldpanner.policies.base import Request
from goldpanner.policies.local import LocalPolicy
from goldpanner.tasks import load
from goldpanner.tasks.world import World, WorldConfig
from goldpanner.train.model import ModelConfig, build_model, build_tokenizer
from goldpanner.types import Problem, SamplingParams


def fresh_policy() -> LocalPolicy:
    tokenizer = build_tokenizer(World(WorldConfig()).vocabulary())
    return LocalPolicy(build_model(ModelConfig(), len(tokenizer), seed=0), tokenizer)


def ours(policy: LocalPolicy, problems: list[Problem], samples: int, params: SamplingParams, seed: int) -> int:
    requests = [Request(problem, range(samples), seed) for problem in problems]
    return sum(len(c.tokens) for completions in policy.sample(requests, params) for c in completions)


def theirs(policy: LocalPolicy, problems: list[Problem], samples: int, params: SamplingParams, rows: int) -> int:
    """Return how many tokens `generate` drew, in batches of prompts of one length with `rows` samples at most."""
    by_length: dict[int, list[list[int]]] = {}
    for problem in problems:
        ids = policy.encode_prompt(problem, params.template)
        by_length.setdefault(len(ids), []).append(ids)
    drawn, eos = 0, torch.tensor(policy.eos_ids)
    for length, prompts in by_length.items():
        size = max(1, rows // samples)
        for start in range(0, len(prompts), size):
            ids = torch.tensor(prompts[start : start + size], device=policy.device)
            out = policy.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=samples,
                max_new_tokens=params.max_tokens,
                pad_token_id=policy.tokenizer.pad_token_id or 0,
            )[:, length:].cpu()
            ended = torch.isin(out, eos)
            before = ended.cumsum(-1) - ended.long()
            drawn += int((before == 0).sum())
    return drawn


def timed(work, *arguments) -> float:  # noqa: ANN001, ANN002
    start = time.perf_counter()
    drawn = work(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return drawn / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder in the Hugging Face layout; default: the lab's model, random weights")
    parser.add_argument("--tasks", nargs="+", default=["world/d1", "world/d2", "world/d4"])
    parser.add_argument("--prompts", type=int, default=16, help="per task")
    parser.add_argument(
        "--samples", type=int, nargs="+", default=[256], help="per prompt; several are measured in turn"
    )
    parser.add_argument("--max-tokens", type=int, default=33)
    parser.add_argument("--template", default="{prompt}")
    parser.add_argument("--rows", type=int, default=4096, help="rows of one batch of `generate`")
    parser.add_argument("--our-rows", type=int, help="rows of one batch of ours; default: the policy's own")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", nargs="+", default=["auto"], help="several are measured in turn")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    for dtype in arguments.dtype:
        if arguments.model:
            policy = LocalPolicy.from_pretrained(arguments.model, device=arguments.device, dtype=dtype)
        else:
            policy = fresh_policy()
        policy.batch_rows = arguments.our_rows or policy.batch_rows
        print(policy.describe())
        for samples in arguments.samples:
            compare(policy, samples, arguments)


def compare(policy: LocalPolicy, samples: int, arguments: argparse.Namespace) -> None:
    """Print tokens per second of both, in pairs taken alternately, and the ratio of the medians."""
    problems = [problem for task in arguments.tasks for problem in load(task, arguments.prompts)]
    params = SamplingParams(max_tokens=arguments.max_tokens, template=arguments.template)
    work = (policy, problems, samples, params)
    rates: dict[str, list[float]] = {"ours": [], "generate": []}
    for repeat in range(arguments.repeats + 1):  # the first round warms up
        pair = {"ours": timed(ours, *work, repeat), "generate": timed(theirs, *work, arguments.rows)}
        for name, rate in pair.items():
            if repeat:
                rates[name].append(rate)
        print(f"{repeat}: " + "  ".join(f"{name} {rate:,.0f} tokens/s" for name, rate in pair.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{len(problems)} prompts x {samples} samples")
    for name, values in rates.items():
        print(f"{name}: median {medians[name]:,.0f} tokens/s (from {min(values):,.0f} to {max(values):,.0f})")
    print(f"ratio of medians: {medians['ours'] / medians['generate']:.2f}", flush=True)


if __name__ == "__main__":
    main()
