"""Layers made of factors: sparse layers of equal cost, and low rank plus columns."""
