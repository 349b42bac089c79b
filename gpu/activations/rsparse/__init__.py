"""Large inputs through the weight, small ones through a truncated singular value decomposition."""
