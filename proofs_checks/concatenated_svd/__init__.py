"""Claims about concatenated matrices under certified SVD error."""
