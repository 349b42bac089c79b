"""Sparse Bayesian learning: with one variance per coefficient, with Kronecker structure, with coupled patterns."""
