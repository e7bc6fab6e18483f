"""Your own counts, from any evaluation: problem id, samples n, correct c. No model, no torch."""

import goldpanner as gp

base = gp.Counts.of(n=[64] * 8, c=[60, 31, 12, 3, 1, 0, 0, 0], ids="abcdefgh")
rl = gp.Counts.of(n=[64] * 8, c=[64, 62, 50, 31, 9, 0, 1, 0], ids="abcdefgh")

band = gp.curve(base)
print(f"pass@64 of the base: {band.at(64).value:.2f} [{band.at(64).low:.2f}, {band.at(64).high:.2f}]")
print(gp.compare(base, rl).summary)

advice = gp.plan(base, steps=50, prompts=8)
print(f"groups of {advice.recommended}; now: {advice.ids('train now')}; SFT first: {advice.ids('needs SFT first')}")
