"""One budget over many parts: entries of rows, options of units, and recipes found by search."""
