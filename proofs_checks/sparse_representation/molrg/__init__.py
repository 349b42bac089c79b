"""Claims about mixtures of low-rank Gaussians."""
