"""Sparse solvers on released second moments; what they compute costs no further privacy."""
