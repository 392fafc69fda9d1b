"""Training on several processes that torchrun started, on one machine or more."""
