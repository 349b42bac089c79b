"""All sets of a few features: which of them the data allow."""
