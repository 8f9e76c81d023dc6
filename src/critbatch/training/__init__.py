"""The training loop: the trainer, its state, evaluation, checkpoints, replicas."""
