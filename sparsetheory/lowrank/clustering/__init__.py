"""Clustering of blocks into shared bases under a certified error."""
