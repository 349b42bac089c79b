"""Claims about state space models of low rank."""
