"""Policies: anything that can be sampled."""
