"""Turbo-VBI: variational Bayesian inference with Markov supports."""
