"""Products with Kronecker matrices that are never formed, and greedy recovery on them."""
