"""Estimators of sparse coefficients from private messages."""
