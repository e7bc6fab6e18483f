"""Thresholds with a name, each with one value and one meaning wherever it is used."""

EASY = 0.8
"""From this P on a problem is easy: a group of 16 has more than 9 right."""
SOLVED = 0.5
"""From this P on a problem counts as solved where P is known exactly."""
RARE = 0.05
"""Below this P a problem is rare: a group of 16 sees no success nearly every other time (0.95^16 = 0.44), or more."""
SCARCE = 1e-4
"""Below this P a success is scarce even for RL: 10,000 rollouts of the problem see one or none."""
TINY = 1e-6
"""Below this P a success is out of reach of any run so far: a million rollouts of one problem see one."""

MIXED_AT = 0.25
"""A problem is trained on now where a group of it is mixed with at least this chance."""
OFTEN, SELDOM = 0.75, 0.25
"""A problem's groups are mostly mixed where each is with at least the first chance, mostly one-sided with at most the
second."""
AFFORDABLE = 1.5
"""The recommended G is the largest whose mixed group costs at most this many times the cheapest."""

SAME = 1e-9
"""Values of pass@k nearer than this are equal: what is left is rounding."""

NEAR = 0.01
"""The base has reached RL's pass@K where its own pass@k is no further below it than this."""
WITHIN = 1024
"""Tries that count as within reach of the base, where nobody says otherwise (R)."""
FURTHEST = 1_000_000
"""The largest k at which the base is asked whether it has reached RL's pass@K."""
