"""Turbo-VBI for sensing matrices whose columns depend on unknown parameters."""
