"""Random search over masks, and the same with a budget by successive halving."""
