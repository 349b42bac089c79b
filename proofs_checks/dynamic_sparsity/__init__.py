"""Claims about masks that change during training, and about what they are for."""
