"""Sampling: the one path from a policy to judged samples, and topping up a store until a goal is met."""
