"""Training: one loop for every family, steps that know their loss, checkpoints that resume exactly."""
