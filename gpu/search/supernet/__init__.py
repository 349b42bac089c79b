"""Differentiable search over dense and sparse operations."""
