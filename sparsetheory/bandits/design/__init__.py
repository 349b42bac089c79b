"""Optimal designs: which actions to query."""
