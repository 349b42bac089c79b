"""Designs by family, and coefficients that are hard for them."""
