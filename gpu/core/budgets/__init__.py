<<<<<<< HEAD
"""One budget over rows, layers, heads or other units."""
=======
"""One budget over many parts: entries of rows, options of units, and recipes found by search."""
>>>>>>> df3f5d0512ffaef821658d159e3329d5241e96b9
