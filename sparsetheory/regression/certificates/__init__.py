"""Evidence about fits, recomputed from raw data by NumPy and SciPy alone."""
