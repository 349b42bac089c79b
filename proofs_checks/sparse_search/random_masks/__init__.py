"""Claims about random search over masks."""
