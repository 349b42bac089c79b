"""Claims about sparse attention."""
