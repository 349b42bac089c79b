"""Fixed random maps from few numbers to the parameters of a network."""
