"""Linear models on a subspace: posterior and bound, gains of exchanges, and the search for the best subspace."""
