"""Markov chains and grids of binary states, as priors of supports."""
