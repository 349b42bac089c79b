"""Sparse subspace variational inference: a mask of active weights that follows the evidence bound."""
