"""Claims about coding rates and the white-box transformer."""
