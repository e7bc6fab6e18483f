"""GSM8K measured, not trained: 20 test problems, 32 samples each, and what 32 samples can say of a small model.

    python examples/gsm8k_measured.py smollm2 gsm8k_test.jsonl

The model is a folder, a name on the hub, a server's URL, or smollm2, which is fetched. The file is yours: lines with
`question` and `answer`, as GSM8K comes (Cobbe et al. 2021, arXiv 2110.14168). Stopped, the same call goes on. From the
command line, followed by `goldpanner measure`:
    goldpanner sample smollm2 gsm8k/test --data gsm8k_test.jsonl --store gsm8k --problems 20 -n 32
"""

import sys

import goldpanner as gp

model, data, *sizes = sys.argv[1:]
n, tokens = map(int, sizes or (32, 160))
task = gp.task("gsm8k/test", data)
collection = gp.collect(
    gp.load_policy(model),
    task,
    "runs/gsm8k",
    gp.Goal(most=n),
    problems=20,
    params=task.sampling(max_tokens=tokens),
    notify=lambda event: print(event.message or f"{event.done}/{event.total}"),
)
counts = collection.counts
band = gp.curve(counts, sorted({1, max(1, n // 4), n}))
for k in band.k:
    at = band.at(int(k))
    print(f"pass@{k}: {at.value:.3f} [{at.low:.3f}, {at.high:.3f}]")
print(f"{counts.truncated.sum() / counts.n.sum():.0%} of {counts.n.sum()} answers were cut at {tokens} tokens")
print(
    f"{(counts.c == 0).sum()} of {len(counts)} problems: none of {n} right, so P(correct) < {1 - 0.05 ** (1 / n):.2g}"
)
