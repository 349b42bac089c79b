"""Channels of a network: where they lie, what ties them, and how they are permuted together."""
