"""Layer-wise pruning as sparse regression on a Gram matrix, and the published methods beside it."""
