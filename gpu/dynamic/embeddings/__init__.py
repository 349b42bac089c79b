"""Sparse embedding tables of recommenders whose nonzeros move during training."""
