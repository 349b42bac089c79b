"""Claims about sparse subspace variational inference of linear models."""
