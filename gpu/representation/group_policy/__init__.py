"""Residual codes of items and advantages within groups of answers."""
