"""Claims about what sparsity does to a network."""
