"""Where programs of a model run: confined, or not at all."""
