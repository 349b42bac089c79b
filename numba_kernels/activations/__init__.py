"""Products of matrices with sparse vectors of activations, and of sparse caches with queries."""
