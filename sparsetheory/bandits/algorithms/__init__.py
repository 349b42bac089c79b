"""Algorithms that look for a good action, each with a bound of how much better another one can be."""
