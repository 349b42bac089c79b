"""Claims about random projections and their transforms."""
