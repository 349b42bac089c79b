"""Claims about one round of rewiring: exact counts, bits that do not move, exchanges of a best subset."""
