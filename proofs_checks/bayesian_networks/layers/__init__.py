"""Claims about Bayesian layers."""
