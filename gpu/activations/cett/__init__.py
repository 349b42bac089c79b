"""Neurons whose joint contribution stays below a share of the output, and laws of how many are left."""
