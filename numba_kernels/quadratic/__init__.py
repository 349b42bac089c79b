"""Compiled solvers of a quadratic plus a penalty, given its Gram matrix."""
