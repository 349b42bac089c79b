"""Sparse subspace variational inference of linear models: prices of leaving, gains of entering, and exchanges."""
