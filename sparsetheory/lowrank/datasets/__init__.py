"""Families of blocks whose structure is known, and real blocks that need no network."""
