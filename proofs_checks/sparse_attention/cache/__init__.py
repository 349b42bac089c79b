"""Claims about pruned caches of keys and values."""
