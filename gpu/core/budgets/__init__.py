"""One budget over rows, layers, heads or other units."""
