"""Predictions of Bayesian networks and how far their confidence can be trusted."""
