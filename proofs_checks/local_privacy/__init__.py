"""Claims about sparse regression under local differential privacy."""
