"""Claims about connections with trained scores (SCL)."""
