"""Claims about what training does to activations, and about top-k layers."""
