"""Claims about layer-wise pruning, masks and their changes, and the torch twins of the classical solvers."""
