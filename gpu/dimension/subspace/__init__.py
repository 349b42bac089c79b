"""Networks trained in a random subspace of their parameters."""
