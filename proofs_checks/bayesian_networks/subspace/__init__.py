"""Claims about sparse subspaces of networks that move during training."""
