"""Claims about predictions of Bayesian networks and their calibration."""
