"""Claims about structured subspaces and budgets over layers."""
