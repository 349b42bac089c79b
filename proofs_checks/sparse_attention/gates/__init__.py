"""Claims about gates that choose blocks of keys."""
