"""Search for the mask of a layer: pruning with reconstruction as best-subset regression on a Gram matrix."""
