"""From a Bayesian network with sparse weights to a plain one that is smaller or faster."""
