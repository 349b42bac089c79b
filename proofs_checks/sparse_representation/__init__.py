"""Claims about sparse, low-dimensional and discrete representations."""
