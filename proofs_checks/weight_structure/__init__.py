"""Claims about factors, budgets and masks of networks."""
