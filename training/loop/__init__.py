"""The training loop: batches, objective, optimiser step, checkpoints, metrics, several processes."""
