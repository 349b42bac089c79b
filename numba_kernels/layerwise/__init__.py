"""Compiled searches for the support of least squares, given the Gram matrix that all rows of a weight share."""
