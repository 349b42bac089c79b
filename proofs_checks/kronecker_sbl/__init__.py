"""Claims about sparse Bayesian learning with Kronecker-structured supports."""
