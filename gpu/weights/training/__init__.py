"""Weights that are sparse while they are trained: masks in the forward pass, in the optimiser, and in penalties."""
