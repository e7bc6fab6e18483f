"""The tour: policies whose P(correct) is known are sampled, counted and compared. Runs in seconds, without torch."""

import goldpanner as gp

problems = gp.load("world/d2", n=64)
base = gp.ScriptedPolicy.with_p(lambda problem: 0.02 if int(problem.id, 16) % 2 else 0.3, name="base")
tuned = gp.ScriptedPolicy.with_p(lambda problem: 0.02 if int(problem.id, 16) % 2 else 0.9, name="tuned")
verifiers, params = gp.World().verifiers(), gp.SamplingParams()
before, after = (gp.count(gp.sample(policy, problems, verifiers, params, n=128)) for policy in (base, tuned))
print(gp.curve(before, [1, 16, 128]).at(16))
print(gp.compare(before, after).summary)
