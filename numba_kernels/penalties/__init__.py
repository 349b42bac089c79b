"""Compiled penalties: values, thresholding operators and pieces."""
