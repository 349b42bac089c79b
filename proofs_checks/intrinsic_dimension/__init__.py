"""Claims about intrinsic dimension."""
