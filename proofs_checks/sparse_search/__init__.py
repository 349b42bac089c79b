"""Claims about searches for sparse networks."""
