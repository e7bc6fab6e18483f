"""GRPO on a real model, measured before and after: SmolLM2-135M learns sums of two-digit numbers on two CPU cores.

    goldpanner get smollm2
    python examples/real_model.py models/smollm2

The same from the command line: goldpanner run --model smollm2 --task arithmetic/add-2d2d
Any model folder will do, and any setting can follow it: grpo.steps=20 grpo.lora=16
"""

import sys
from pathlib import Path

from goldpanner import build_report
from goldpanner.runs.model_run import ModelRunConfig, run_model
from goldpanner.runs.settings import load_settings

model, *overrides = sys.argv[1:]
out = Path("runs/real-model")
config = load_settings(ModelRunConfig, None, overrides, model=model, task="arithmetic/add-2d2d")
record = run_model(config, out, lambda event: print(f"{event.doing} {event.stage}: {event.done}/{event.total}"))

plan = record.plan
mixed = plan.groups[str(plan.group_size)].mixed.estimate()
print(f"the pilot: {mixed.value:.0%} of the groups would be mixed, G = {plan.recommended_G} recommended")
print(record.verdict.headline)
for stage, parts in record.form.items():
    form, skill = parts.parses.estimate(), parts.correct_given_parsed.estimate()
    print(f"{stage}: P(in the asked form) {form}, P(correct | in that form) {skill}")
print(build_report(out))
