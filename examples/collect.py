"""Two policies sampled into a store until each problem is settled, then compared. Runs in seconds, without torch.

The same from the command line (a model folder, `smollm2` or a server's URL stands where `scripted:0.2` does):
    goldpanner sample scripted:0.2 countdown/3 --store demo-store --until settled --budget 8000
    goldpanner sample scripted:0.7 countdown/3 --store demo-store --until settled --budget 8000
    goldpanner compare scripted:0.2 scripted:0.7 --store demo-store
"""

import goldpanner as gp

goal = gp.Goal("settled", most=512, budget=8000)
for name in ("scripted:0.2", "scripted:0.7"):
    collection = gp.collect(gp.load_policy(name), "countdown/3", "demo-store", goal)
    print(f"{name}: {collection.line()}; {goal.zone_counts(collection.counts)}")

base, rl = (gp.load_counts(name, store="demo-store") for name in ("scripted:0.2", "scripted:0.7"))
print(gp.curve(base).at(16))
print(gp.compare(base, rl).summary)
