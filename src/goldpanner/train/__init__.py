"""Training: pretraining and SFT (one loss, two masks), group-relative RL, checkpoints."""
