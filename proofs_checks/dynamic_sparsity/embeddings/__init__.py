"""Claims about sparse embedding tables whose nonzeros move."""
