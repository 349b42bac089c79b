"""Regression with small l1 norm, and what it proves of coefficients when the model is only nearly right."""
