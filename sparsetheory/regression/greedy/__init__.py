"""Greedy selection of features: orthogonal matching pursuit, forward and backward steps."""
