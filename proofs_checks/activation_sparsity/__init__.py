"""Claims about activation sparsity."""
