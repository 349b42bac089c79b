"""Random projections: Walsh-Hadamard transforms and products with sparse signs."""
