"""Claims about training in random subspaces."""
