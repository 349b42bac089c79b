"""The ways to compute attention under a block mask."""
