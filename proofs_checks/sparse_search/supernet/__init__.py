"""Claims about differentiable search over dense and sparse operations."""
