"""Experiments: a setup, its runs, and a verdict drawn from what was measured."""
