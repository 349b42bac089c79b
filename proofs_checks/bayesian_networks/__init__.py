"""Claims about Bayesian sparse networks."""
