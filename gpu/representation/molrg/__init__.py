"""Diffusion of mixtures of low-rank Gaussians, and subspace clustering."""
