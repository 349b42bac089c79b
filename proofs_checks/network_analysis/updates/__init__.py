"""Claims about which weights fine-tuning changes."""
