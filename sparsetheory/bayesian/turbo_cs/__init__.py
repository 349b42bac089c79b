"""Turbo compressed sensing: a linear estimator and a denoiser that exchange messages."""
