"""Best subsets of a given size or cost: hard thresholding, splicing, exchanges."""
