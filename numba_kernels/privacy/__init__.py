"""Kernels of private releases: public directions, one-bit messages, and their sums."""
