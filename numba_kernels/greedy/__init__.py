"""Compiled searches over supports, one or two features at a time."""
