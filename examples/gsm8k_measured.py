"""GSM8K measured, not trained: 20 test problems, 32 samples each, and what 32 samples can say of a small model.

    goldpanner get smollm2
    python examples/gsm8k_measured.py models/smollm2 gsm8k_test.jsonl

The file is yours: lines with `question` and `answer`, as GSM8K comes (Cobbe et al. 2021, arXiv 2110.14168).
Stopped, the same call goes on. From the command line, followed by `goldpanner measure`:
    goldpanner sample models/smollm2 gsm8k/test --data gsm8k_test.jsonl --store gsm8k --problems 20 -n 32
"""

import sys

import goldpanner as gp
from goldpanner.policies.local import LocalPolicy
from goldpanner.runs import model_run

model, data, *sizes = sys.argv[1:]
n, tokens = map(int, sizes or (32, 160))
task = gp.task("gsm8k/test", data)
problems = task.problems(20)
params = task.sampling(max_tokens=tokens)
policy = LocalPolicy.from_pretrained(model, name="model")
store = gp.Store("runs/gsm8k")

counts = model_run.draw(policy, problems, n, 0, task, params, store, lambda event: print(f"{event.done}/{event.total}"))
band = gp.curve(counts, sorted({1, max(1, n // 4), n}))
for k in band.k:
    at = band.at(int(k))
    print(f"pass@{k}: {at.value:.3f} [{at.low:.3f}, {at.high:.3f}]")
print(f"{counts.truncated.sum() / counts.n.sum():.0%} of {counts.n.sum()} answers were cut at {tokens} tokens")
print(
    f"{(counts.c == 0).sum()} of {len(counts)} problems: none of {n} right, so P(correct) < {1 - 0.05 ** (1 / n):.2g}"
)
