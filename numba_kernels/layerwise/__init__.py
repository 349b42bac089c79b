"""Kernels of layer-wise pruning: sweeps of a Gram matrix, exact prices of moves, swap search."""
