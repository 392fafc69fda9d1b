"""Training: features of the frozen trunk, the exact head and the one training loop."""
