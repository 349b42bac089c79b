"""Gaussian posteriors of the coefficients for given variances."""
