"""Claims about sparse regression on random supports."""
