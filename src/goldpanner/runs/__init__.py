"""A run: one stage machine, one folder, one conclusion, for the lab and for a model."""
