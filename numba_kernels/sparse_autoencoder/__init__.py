"""Products with a sparse matrix and of two dense ones at sparse places, for sparse autoencoders."""
