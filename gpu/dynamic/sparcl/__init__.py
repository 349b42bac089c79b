"""SparCL: continual learning with sparse weights, sparse updates and fewer data."""
