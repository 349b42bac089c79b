"""How many neurons a feed-forward network needs for a given share of its output, and laws of their number."""
