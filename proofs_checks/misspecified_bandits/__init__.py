"""Claims about misspecified sparse linear bandits."""
