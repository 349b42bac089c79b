"""Caches of keys and values that hold few entries of each token."""
