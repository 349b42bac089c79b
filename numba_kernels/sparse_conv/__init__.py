"""Sparse 1 x 1 convolutions on activations in the order channel, height, width."""
