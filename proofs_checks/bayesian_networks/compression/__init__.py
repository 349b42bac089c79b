"""Claims about compressed Bayesian networks."""
