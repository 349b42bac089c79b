"""Claims about residual codes and group advantages."""
