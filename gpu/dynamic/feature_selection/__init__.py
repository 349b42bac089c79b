"""Unsupervised selection of features by a sparse autoencoder, and by its deterministic sibling."""
