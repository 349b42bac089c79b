"""Subspaces that keep whole rows, filters or N of M weights, and one budget over all layers."""
