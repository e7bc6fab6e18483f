"""TRL as the trainer: our recipe handed over, and its rollouts recorded."""
